"""The latent kind: what its parts promise, for sizes of every sort."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aigc_sdk_video.architecture import ABSENT, FREE, Asked, Sizes
from aigc_sdk_video.latent import Network
from aigc_sdk_video.latent.frames import MOTION, _matched
from aigc_sdk_video.latent.motion import FUSED, Block, _patched, _unpatched
from aigc_sdk_video.train import VideoTrainer

TINY = {"architecture": "latent", "size": 16, "frames": 8, "classes": 3, "latent": 4, "width": 32, "depth": 2}


def network(**changes: Any) -> Network:
    torch.manual_seed(0)
    made = Network(Sizes(**{**TINY, **changes}))
    for each in (
        made.motion.out.weight,
        made.motion.out_motion.weight,
        *(block.modulation.weight for block in made.motion.blocks),
    ):
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
    looks, moves = sizes.latent * (sizes.size // 4) ** 2, (sizes.frames - 1) * MOTION * sizes.latent
    assert rows.shape == (4, looks + moves)
    assert torch.equal(same, conditions)
    model.prepare(rows)
    for losses in (model.frames(clips, conditions), model.motion(rows.detach(), conditions)):
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


def test_rows_grids_and_tokens_are_the_same_numbers() -> None:
    motion = network(frames=8, size=32).motion
    rows = torch.randn(2, 4 * 8 * 8 + 7 * MOTION * 4)
    looks, moves = motion._parts(rows)
    assert looks.shape == (2, 4, 8, 8)
    assert moves.shape == (2, 7, MOTION * 4)
    assert torch.equal(torch.cat([looks.flatten(1), moves.flatten(1)], 1), rows)
    tokens = _patched(looks)
    assert tokens.shape == (2, 4 * 4, 4 * 2 * 2)
    assert torch.equal(_unpatched(tokens, 8), looks)
    assert torch.equal(tokens[0, 0, :2], looks[0, 0, 0, :2])  # a token holds neighbours


def test_few_tokens_attend_as_many_do() -> None:
    block = Block(32, 1)
    tokens = torch.randn(2, FUSED + 1, 32)
    query, key, value = block.queries(tokens).view(2, -1, 3, block.heads, 32 // block.heads).permute(2, 0, 3, 1, 4)
    by_hand = (query @ key.transpose(-1, -2) / (32 // block.heads) ** 0.5).softmax(-1) @ value
    assert torch.allclose(block._attend(tokens), block.mixed(by_hand.transpose(1, 2).flatten(2)), atol=1e-5)


@pytest.mark.parametrize("known", [64, 64 + 2 * 16])  # the first frame's latents; and two motions
def test_known_numbers_are_not_learned_but_seen(known: int) -> None:
    motion = network().motion
    rows = torch.randn(1, len(motion.mean))
    told = (torch.arange(rows.shape[1]) < known)[None]
    guesses = [
        motion.guess(torch.where(told, rows * factor, rows), told, torch.tensor(0.5), things((0, 0)))
        for factor in (1, 2)
    ]
    assert not torch.allclose(guesses[0][:, known:], guesses[1][:, known:], atol=1e-3)
    made = motion.make(
        things((0, 0))[0], rows[0, :known], torch.Generator(), steps=2, guidance=1.0, on_step=lambda: None
    )
    assert torch.allclose(made[:known], rows[0, :known], atol=1e-5)


def test_what_moves_is_painted_where_all_flows_up_to_there_lead() -> None:
    """Each flow says "all comes from two pixels to the left"; the features stand for the first frame."""
    frames = network(size=32).frames
    shown = torch.rand(1, 16, 32, 32)
    frames.decoder, seen = torch.nn.Identity(), []
    ours = frames.painter.forward
    frames.painter.forward = lambda x: (seen.append(x), ours(x))[1]  # type: ignore[method-assign, func-returns-value]
    flows = torch.zeros(1, 3, 2, 32, 32)
    flows[:, :, 0] = -2 * 2 / 32
    frames._paint(shown[:, :14], flows, torch.zeros(1, 3, 4, 32, 32), torch.tensor([0, 1, 3]))
    for moved, far in zip(seen[0], (0, 2, 6), strict=True):
        assert torch.allclose(moved[:14, :, far:], shown[0, :14, :, : 32 - far], atol=1e-5)
        assert (moved[16, :, far:] - 1).abs().max() < 1e-5  # something was moved there
        assert moved[:, :, : max(0, far - 1)].abs().sum() == 0  # nothing came from outside


def test_motion_is_matched_between_two_frames_alone() -> None:
    """The cost of a shift is least where the second frame is the first one so shifted."""
    before = torch.rand(1, 1, 32, 32) * 2 - 1
    costs = _matched(before, torch.roll(before, (1, -2), (-2, -1)))[0, : 49 * 16].view(7, 7, 4, 4)
    best = costs[:, :, 1:3, 1:3].flatten(0, 1).argmin(0)
    assert (best == (3 - 1) * 7 + 3 + 2).all()


def test_all_that_a_network_knows_is_in_its_state() -> None:
    model = network()
    model.prepare(torch.randn(6, len(model.motion.mean)) * 3 + 1)
    with torch.device("meta"):
        empty = Network(model.sizes)
    empty.load_state_dict(model.state_dict(), assign=True)
    assert not any(each.is_meta for each in (*empty.parameters(), *empty.buffers()))
    assert torch.equal(made(empty.eval(), asked()), made(model, asked()))


def test_channels_and_numbers_are_standard_once_prepared_but_those_that_say_little_stay_small() -> None:
    motion = network().motion
    rows = torch.randn(50, len(motion.mean)) + 5
    looks, moves = rows[:, :64].view(50, 4, 16), rows[:, 64:].view(50, 7, 16)
    looks *= torch.tensor([1.0, 2, 3, 4])[:, None]
    moves[..., 0] = moves[..., 0] * 0.001
    motion.measure(rows)
    standard = motion.standard(rows)
    looks, moves = standard[:, :64].view(50, 4, 16).transpose(0, 1).flatten(1), standard[:, 64:].reshape(-1, 16).T
    for each in (looks, moves):
        assert each.mean(1).abs().max() < 1e-4
    assert (torch.cat([looks.std(1), moves[1:].std(1)]) - 1).abs().max() < 1e-4
    assert moves[0].std() < 0.1


def test_training_learns_frames_and_then_motion() -> None:
    rng = np.random.default_rng(0)
    clips = (film(8, 4).numpy()[:, :, 0] > 0).astype(np.uint8) * 200
    clips = np.concatenate([np.roll(clips, (int(rng.integers(5)), 0), (2, 3)) for _ in range(6)])
    trainer = VideoTrainer.open(device="cpu", **{**TINY, "classes": 0})
    losses = [
        step.metrics["loss"]
        for step in trainer.steps(clips, max_steps=160, share=0.5, batch_sizes=(16, 16), learning_rates=(4e-3, 3e-3))
    ]
    for phase in (losses[:80], losses[80:]):
        assert np.mean(phase[-10:]) < 0.5 * np.mean(phase[:10])
    [clip] = trainer.model.generate(num_frames=12, steps=4, seed=0)
    assert clip.frames.shape == (12, 16, 16, 3)
