"""Backbones: shapes, published sizes, and that normalisation and dropout are where they belong."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from faceverif.backbones import BACKBONES, Backbone
from faceverif.backbones.prelu import PReLU

FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("mobilefacenet", {"channel_scale": 1, "expand": "output"}),
    ("mobilefacenet", {"channel_scale": 2, "expand": "input"}),
    ("iresnet", {"depth": 18, "width": 16, "stem_stride": 1, "shortcut": "convolution"}),
    (
        "iresnet",
        {"depth": 18, "width": 16, "stem_stride": 2, "shortcut": "subsampling", "last_norm": "affine"},
    ),
    ("sphereface", {"depth": 20, "last_layers": "none"}),
    ("lgm_resnet", {}),
    ("lsoftmax_face", {"last_layers": "prelu_norm"}),
    ("inception_resnet_v1", {}),
    ("vit", {"size": "tiny", "drop_path": 0.0}),
]

SMALLEST = {"inception_resnet_v1": 80}  # pixels, where a family needs more than 32


def build(name: str, **arguments: Any) -> Backbone:
    return BACKBONES[name](**{"embedding_dim": 512, "input_px": 112, "dropout": 0.0} | arguments)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def convolutions(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d) for layer in module.modules())


@pytest.mark.parametrize("input_px", [112, 120, 160])
@pytest.mark.parametrize(("name", "arguments"), FAMILIES)
def test_every_input_size_gives_embeddings(name: str, arguments: dict[str, Any], input_px: int) -> None:
    with torch.device("meta"):  # shapes without arithmetic
        backbone = build(name, embedding_dim=96, input_px=input_px, **arguments).eval()
        pixels = torch.rand(2, 3, input_px, input_px)
    assert backbone(pixels).shape == (2, 96)
    assert (backbone.embedding_dim, backbone.input_px) == (96, input_px)


@pytest.mark.parametrize(("depth", "millions"), [(18, 24.02), (34, 34.14), (50, 43.59), (100, 65.16)])
def test_iresnet_has_the_published_size(depth: int, millions: float) -> None:
    with torch.device("meta"):
        backbone = build("iresnet", depth=depth, width=64, stem_stride=1, shortcut="convolution")
    assert parameters(backbone) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("last_norm", ["plain", "affine"])
def test_only_an_affine_last_norm_lets_embeddings_become_longer(last_norm: str) -> None:
    torch.manual_seed(0)
    arguments = {"depth": 18, "width": 8, "stem_stride": 2, "shortcut": "subsampling", "last_norm": last_norm}
    backbone = build("iresnet", embedding_dim=16, input_px=32, **arguments)
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.5)
    pixels = torch.rand(8, 3, 32, 32)
    for _ in range(3):
        optimizer.zero_grad()
        (-backbone(pixels).square().sum(dim=1).mean()).backward()
        optimizer.step()
    squares = backbone(pixels).square().sum(dim=1).mean().item()
    assert squares == pytest.approx(16, rel=0.01) if last_norm == "plain" else squares > 20


def test_mobilefacenet_has_the_published_size() -> None:
    with torch.device("meta"):
        backbone = build("mobilefacenet", channel_scale=1, expand="output", embedding_dim=128)
    projection = 512 * 128 + 2 * 128
    assert (parameters(backbone) - projection) / 1e6 == pytest.approx(0.99, abs=0.005)


@pytest.mark.parametrize(("size", "millions"), [("tiny", 22.6), ("small", 96.0), ("base", 114.9)])
def test_vit_has_the_size_that_it_says(size: str, millions: float) -> None:
    with torch.device("meta"):
        backbone = build("vit", size=size, drop_path=0.1)
    assert parameters(backbone) / 1e6 == pytest.approx(millions, abs=0.1)


def test_vit_skips_blocks_in_training_only_and_by_torchs_generator() -> None:
    torch.manual_seed(0)
    backbone = build("vit", size="tiny", drop_path=0.9, embedding_dim=16, input_px=32)
    backbone.embed.eval()  # batch normalisation tells batches apart
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(backbone(pixels), backbone(pixels))
        outputs = []
        for _ in range(2):
            torch.manual_seed(1)  # as every step of a training does, so that a resumed run skips the same
            outputs.append(backbone(pixels))
        assert torch.equal(*outputs)
        backbone.eval()
        assert torch.equal(backbone(pixels), backbone(pixels))


@pytest.mark.parametrize("depth", [20, 36, 64])
def test_sphereface_counts_its_convolutions(depth: int) -> None:
    with torch.device("meta"):
        assert convolutions(build("sphereface", depth=depth, last_layers="none")) == depth


def test_the_plain_face_net_has_17_convolutions() -> None:
    with torch.device("meta"):
        assert convolutions(build("lsoftmax_face", last_layers="none")) == 17


def test_lgm_resnet_has_27_convolutions() -> None:
    with torch.device("meta"):
        assert convolutions(build("lgm_resnet")) == 27


@pytest.mark.parametrize(
    ("name", "arguments"), [("sphereface", {"depth": 20, "last_layers": "none"}), ("lgm_resnet", {})]
)
def test_papers_nets_carry_no_batch_norm(name: str, arguments: dict[str, Any]) -> None:
    with torch.device("meta"):
        layers = [type(layer) for layer in build(name, **arguments).modules()]
    assert nn.BatchNorm2d not in layers
    assert nn.BatchNorm1d not in layers
    assert layers.count(PReLU) == convolutions(build(name, **arguments))


@pytest.mark.parametrize(("name", "arguments"), FAMILIES)
def test_fresh_nets_pass_a_signal_both_ways(name: str, arguments: dict[str, Any]) -> None:
    """Embeddings of fresh nets differ between photos, and every parameter gets a gradient."""
    torch.manual_seed(0)
    side = SMALLEST.get(name, 32)
    backbone = build(name, embedding_dim=16, input_px=side, **arguments)
    embeddings = backbone(torch.rand(4, 3, side, side))
    assert 0.01 < embeddings.std().item() < 100
    assert embeddings.std(dim=0).min() > 0
    embeddings.square().mul(torch.rand_like(embeddings)).sum().backward()
    silent = [name for name, parameter in backbone.named_parameters() if not parameter.grad.abs().max() > 0]
    assert silent == []


def test_normalisation_is_part_of_the_model() -> None:
    seen: list[Tensor] = []
    backbone = build("mobilefacenet", channel_scale=1, expand="output", input_px=32)
    backbone.trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone.eval()(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 32, 32))
    assert [pixels.unique().item() for pixels in seen[0]] == [-1.0, 0.0, 1.0]


def test_imported_normalisation_holds_per_colour_and_stays_out_of_the_weights() -> None:
    seen: list[Tensor] = []
    backbone = build("mobilefacenet", channel_scale=1, expand="output", input_px=32)
    weights = set(backbone.state_dict())
    backbone.normalise_pixels(mean=(0.0, 0.25, 0.5), std=(1.0, 0.25, 0.5))
    backbone.trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone.eval()(torch.full((1, 3, 32, 32), 0.5))
    assert [channel.unique().item() for channel in seen[0][0]] == [0.5, 1.0, 0.0]
    assert set(backbone.state_dict()) == weights


@pytest.mark.parametrize(("name", "arguments"), FAMILIES)
def test_dropout_acts_in_training_only(name: str, arguments: dict[str, Any]) -> None:
    side = SMALLEST.get(name, 32)
    backbone = build(name, embedding_dim=16, input_px=side, **arguments | {"dropout": 0.5})
    pixels = torch.rand(2, 3, side, side)
    backbone.eval()
    assert torch.equal(backbone(pixels), backbone(pixels))
    backbone.train()
    with torch.no_grad():
        assert not torch.equal(backbone(pixels), backbone(pixels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_prelu_equals_pytorchs(memory_format: torch.memory_format, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours, theirs = PReLU(5), nn.PReLU(5)
    for slopes in (ours, theirs):
        slopes.weight.data = torch.tensor([0.25, -0.5, 0.0, 1.0, 2.0])
    pixels = torch.randn(3, 5, 4, 4).to(dtype).contiguous(memory_format=memory_format)
    pixels[0, 0, 0] = 0.0
    gradient = torch.randn(3, 5, 4, 4).to(dtype)
    results = []
    for module in (ours, theirs):
        inputs = pixels.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            output = module(inputs)
        output.backward(gradient)
        results.append((output.detach(), inputs.grad, module.weight.grad))
    tolerance = {} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.05}  # PyTorch's sums are bfloat16
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, **tolerance)


def test_prelu_gradients() -> None:
    module = PReLU(3).double()
    inputs = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(module, (inputs,))
