"""The networks: their shapes at every size, where labels enter, and what holds the critic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aigc_sdk.errors import OptionError
from aigc_sdk_gan.network import Activated, CriticNetwork, GeneratorNetwork, Sizes, new_networks, orthogonalise

SMALL: dict[str, Any] = {"width": 2, "critic_width": 2, "latent": 5}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_a_pair_makes_and_judges_pictures_of_its_size(architecture: str, size: int, channels: int) -> None:
    sizes = Sizes.parse(
        "gan", {"architecture": architecture, "size": size, "channels": channels, "classes": 3, **SMALL}
    )
    generator, critic = new_networks(sizes)
    labels = torch.tensor([0, 2])
    images = generator(torch.randn(2, 5), labels)
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert critic(images, labels).shape == (2,)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_depth_and_width_make_a_network_larger(architecture: str) -> None:
    def weights(**changes: Any) -> list[int]:
        networks = new_networks(Sizes.parse("gan", {"architecture": architecture, **SMALL, **changes}))
        return [sum(each.numel() for each in network.parameters()) for network in networks]

    small = weights()
    assert all(a < b for a, b in zip(small, weights(depth=2), strict=True))
    assert all(a < b for a, b in zip(small, weights(width=4, critic_width=4), strict=True))


@pytest.mark.parametrize("conditioning", ["input", "batch_norm"])
def test_the_label_changes_the_picture_and_the_score(conditioning: str) -> None:
    sizes = Sizes.parse("gan", {"conditioning": conditioning, "classes": 2, **SMALL})
    generator, critic = new_networks(sizes)
    for module in generator.modules():  # conditional batch norm starts with the same scale for all labels
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    latents = torch.randn(1, 5).repeat(2, 1)
    one, other = generator.eval()(latents, torch.tensor([0, 1]))
    assert not torch.equal(one, other)
    scores = critic(one.repeat(2, 1, 1, 1), torch.tensor([0, 1]))
    assert scores[0] != scores[1]


def test_conditional_batch_norm_scales_and_shifts_by_label() -> None:
    activated = Activated(Sizes(classes=2, conditioning="batch_norm"), 3)
    with torch.no_grad():
        activated.norm.scale.weight[1] = 2.0
        activated.norm.shift.weight[1] = 10.0
    x = torch.randn(4, 3, 5, 5)
    plain = nn.BatchNorm2d(3, affine=False)(x)
    made = activated.norm(x, torch.tensor([0, 0, 1, 1]))
    assert torch.allclose(made[:2], plain[:2], atol=1e-6)
    assert torch.allclose(made[2:], 2 * plain[2:] + 10, atol=1e-5)


def test_projection_adds_the_product_of_features_and_label() -> None:
    critic = CriticNetwork(Sizes(classes=2, critic_width=2, size=8)).eval()
    image = torch.randn(1, 1, 8, 8)
    features = critic.body(image)[0]
    difference = critic(image, torch.tensor([1])) - critic(image, torch.tensor([0]))
    expected = features @ (critic.embedding.weight[1] - critic.embedding.weight[0])
    assert difference.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_spectral_norm_holds_every_layer_to_one(architecture: str) -> None:
    sizes = Sizes.parse("gan", {"architecture": architecture, "spectral_norm": True, "size": 8, "classes": 3, **SMALL})
    critic = CriticNetwork(sizes)
    for _ in range(60):  # each pass in training makes one power iteration
        critic(torch.randn(1, 1, 8, 8), torch.tensor([0]))
    critic.eval()
    layers = [each for each in critic.modules() if isinstance(each, nn.Linear | nn.Conv2d | nn.Embedding)]
    norms = [torch.linalg.matrix_norm(each.weight.detach().flatten(1), 2).item() for each in layers]
    assert len(norms) > 3
    assert norms == pytest.approx([1.0] * len(norms), rel=0.02)


def test_orthogonal_weights_are_orthogonal_and_the_norms_stay() -> None:
    network = GeneratorNetwork(Sizes(classes=3, conditioning="batch_norm", width=8, latent=4))
    orthogonalise(network)
    weight = network.stem.weight
    assert torch.allclose(weight.T @ weight, torch.eye(4), atol=1e-5)
    scales = [each.scale.weight for each in network.modules() if hasattr(each, "scale")]
    assert all(torch.equal(each, torch.ones_like(each)) for each in scales)


@pytest.mark.parametrize(
    ("bad", "field", "remedy"),
    [
        ({"size": 12}, "size", "8, 16, 32, 64 or 128"),
        ({"channels": 2}, "channels", "1 or 3"),
        ({"classes": 1}, "classes", "use 0 for pictures without labels"),
        ({"classes": 0, "conditioning": "batch_norm"}, "conditioning", "set classes"),
        ({"architecture": "resnet", "upsampling": "transposed"}, "upsampling", "is of architecture='dcgan'"),
        ({"latent": 0}, "latent", "greater than or equal to 1"),
        ({"widht": 3}, "widht", "Did you mean 'width'"),
    ],
)
def test_sizes_that_make_no_networks_are_refused(bad: dict[str, Any], field: str | None, remedy: str) -> None:
    with pytest.raises(OptionError) as caught:
        Sizes.parse("gan", bad)
    assert caught.value.field == field
    assert remedy in str(caught.value)
