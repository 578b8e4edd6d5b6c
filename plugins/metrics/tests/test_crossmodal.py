"""Captions by a tiny CLIP, and films with their sounds: known agreements and known delays."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_sdk import Audio, Image, Text, Video
from aigc_sdk.errors import DataError, InputError, MismatchedFolder, NotOffered, OptionError
from aigc_sdk.testing import EvaluatorContract
from aigc_sdk_metrics.clip import CLIP
from aigc_sdk_metrics.crossmodal import CaptionScore, CrossModalMetrics, DurationGap, Synchrony
from aigc_sdk_metrics.synchrony import beginnings, movements, offset

RATE, FPS = 16_000, 25
WORDS = ["a", "red", "green", "blue", "picture", "of", "noise"]


def picture(seed: int = 0, height: int = 40, width: int = 30) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def claps(late_by: int = 0, seed: int = 0, frames: int = 60, fps: float = FPS) -> tuple[Video, Audio]:
    """A grey film that flashes at irregular moments, with a click `late_by` frames after each."""
    rng = np.random.default_rng(seed)
    moments = 6 + np.cumsum(rng.integers(3, 9, 5))
    pixels = np.full((frames, 8, 8, 3), 100, np.uint8)
    wave = 0.001 * rng.standard_normal(round(frames / fps * RATE)).clip(-4, 4)
    for index, moment in enumerate(moments):
        pixels[moment:] = 200 - 100 * (index % 2)
        start = round((moment + late_by) / fps * RATE)
        wave[start : start + 300] += 0.5 * np.exp(-np.arange(300) / 60)
    return Video(pixels, fps=fps), Audio(wave[None].astype(np.float32), sample_rate=RATE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 16 pixels that reads 10 tokens."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    number = {name: index for index, name in enumerate([*WORDS, "<unknown>", "<start>", "<end>"])}
    words = Tokenizer(models.WordLevel(number, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<start>", number["<start>"]), ("<end>", number["<end>"])]
    words.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(number), "max_position_embeddings": 10, "eos_token_id": number["<end>"]}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8}, projection_dim=8)
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    CLIPModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def opened(clip: Path) -> CLIP:
    return CLIP.open(clip, device="cpu")


class TestCaptions(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> CrossModalMetrics:
        return CrossModalMetrics.open(device="cpu")

    @pytest.fixture
    def samples(self) -> list[Any]:
        return [picture(0), picture(1), Video(np.stack([picture(2).pixels, picture(3).pixels]), fps=2)]

    @pytest.fixture
    def references(self) -> list[Any]:
        return ["a red picture", Text("noise"), ("blue noise", claps()[1])]

    @pytest.fixture
    def options(self, clip: Path) -> dict[str, Any]:
        return {"clip": str(clip), "bootstrap": 100}


class TestFilmsAndSounds(EvaluatorContract):
    @pytest.fixture
    def judge(self) -> CrossModalMetrics:
        return CrossModalMetrics.open(device="cpu")

    @pytest.fixture
    def samples(self) -> list[Any]:
        return [claps()[0], claps(seed=1)[0]]

    @pytest.fixture
    def references(self) -> list[Any]:
        return [claps(2)[1], claps(1, seed=1)[1]]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"metrics": ("duration_gap", "sync"), "bootstrap": 100}


class TestCLIP:
    def test_its_vectors_are_those_of_transformers(self, clip: Path, opened: CLIP) -> None:
        import PIL.Image
        import torch
        from transformers import CLIPModel

        network = CLIPModel.from_pretrained(clip).eval()
        shown = picture(0, 32, 16).to_pil().resize((16, 32), PIL.Image.Resampling.BICUBIC).crop((0, 8, 16, 24))
        mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
        pixels = torch.tensor((np.asarray(shown) / 255 - mean) / deviation).permute(2, 0, 1)[None].float()
        tokens = torch.tensor([[8, 0, 1, 4, 9]])  # a red picture, with its ends
        with torch.no_grad():
            both = network(input_ids=tokens, pixel_values=pixels)
        seen, read = opened.pictures([picture(0, 32, 16).pixels]), opened.captions(["a red picture"])
        assert seen[0] == pytest.approx(both.image_embeds[0].numpy(), abs=1e-5)
        assert read[0] == pytest.approx(both.text_embeds[0].numpy(), abs=1e-5)

    def test_the_score_is_100_times_the_cosine_and_never_negative(self, opened: CLIP) -> None:
        captions = ["a red picture", "green", "blue noise of noise", "a", "noise"]
        seen, read = opened.pictures([picture(i).pixels for i in range(5)]), opened.captions(captions)
        cosines = (seen * read).sum(1)
        metric = CaptionScore(opened)
        metric.update([picture(i) for i in range(5)], captions)
        found = metric.compute(times=0)["clip_score[tiny-clip]"]
        assert found.value == pytest.approx(100 * np.maximum(0, cosines).mean())
        assert "16" in found.protocol

    def test_a_film_has_the_mean_of_its_frames(self, opened: CLIP) -> None:
        frames = np.stack([picture(index).pixels for index in range(5)])
        read = opened.captions(["a picture"])[0]
        expected = 100 * max(0.0, float((opened.pictures(list(frames[[0, 2, 4]])) @ read).mean()))
        metric = CaptionScore(opened, frames=3)
        metric.update([Video(frames, fps=5)], ["a picture"])
        assert metric.compute(times=0)["clip_score[tiny-clip]"].value == pytest.approx(expected)

    def test_a_caption_counts_alone_whatever_the_others(self, opened: CLIP) -> None:
        alone = opened.captions(["red"])[0]
        assert opened.captions(["a green picture of noise", "red"])[1] == pytest.approx(alone, abs=1e-12)

    def test_a_caption_that_it_cannot_read_whole_is_refused(self, opened: CLIP) -> None:
        with pytest.raises(DataError, match="reads 1 to 10"):
            CaptionScore(opened).update([picture()], ["noise " * 9])

    def test_parts_merge_and_travel(self, opened: CLIP) -> None:
        whole, first, second = (CaptionScore(opened) for _ in range(3))
        pictures, captions = [picture(index) for index in range(4)], ["red", "green", "blue", "noise"]
        whole.update(pictures, captions)
        first.update(pictures[:3], captions[:3])
        second.update(pictures[3:], captions[3:])
        first.merge(pickle.loads(pickle.dumps(second)))
        assert first.compute(times=20) == whole.compute(times=20)

    def test_a_folder_of_another_model_is_refused(self, tmp_path: Path) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=8)).save_pretrained(tmp_path / "gpt2")
        with pytest.raises(MismatchedFolder, match="CLIP"):
            CLIP.open(tmp_path / "gpt2", device="cpu")


class TestSynchrony:
    @pytest.mark.parametrize("late_by", [-6, -1, 0, 1, 3, 10])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_a_known_delay_is_found_to_the_frame(self, late_by: int, seed: int) -> None:
        found = offset(*claps(late_by, seed))
        assert found is not None
        assert found.seconds == pytest.approx(late_by / FPS)
        assert found.correlation > 0.8

    def test_frames_need_not_be_whole_numbers_of_samples(self) -> None:
        found = offset(*claps(2, fps=30_000 / 1001))
        assert found is not None
        assert found.seconds == pytest.approx(2 * 1001 / 30_000)

    def test_a_sound_that_has_nothing_to_do_with_it_fits_badly(self) -> None:
        found = offset(claps(seed=0)[0], claps(seed=5)[1])
        assert found is None or found.correlation < 0.7

    def test_where_nothing_moves_or_sounds_there_is_no_answer(self) -> None:
        film, sound = claps()
        still = Video(np.full_like(film.frames, 7), fps=FPS)
        silent = Audio(np.zeros_like(sound.samples), sample_rate=RATE)
        assert offset(still, sound) is None
        assert offset(film, silent) is None

    def test_movements_are_mean_differences_of_levels(self) -> None:
        frames = np.zeros((3, 2, 2, 3), np.uint8)
        frames[1] = 10
        frames[2, 0, 0] = 250
        assert movements(Video(frames, fps=1)).tolist() == [10, (3 * 10 + 240) / 4]

    def test_beginnings_are_rises_of_the_logarithmic_level(self) -> None:
        wave = np.repeat([0.01, 0.1, 0.1, 0.01], RATE // 4)
        sound = Audio(wave[None].astype(np.float32), sample_rate=RATE)
        assert beginnings(sound, 4, 4) == pytest.approx([np.log(10), 0, 0], abs=1e-5)

    def test_a_sound_that_is_shorter_than_the_film_ends_in_silence(self) -> None:
        sound = Audio(np.full((1, RATE // 2), 0.1, np.float32), sample_rate=RATE)
        assert beginnings(sound, 4, 4) == pytest.approx([0, 0, 0], abs=1e-9)

    def test_the_report_has_the_distance_and_the_rows_the_sign(self) -> None:
        pairs = [claps(2), claps(-4, seed=1)]
        films, sounds = zip(*pairs, strict=True)
        report = CrossModalMetrics().evaluate(films, sounds, metrics=("sync",))
        assert report["sync_offset"].value == pytest.approx(3 / FPS)
        assert [row["sound_late_by"] for row in report.rows] == pytest.approx([2 / FPS, -4 / FPS])

    def test_still_films_count_for_nothing(self) -> None:
        film, sound = claps(2)
        still = Video(np.full_like(film.frames, 7), fps=FPS)
        report = CrossModalMetrics().evaluate([film, still], [sound, sound], metrics=("sync",))
        assert report["sync_offset"].value == pytest.approx(2 / FPS)
        assert report.rows[1]["sound_late_by"] is None
        with pytest.raises(DataError, match="stand out"):
            CrossModalMetrics().evaluate([still], [sound], metrics=("sync",))

    def test_a_films_own_sound_is_taken_where_no_other_is_given(self) -> None:
        film, sound = claps(2)
        own = replace(film, sound=sound)
        options = {"metrics": ("sync", "duration_gap")}
        expected = CrossModalMetrics().evaluate([film], [sound], **options)
        assert CrossModalMetrics().evaluate([own], **options).rows == expected.rows

    def test_the_gap_is_the_difference_of_the_lengths(self) -> None:
        film = claps(frames=50)[0]  # two seconds
        sounds = [Audio(np.full((1, round(s * RATE)), 0.1, np.float32), sample_rate=RATE) for s in (1.5, 2.1)]
        metric = DurationGap()
        metric.update([film, film], sounds)
        assert metric.compute(times=0)["duration_gap"].value == pytest.approx(0.3)


FILM, SOUND = claps()
BAD: list[tuple[str, list[Any], list[Any] | None, dict[str, Any], str, str]] = [
    ("a sound for a sample", [SOUND], ["words"], {}, "samples", "judge Image and Video"),
    ("a film without frames", [Video(FILM.frames[:0], fps=5)], [SOUND], {"metrics": ("sync",)}, "samples", "empty"),
    ("a picture for a film", [picture()], [SOUND], {"metrics": ("sync",)}, "samples", "judges films"),
    ("a film of few frames", [Video(FILM.frames[:7], fps=5)], [SOUND], {"metrics": ("sync",)}, "samples", "needs 8"),
    ("no captions", [picture()], None, {}, "references", "pass references="),
    ("a sound for a caption", [picture()], [SOUND], {}, "references", "has no text"),
    ("a film without a sound", [FILM], None, {"metrics": ("duration_gap",)}, "samples", "pass references"),
    ("a caption for a sound", [FILM], ["clap"], {"metrics": ("duration_gap",)}, "references", "has no sound"),
    ("an empty caption", [picture()], [" "], {}, "references", "empty caption"),
    ("a number for a caption", [picture()], [7], {}, "references", "pair"),
    ("an unknown metric", [picture()], ["a"], {"metrics": ("clip",)}, "metrics", "no metric 'clip'"),
    ("no time to look in", [FILM], [SOUND], {"longest_offset": 0.0}, "longest_offset", "greater than 0"),
]


@pytest.mark.parametrize(
    ("samples", "references", "options", "field", "message"), [each[1:] for each in BAD], ids=[each[0] for each in BAD]
)
def test_it_refuses(
    opened: CLIP, samples: Any, references: Any, options: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        CrossModalMetrics(clip=opened).evaluate(samples, references, **options)
    assert caught.value.field == field


def test_a_clip_that_nobody_gave_is_asked_for() -> None:
    with pytest.raises(OptionError, match="pass clip="):
        CrossModalMetrics().evaluate([picture()], ["a"])


def test_a_clip_of_ones_own_cannot_be_saved(opened: CLIP, tmp_path: Path) -> None:
    with pytest.raises(NotOffered, match="clip"):
        CrossModalMetrics(clip=opened).save(tmp_path / "judge")


def test_synchrony_in_parts_is_that_of_the_whole() -> None:
    pairs = [claps(late, seed) for seed, late in enumerate((0, 2, 5))]
    films, sounds = zip(*pairs, strict=True)
    whole, first, second = (Synchrony() for _ in range(3))
    whole.update(films, sounds)
    first.update(films[:1], sounds[:1])
    second.update(films[1:], sounds[1:])
    first.merge(pickle.loads(pickle.dumps(second)))
    assert first.compute(times=20) == whole.compute(times=20)
