"""Networks of the papers: what is known of their shapes, and the contract of all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from data_prep.errors import InputError
from faceverif.classification.network_sections import NetworkConfig
from faceverif.classification.networks import NETWORKS, Network, build_network
from faceverif.classification.networks.cifar_resnet import Subsampled
from faceverif.classification.sources import PIXEL_STATISTICS

MNIST, CIFAR, DIGITS = (1, 28, 28), (3, 32, 32), (1, 8, 8)


def build(name: str, shape: tuple[int, int, int], **settings: Any) -> Network:
    torch.manual_seed(0)
    config = TypeAdapter(NetworkConfig).validate_python({"name": name} | settings)
    pixels = PIXEL_STATISTICS["cifar10" if shape[0] == 3 else "mnist"]
    return build_network(config, shape=shape, pixels=pixels)


def weighted_layers(network: nn.Module, kind: type[nn.Module] = nn.Conv2d) -> int:
    return sum(isinstance(layer, kind) for layer in network.modules())


# name, settings, shape, length of the embedding, parameters (None: not worth a number)
KNOWN: list[tuple[str, dict[str, Any], tuple[int, int, int], int, int | None]] = [
    # 25 (32 + 32^2 + 32 64 + 64^2 + 64 128 + 128^2) + biases and slopes 2 x 448, and 2048 x 2 + 2
    ("six_conv", {"embedding_dim": 2}, MNIST, 2, 25 * 31_776 + 896 + 4_098),
    ("strided_conv", {}, MNIST, 100, 16 * 17 + 32 * (16 * 16 + 1) + (32 * 49 + 1) * 100),
    ("lenet5", {}, MNIST, 84, 61_706 - 850),  # the classic count without its last layer, the head
    ("lsoftmax_net", {"variant": "mnist"}, MNIST, 256, None),
    ("lsoftmax_net", {"variant": "cifar10"}, CIFAR, 256, None),
    ("cifar_resnet", {"depth": 20}, CIFAR, 64, 269_722 - 650),  # 0.27 million in He et al., Table 6
    ("cifar_resnet", {"depth": 22}, CIFAR, 64, 269_722 - 650 + 512 + 64 + 2048 + 128),
    ("vgg13", {}, CIFAR, 384, None),
    ("fer_vgg", {"embedding_dim": 32}, (1, 48, 48), 32, None),
    ("alexnet", {}, CIFAR, 256, 2_472_266 - 2_570),
    ("convmixer", {"width": 16, "depth": 2}, CIFAR, 16, None),
    ("googlenet", {}, CIFAR, 1024, None),
    ("resnet50", {}, CIFAR, 2048, 25_557_032 - 2_049_000 - 9_408 + 1_728),
    ("resnet50", {"embedding_dim": 10}, MNIST, 10, None),
]


@pytest.mark.parametrize(("name", "settings", "shape", "dim", "parameters"), KNOWN)
def test_embeddings_and_sizes(
    name: str, settings: dict[str, Any], shape: tuple[int, int, int], dim: int, parameters: int | None
) -> None:
    network = build(name, shape, **settings)
    assert network.embedding_dim == dim
    if parameters is not None:
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    network.eval()
    embeddings = network(torch.rand(2, *shape))
    assert embeddings.shape == (2, dim)
    assert embeddings.isfinite().all()


def test_all_are_known_but_the_deep_twin() -> None:
    assert {row[0] for row in KNOWN} == NETWORKS.keys() - {"resnet101"}


def test_convolutions_are_as_many_as_the_papers_say() -> None:
    assert weighted_layers(build("six_conv", MNIST, embedding_dim=2)) == 6
    assert weighted_layers(build("vgg13", CIFAR)) == 13
    assert weighted_layers(build("lsoftmax_net", CIFAR, variant="cifar100")) == 13
    assert weighted_layers(build("fer_vgg", (1, 48, 48), embedding_dim=8)) == 8
    for depth in (20, 22, 56):  # and the head is one layer more
        assert weighted_layers(build("cifar_resnet", CIFAR, depth=depth)) == depth - 1
    assert weighted_layers(build("alexnet", CIFAR), nn.BatchNorm2d) == 0


def test_normalisation_is_inside() -> None:
    network = build("six_conv", MNIST, embedding_dim=3)
    pixels = torch.rand(2, *MNIST)
    mean, std = PIXEL_STATISTICS["mnist"].mean[0], PIXEL_STATISTICS["mnist"].std[0]
    assert torch.equal(network(pixels), network.layers((pixels - torch.tensor(mean)) / torch.tensor(std)))
    assert "mean" in network.state_dict()


def test_relu_ends_the_six_convolution_net() -> None:
    pixels = torch.rand(4, *MNIST)
    assert build("six_conv", MNIST, embedding_dim=20, relu=True)(pixels).min() == 0
    assert build("six_conv", MNIST, embedding_dim=20)(pixels).min() < 0


def test_the_shortcut_without_parameters() -> None:
    features = torch.rand(1, 2, 4, 4)
    short = Subsampled(2, 3)(features)
    assert torch.equal(short[:, :2], features[:, :, ::2, ::2])
    assert short.shape == (1, 5, 2, 2)
    assert not short[:, 2:].any()


def test_too_small_images_are_refused() -> None:
    with pytest.raises(InputError, match="must take images of 8 x 8 pixels"):
        build("lenet5", DIGITS)


def test_the_net_of_w_softmax_starts_as_xaviers_do() -> None:
    convolutions = [
        layer
        for layer in build("lsoftmax_net", MNIST, variant="mnist", embedding_dim=4).modules()
        if isinstance(layer, nn.Conv2d)
    ]
    for layer in convolutions:
        bound = (6 / (9 * (layer.in_channels + layer.out_channels))) ** 0.5
        assert 0.9 * bound < layer.weight.abs().max() <= bound
