"""Codes: the codebook that follows averages, the prior that draws them, and pictures as bytes."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from aigc_sdk import Image
from aigc_sdk.errors import DataError, NotOffered
from aigc_sdk_vae.codebook import Codebook, CodePrior
from aigc_sdk_vae.model import VAE
from aigc_sdk_vae.pack import HEAD, pack, unpack
from aigc_sdk_vae.train import VAETrainer

SIZES: dict[str, Any] = {"kind": "vq", "size": 8, "classes": 0, "latent": 3, "width": 8, "codes": 10, "device": "cpu"}


def some_pictures(n: int = 40) -> Any:
    """Bright squares at random places."""
    rng, pixels = np.random.default_rng(0), np.zeros((n, 8, 8), np.uint8)
    for each in pixels:
        top, left = rng.integers(0, 5, 2)
        each[top : top + 3, left : left + 3] = rng.integers(100, 255)
    return pixels


@pytest.fixture(scope="module")
def model() -> VAE:
    return VAETrainer.open(**SIZES).fit(some_pictures(), max_steps=200, batch_size=20)


def images() -> list[Image]:
    return [Image(each[..., None].repeat(3, 2)) for each in some_pictures()]


def test_entries_move_to_the_average_of_what_is_matched_with_them() -> None:
    torch.manual_seed(0)
    book = Codebook(2, 2).train()
    two = torch.tensor([[-1.0, 0.0], [3.0, 1.0]])
    for _ in range(1500):
        chosen = two[torch.randint(2, (64,))] + 0.1 * torch.randn(64, 2)
        book(chosen.view(1, 8, 8, 2).permute(0, 3, 1, 2))
    assert torch.allclose(book.entries.sort(0).values, two, atol=0.03)


def test_a_dead_entry_starts_anew_from_the_batch() -> None:
    torch.manual_seed(0)
    book = Codebook(4, 2).train()
    vectors = torch.randn(1, 2, 8, 8)
    book(vectors)
    book.entries[2] = 1000.0  # which nothing is matched with any more
    book.sums[2] = 1000.0 * book.uses[2]
    for _ in range(400):
        book(torch.randn(1, 2, 8, 8))
    assert book.entries.abs().max() < 5
    assert (book.uses > 0.1 * book.uses.mean()).all()


def test_judging_changes_no_entry() -> None:
    book = Codebook(4, 2).eval()
    before = {name: each.clone() for name, each in book.state_dict().items()}
    book(torch.randn(3, 2, 4, 4))
    assert all(torch.equal(each, before[name]) for name, each in book.state_dict().items())


def test_the_prior_is_a_probability_of_whole_grids_and_draws_by_it() -> None:
    """Of two codes at three places every grid is counted."""
    torch.manual_seed(0)
    prior = CodePrior(2, 0, 3).eval()
    prior.head.weight.data *= 10  # so that it is far from even
    grids = torch.tensor(list(product(range(2), repeat=3)))
    with torch.no_grad():
        chances = prior.log_probability(grids, None).exp()
        drawn = prior.draw(torch.rand(20_000, 3), None, 1.0)
    assert float(chances.sum()) == pytest.approx(1, abs=1e-5)
    counts = torch.bincount(drawn @ torch.tensor([4, 2, 1]), minlength=8) / len(drawn)
    assert torch.allclose(counts, chances, atol=0.02)


def test_compress_and_decompress_give_what_is_left_of_a_picture(model: VAE) -> None:
    for image, left in zip(images()[:10], model.reconstruct(images()[:10]), strict=True):
        data = model.compress(image)
        back = model.decompress(data)
        assert back == left
        assert len(data) == HEAD + 16 * 4 // 8, "16 codes of 4 bits each"
        assert back.info["bits_per_pixel"] == 8 * len(data) / 64


def test_codes_pass_through_bytes_whatever_their_width() -> None:
    rng = np.random.default_rng(0)
    for entries in (2, 3, 10, 64, 65, 512, 65_536):
        for count in (1, 5, 16):
            codes = rng.integers(0, entries, count)
            assert np.array_equal(unpack(pack(codes, entries, "one"), count, entries, "one"), codes)


def test_bytes_that_are_damaged_or_another_models_are_refused(model: VAE) -> None:
    data, other = model.compress(images()[0]), VAETrainer.open(**SIZES, seed=5).model
    worst = data[:HEAD] + b"\xff" * (len(data) - HEAD)  # codes of 15, of 10
    for bad in (b"", b"\0" + data[1:], data[:-1], data + b"\0", worst, "text"):
        with pytest.raises(DataError, match="data"):
            model.decompress(bad)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="another model"):
        other.decompress(data)


def test_codes_decode_to_the_reconstruction_and_others_are_refused(model: VAE) -> None:
    codes = model.encode(images()[:5])
    assert codes.dtype == np.int64
    assert codes.shape == (5, 4, 4)
    assert model.decode(codes) == model.reconstruct(images()[:5])
    for bad in (codes + 10, codes - 20, codes + 0.5, codes[0], codes.astype(str)[:, :2]):
        with pytest.raises(ValueError, match="latents"):
            model.decode(bad)


def test_most_codes_come_into_use_and_pictures_come_back(model: VAE) -> None:
    assert len(np.unique(model.encode(some_pictures()))) >= 5
    left = np.stack([each.pixels[..., 0] for each in model.reconstruct(some_pictures())])
    assert np.abs(left.astype(float) - some_pictures()).mean() < 20


def test_what_needs_other_latents_is_not_offered(model: VAE) -> None:
    gaussian = VAETrainer.open(size=8, classes=0, device="cpu").model
    for call in (
        lambda: model.interpolate(images()[0], images()[1]),
        lambda: model.traverse(images()[0]),
        lambda: model.fit_sampler(images()),
        lambda: gaussian.compress(images()[0]),
        lambda: gaussian.decompress(b"12345"),
    ):
        with pytest.raises(NotOffered, match="kind="):
            call()
