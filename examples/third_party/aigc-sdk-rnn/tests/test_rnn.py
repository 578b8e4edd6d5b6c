"""What is particular about recurrent networks and their tokens."""

import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aigc_sdk
from aigc_sdk.errors import CorruptFolder, DataError, MismatchedFolder, OptionError
from aigc_sdk_rnn.evaluate import BitsPerByte
from aigc_sdk_rnn.likelihood import foreseen
from aigc_sdk_rnn.model import RNN
from aigc_sdk_rnn.network import Network, Sizes
from aigc_sdk_rnn.sampling import Sampler
from aigc_sdk_rnn.tokens import BytePairs, Characters, Tokens, Writer
from aigc_sdk_rnn.train import RNNTrainer

SEA = "the sea was calm and the sky was grey\n" * 8
RUN: dict[str, Any] = {"batch_size": 4, "window": 8}


def written(tokens: Tokens, text: str) -> str:
    writer, ids = Writer(tokens.pieces), tokens.encode(text).tolist()
    return "".join(writer.write(each, last=place + 1 == len(ids)) for place, each in enumerate(ids))


@pytest.mark.parametrize("tokens", [Characters.learn("añ語🙂 ", 32), BytePairs.learn("the sea", 260)])
def test_a_text_survives_its_tokens(tokens: Tokens) -> None:
    text = "ñ語🙂a a\n\n a"
    assert written(tokens, text) == text


def test_characters_beyond_the_vocabulary_are_one_unknown_token() -> None:
    tokens = Characters.learn("aaab", 3)  # the unknown one, the line end, and the most frequent
    assert tokens.alphabet == "\na"
    assert tokens.encode("ab\nz").tolist() == [2, 0, 1, 0]


def test_byte_pairs_shorten_the_text_that_they_were_learnt_from() -> None:
    tokens = BytePairs.learn(SEA, 300)
    assert len(tokens.encode(SEA)) < len(SEA) / 2


def test_half_a_character_is_held_back() -> None:
    writer = Writer([b"\xc3", b"\xb1", b"n"])
    assert [writer.write(0), writer.write(1), writer.write(2)] == ["", "ñ", "n"]
    assert writer.write(0, last=True) == "\ufffd"


@pytest.mark.parametrize(("cell", "tied"), list(product(["lstm", "gru"], [False, True])))
def test_reading_in_pieces_is_reading_at_once(cell: Any, tied: bool) -> None:
    network = Network(Sizes(cell=cell, width=8, vocabulary=20, layers=2, tied=tied)).eval()
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        whole, _ = network(tokens)
        first, state = network(tokens[:, :5])
        rest, _ = network(tokens[:, 5:], state)
    assert torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-6)


def test_a_tied_model_has_one_matrix_also_when_it_was_opened(tmp_path: Path) -> None:
    RNNTrainer.open(device="cpu", width=8, tied=True).fit([SEA], max_steps=1, **RUN).save(tmp_path / "m")
    trainer = RNNTrainer.open(tmp_path / "m", device="cpu")
    assert trainer.model.network.head is None
    assert [each for each, _ in trainer.model.network.named_parameters() if "cells" not in each] == [
        "bias",
        "embedding.weight",
    ]


@pytest.mark.parametrize(("cell", "tokens", "vocabulary"), [("lstm", "characters", 64), ("gru", "bpe", 280)])
def test_a_text_that_repeats_is_learnt_by_heart(cell: str, tokens: str, vocabulary: int) -> None:
    trainer = RNNTrainer.open(device="cpu", cell=cell, tokens=tokens, vocabulary=vocabulary, width=48)
    model = trainer.fit([SEA], max_steps=120, learning_rate=0.02, window=32, batch_size=4)
    [text] = model.generate("the sea was", temperature=0, max_new_tokens=26)
    assert str(text).startswith(" calm and the")


def test_the_temperature_0_draws_nothing() -> None:
    assert Sampler(0, 0, 1.0, seed=1).choose(torch.tensor([0.0, 2.0, 1.0])) == 1


@pytest.mark.parametrize(
    ("top_k", "top_p", "possible"),
    [(0, 1.0, {0, 1, 2}), (2, 1.0, {1, 2}), (0, 0.6, {1}), (1, 1.0, {1}), (0, 0.9, {1, 2})],
)
def test_top_k_and_top_p_leave_the_likeliest(top_k: int, top_p: float, possible: set[int]) -> None:
    sampler = Sampler(1.0, top_k, top_p, seed=0)
    logits = torch.tensor([0.1, 0.6, 0.3]).log()
    assert {sampler.choose(logits) for _ in range(200)} == possible


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    sampler = Sampler(1.0, 0, 1.0, seed=0)
    logits = torch.tensor([0.1, 0.6, 0.3]).log()
    drawn = np.bincount([sampler.choose(logits) for _ in range(4000)]) / 4000
    assert drawn == pytest.approx([0.1, 0.6, 0.3], abs=0.03)


def test_the_unknown_token_is_never_written() -> None:
    model = RNN.new(Sizes(width=4, vocabulary=40), seed=0, device="cpu")
    text = str(model.generate("é", temperature=10, max_new_tokens=400, seed=1)[0])
    assert len(text) == 400
    assert "\ufffd" not in text


def test_the_bits_of_all_next_characters_add_up_to_a_probability_of_one() -> None:
    model = RNN.new(Sizes(width=4, vocabulary=8), seed=0, device="cpu")
    known = [foreseen(model, "!" + each).nats - foreseen(model, "!").nats for each in model.tokens.alphabet]  # type: ignore[attr-defined]
    unknown = foreseen(model, "!ß").nats - foreseen(model, "!").nats
    others = 0x110000 - len(known)
    assert math.fsum(math.exp(-each) for each in known) + others * math.exp(-unknown) == pytest.approx(1, abs=1e-4)


def test_a_long_text_is_judged_as_its_network_reads_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RNN.new(Sizes(width=4), seed=0, device="cpu")
    whole = foreseen(model, SEA).nats
    monkeypatch.setattr("aigc_sdk_rnn.likelihood.CHUNK", 7)
    assert foreseen(model, SEA).nats == pytest.approx(whole, rel=1e-6)


def test_what_was_learnt_is_foreseen_better() -> None:
    trainer = RNNTrainer.open(device="cpu", width=16)
    before = BitsPerByte(trainer.model).evaluate([SEA])["bits_per_byte"].value
    after = BitsPerByte(trainer.fit([SEA], max_steps=30, **RUN)).evaluate([SEA])["bits_per_byte"].value
    assert after < before - 2


def test_validation_agrees_with_the_judge() -> None:
    trainer = RNNTrainer.open(device="cpu", width=8)
    *_, last = trainer.steps([SEA], max_steps=2, validation=["the deep sea"], evaluate_every=2, **RUN)
    judged = BitsPerByte(trainer.model).evaluate(["the deep sea"])["bits_per_byte"].value
    assert last.metrics["validation_bits_per_byte"] == pytest.approx(judged)


def test_micro_batches_change_nothing_but_rounding() -> None:
    losses = []
    for size in (None, 1):
        trainer = RNNTrainer.open(device="cpu", width=8)
        losses.append(
            [each.metrics["loss"] for each in trainer.steps([SEA], max_steps=4, micro_batch_size=size, **RUN)]
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_windows_of_two_epochs_begin_at_different_places() -> None:
    text, seen = "abcdefghijklmnopqrstuvwxyz", set()
    trainer = RNNTrainer.open(device="cpu", width=4)
    network = trainer.model.network
    network.register_forward_pre_hook(lambda _, given: seen.update(given[0][:, 0].tolist()))
    trainer.fit([text], max_steps=30, batch_size=2, window=8)
    assert len(seen) > 3  # of three windows


def test_a_folder_that_claims_huge_sizes_takes_no_memory(tmp_path: Path) -> None:
    model = RNN.new(Sizes(width=4), seed=0, device="cpu")
    model.sizes = Sizes(width=4096, layers=16)  # 2 GB of weights
    model.save(tmp_path / "m")
    with pytest.raises(MismatchedFolder, match=r"model\.safetensors"):
        RNN.open(tmp_path / "m", device="cpu")


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: setattr(model, "tokens", Characters("ab")),  # without a line end
        lambda model: setattr(model, "tokens", Characters("\nba")),  # in no order
        lambda model: setattr(model, "tokens", Characters("\n" + "".join(map(chr, range(32, 400))))),
        lambda model: setattr(model, "sizes", Sizes(width=4, cell="gru").model_copy(update={"cell": "elman"})),
    ],
    ids=["no line end", "no order", "too many", "unknown cell"],
)
def test_a_folder_that_is_not_what_it_says_is_refused(damage: Any, tmp_path: Path) -> None:
    model = RNN.new(Sizes(width=4), seed=0, device="cpu")
    damage(model)
    model.save(tmp_path / "m")
    with pytest.raises(CorruptFolder):
        RNN.open(tmp_path / "m", device="cpu")


def test_a_state_of_other_tokens_is_refused() -> None:
    state = RNNTrainer.open(device="cpu", width=4, vocabulary=300).state_dict()
    with pytest.raises(MismatchedFolder, match="bpe"):
        RNNTrainer.open(device="cpu", width=4, vocabulary=300, tokens="bpe").load_state_dict(state)


def test_bad_sizes_and_data_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="vocabulary") as refused:
        RNNTrainer.open(device="cpu", tokens="bpe", vocabulary=100)
    assert refused.value.field == "vocabulary"
    assert RNNTrainer.open(device="cpu", tokens="bpe", width=4).model.sizes.vocabulary == 512
    with pytest.raises(OptionError, match="only a new model"):
        RNNTrainer.open("default", device="cpu", width=8)
    trainer = RNNTrainer.open(device="cpu", width=8)
    for bad in ("", str(tmp_path / "missing.txt"), ["a", 1], ["\ud800 sea"], [" \n"]):
        with pytest.raises(DataError) as wrong:
            trainer.steps(bad, max_steps=1)
        assert wrong.value.field == "data"
    for short in (trainer, RNNTrainer.open("default", device="cpu")):
        with pytest.raises(DataError, match="fewer than one window of 64"):
            short.steps(["short"], max_steps=1)


def test_the_default_model_writes_words() -> None:
    [text] = aigc_sdk.load("rnn").generate("And the king said", seed=1, max_new_tokens=300)
    words = str(text).split()[1:-1]
    common = {"the", "and", "of", "to", "that", "in", "he", "shall", "unto", "for", "I", "his", "a", "they", "be"}
    assert len(common & set(words)) >= 5
    assert len(words) > 30
