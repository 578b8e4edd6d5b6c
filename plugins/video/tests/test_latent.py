"""The latent kind: what its parts promise, for sizes of every sort."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aigc_sdk_video.architecture import ABSENT, FREE, Asked, Sizes
from aigc_sdk_video.latent import Network
from aigc_sdk_video.latent.motion import SHARED, earlier
from aigc_sdk_video.train import VideoTrainer

TINY = {"architecture": "latent", "size": 16, "frames": 8, "classes": 3, "latent": 4, "width": 32, "depth": 2}


def network(**changes: Any) -> Network:
    torch.manual_seed(0)
    made = Network(Sizes(**{**TINY, **changes}))
    for each in (made.motion.out.weight, *(block.modulation.weight for block in made.motion.blocks)):
        torch.nn.init.normal_(each, std=0.3)  # as after training: zeros would hide what is asked for
    return made.eval()


def film(frames: int = 8, count: int = 4, size: int = 16, channels: int = 1) -> Tensor:
    """A bright square per clip that moves right."""
    made = torch.full((count, frames, channels, size, size), -1.0)
    for clip in range(count):
        for frame in range(frames):
            made[clip, frame, :, 2 + clip : 7 + clip, 1 + frame % 8 : 6 + frame % 8] = 1
    return made


def things(*pairs: tuple[int, int]) -> Tensor:
    return torch.tensor([pairs])


def asked(num_frames: int = 8, first: Tensor | None = None, **changes: Any) -> Asked:
    return Asked(
        **{"objects": ((1, 4),), "num_frames": num_frames, "steps": 2, "guidance": 1.5, "first": first} | changes
    )


def made(model: Network, wish: Asked, seed: int = 0) -> Tensor:
    return torch.cat(list(model.sample(wish, torch.Generator().manual_seed(seed), lambda: None)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"frames": 6},
        {"frames": 5},
        {"size": 48, "channels": 3, "latent": 1},
        {"classes": 0},
        {"width": 40, "depth": 1},
        {"width": 200},
    ],
)
def test_every_size_gives_losses_and_clips(changes: dict[str, Any]) -> None:
    model = network(**changes)
    sizes = model.sizes
    clips = film(sizes.frames, size=sizes.size, channels=sizes.channels)
    conditions = torch.tensor([[[FREE, 2]], [[0 if sizes.classes else FREE, FREE]], [[FREE, FREE]], [[FREE, 7]]])
    rows, same = model.encode(clips, conditions)
    assert rows.shape == (4, sizes.frames, sizes.latent, sizes.size // 4, sizes.size // 4)
    assert torch.equal(same, conditions)
    model.prepare(rows)
    for losses in (model.frames(clips[:, :1], conditions), model.motion(rows, conditions)):
        assert losses["loss"].isfinite()
        losses["loss"].backward()
    assert all(each.grad is not None for each in model.parameters())
    clip = made(model, asked(11, objects=((FREE, 3),)))
    assert clip.shape == (11, sizes.channels, sizes.size, sizes.size)
    assert clip.abs().max() <= 1


@pytest.mark.parametrize("given", [0, 1, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("more", [1, 4, 7, 8, 9, 30])
def test_a_clip_has_as_many_frames_as_asked_for_and_begins_with_those_given(given: int, more: int) -> None:
    model = network(depth=1)
    first = film(given, 1)[0] if given else None
    wish, calls = asked(given + more, first), []
    chunks = list(model.sample(wish, torch.Generator().manual_seed(0), lambda: calls.append(1)))
    whole = torch.cat(chunks)
    assert len(whole) == given + more
    assert first is None or torch.equal(whole[:given], first)
    assert all(len(chunk) <= max(8, given) for chunk in chunks)
    assert len(calls) == model.count_steps(wish)


def test_a_clip_depends_on_its_rng_alone_and_moves_no_other_state() -> None:
    model = network()
    before = torch.get_rng_state()
    frames = model.sample(asked(20), torch.Generator().manual_seed(3), lambda: None)
    pieces = []
    for piece in frames:
        pieces.append(piece)
        torch.rand(5)
        assert torch.is_grad_enabled()
    torch.set_rng_state(before)
    again = made(model, asked(20), 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.cat(pieces), again)
    assert not torch.equal(made(model, asked(20), 4), again)


def test_label_direction_guidance_and_given_frames_all_make_a_difference() -> None:
    model = network()
    clips = [
        made(model, wish)
        for wish in (
            asked(),
            asked(objects=((2, 4),)),
            asked(objects=((1, 3),)),
            asked(objects=((FREE, FREE),)),
            asked(objects=((1, 4), (1, 4))),
            asked(guidance=1.0),
            asked(guidance=3.0),
            asked(first=film(1, 1)[0]),
            asked(first=film(2, 1)[0]),
        )
    ]
    for index, one in enumerate(clips):
        assert not any(torch.allclose(one, other, atol=1e-4) for other in clips[:index])


def test_guidance_of_nothing_leaves_the_conditions_out() -> None:
    model = network()
    free = made(model, asked(objects=((FREE, FREE),), guidance=1.0))
    assert torch.allclose(made(model, asked(guidance=0.0)), free, atol=1e-4)


def test_things_are_told_apart_by_pairs_and_not_by_their_order() -> None:
    motion = network().motion
    told = motion._things(things((0, 4), (2, 6)))
    assert torch.allclose(motion._things(things((2, 6), (0, 4))), told, atol=1e-5)
    assert not torch.allclose(motion._things(things((0, 6), (2, 4))), told, atol=1e-2)
    assert torch.allclose(motion._things(things((0, 4), (2, 6), (ABSENT, ABSENT))), told, atol=1e-5)


def test_after_the_first_window_no_direction_is_followed() -> None:
    """It is that of a clip's beginning; afterwards what moves may have turned."""
    model = network()
    seen: list[Tensor] = []
    ours = model.motion.guess
    model.motion.guess = lambda *a: (seen.append(a[-1][0]), ours(*a))[1]  # type: ignore[method-assign, func-returns-value]
    made(model, asked(20, steps=1))
    assert [each.tolist() for each in seen] == [[[1, 4]], [[1, FREE]], [[1, FREE]]]


def test_tokens_and_grids_are_the_same_numbers() -> None:
    motion = network(frames=8, size=32).motion
    grids = torch.randn(2, 8, 4, 8, 8)
    tokens = motion._tokens(grids)
    assert tokens.shape == (2, 2 * 4 * 4, 4 * 4 * 4)
    assert torch.equal(motion._untokened(tokens), grids)
    assert torch.equal(tokens[0, 0, :2], grids[0, 0, 0, 0, :2])  # a token holds neighbours


def test_a_part_of_the_noise_is_the_same_in_all_frames() -> None:
    motion = network().motion
    noise = motion.noise(torch.randn(4000, 8, 1), torch.randn(4000, 1, 1))[..., 0]
    assert noise.var().item() == pytest.approx(1, abs=0.05)
    assert np.corrcoef(noise.T.numpy())[0, 1:] == pytest.approx(SHARED, abs=0.06)


def test_steps_lie_nearer_to_the_noise() -> None:
    times = earlier(torch.linspace(0, 1, 11))
    assert times[0] == 0
    assert times[-1] == 1
    assert (times.diff() > 0).all()
    assert times[5] < 0.3


def test_known_frames_are_not_learned_but_seen() -> None:
    motion = network().motion
    latents = torch.randn(1, 8, 4, 4, 4)
    known = (torch.arange(8) < 3)[None, :, None, None, None]
    guesses = [
        motion.guess(torch.where(known, latents * factor, latents), known, torch.tensor(0.5), things((0, 0)))
        for factor in (1, 2)
    ]
    assert not torch.allclose(guesses[0][:, 3:], guesses[1][:, 3:], atol=1e-3)


def test_all_that_a_network_knows_is_in_its_state() -> None:
    model = network()
    model.prepare(torch.randn(6, 8, 4, 4, 4) * 3 + 1)
    with torch.device("meta"):
        empty = Network(model.sizes)
    empty.load_state_dict(model.state_dict(), assign=True)
    assert not any(each.is_meta for each in (*empty.parameters(), *empty.buffers()))
    assert torch.equal(made(empty.eval(), asked()), made(model, asked()))


def test_latents_are_standard_once_prepared() -> None:
    model = network()
    rows = torch.randn(50, 8, 4, 4, 4) * torch.tensor([1.0, 2, 3, 4])[:, None, None] + 5
    model.prepare(rows)
    standard = model.motion.standard(rows).movedim(2, 0).flatten(1)
    assert standard.mean(1).abs().max() < 1e-4
    assert (standard.std(1) - 1).abs().max() < 1e-4


def test_training_learns_frames_and_then_motion() -> None:
    rng = np.random.default_rng(0)
    clips = (film(8, 4).numpy()[:, :, 0] > 0).astype(np.uint8) * 200
    clips = np.concatenate([np.roll(clips, (int(rng.integers(5)), 0), (2, 3)) for _ in range(6)])
    trainer = VideoTrainer.open(device="cpu", **{**TINY, "classes": 0})
    losses = [
        step.metrics["loss"]
        for step in trainer.steps(clips, max_steps=240, share=0.5, batch_sizes=(16, 16), learning_rates=(4e-3, 3e-3))
    ]
    for phase in (losses[:120], losses[120:]):
        assert np.mean(phase[-10:]) < 0.5 * np.mean(phase[:10])
    [clip] = trainer.model.generate(num_frames=12, steps=4, seed=0)
    assert clip.frames.shape == (12, 16, 16, 3)
