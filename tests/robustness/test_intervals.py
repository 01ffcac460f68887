"""Interval bounds: no corner of the box escapes them, and linear nets reach them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import check_page
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toy_models import band_images, lgm_model, softmax_model

from data_prep.errors import InputError
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.training import train_classifier
from faceverif.config.reading import validate_config
from faceverif.heads.softmax import SoftmaxHead
from faceverif.perturbation import intervals
from faceverif.perturbation.intervals import Interval, Unbounded, around, bounded, least_margins, linear_form
from robustness.certificates.verified import never_less, verified, verify_images

RESULT = "result.json"


def corners(inside: Interval) -> Tensor:
    """Every corner of the box of one tiny picture, (2^n, C, H, W)."""
    low, high = inside.low.flatten(), inside.high.flatten()
    choices = torch.tensor(list(product((False, True), repeat=low.numel())))
    return torch.where(choices, high, low).reshape(-1, *inside.low.shape[1:])


def tiny_net() -> nn.Sequential:
    """Every kind of layer, on pictures of 1 x 3 x 4 pixels; a negative slope, and a negative batch norm."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.PReLU(3),
        nn.Conv2d(3, 2, 2, stride=(1, 2), bias=False),
        nn.AvgPool2d(2, stride=1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(2, 5),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                layer.weight.uniform_(-2, 2)
                layer.bias.uniform_(-1, 1)
                layer.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            if isinstance(layer, nn.PReLU):
                layer.weight.copy_(torch.tensor([0.3, -0.5, 1.4]))
    return net.eval()


@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.4])
def test_no_corner_and_no_inner_point_leaves_the_bounds(epsilon: float) -> None:
    net, picture = tiny_net(), torch.rand(1, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    inside = around(picture, epsilon=epsilon)
    found = bounded(net, inside)
    points = corners(inside)
    inner = inside.low + torch.rand(500, 1, 3, 4) * (inside.high - inside.low)
    with torch.no_grad():
        outputs = net(torch.cat([points, inner]))
    assert (outputs >= found.low - 1e-5).all()
    assert (outputs <= found.high + 1e-5).all()
    if epsilon == 0:
        torch.testing.assert_close(found.low, found.high)


@pytest.mark.parametrize("slope", [0.3, -0.5])
def test_one_layer_reaches_its_bounds(slope: float) -> None:
    """The bounds are the least and the most, not only outside of them."""
    torch.manual_seed(2)
    activation = nn.PReLU(init=slope)
    inside = Interval(torch.full((1, 4), -1.0), torch.full((1, 4), 2.0))
    values = activation(torch.linspace(-1, 2, 301)[:, None]).detach()
    found = bounded(activation, inside)
    assert found.low[0, 0].item() == pytest.approx(values.min().item(), abs=1e-6)
    assert found.high[0, 0].item() == pytest.approx(values.max().item(), abs=1e-6)
    linear = nn.Linear(4, 3)
    found = bounded(linear, inside)
    outputs = linear(corners(Interval(inside.low[None], inside.high[None])).squeeze(1))
    torch.testing.assert_close(found.low[0], outputs.amin(dim=0))
    torch.testing.assert_close(found.high[0], outputs.amax(dim=0))


@pytest.mark.parametrize("head", ["softmax", "lgm"])
def test_margins_of_a_linear_model_are_those_of_its_worst_corner(head: str) -> None:
    """The three bands average, so the whole model is linear and the bound is exact."""
    model = softmax_model() if head == "softmax" else lgm_model()
    network = nn.Sequential(nn.AvgPool2d((3, 2)), nn.Flatten())
    images, labels = band_images(1)
    with torch.no_grad():
        inside = around(images, epsilon=0.2)
        # Equal pixels of a band give the extremes of its average: 2^3 corners.
        ends = [(inside.low, inside.high)[side] for side in (0, 1)]
        embeddings = [
            torch.stack([network(ends[side])[0, band] for band, side in enumerate(sides)])
            for sides in product((0, 1), repeat=3)
        ]
        logits = model.head.logits(torch.stack(embeddings))
        worst = (logits[:, labels] - logits).amin(dim=0)
        found = least_margins(network, model.head, inside, labels)
    torch.testing.assert_close(found[0], worst, atol=1e-4, rtol=1e-4)


class LargestTensor(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made within."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return made


@pytest.mark.parametrize("size", [1, 3, 4])
def test_portions_of_the_classes_give_the_same_margins(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, classes, dim = 6, 11, 5
    torch.manual_seed(4)
    network, head = nn.Linear(7, dim), SoftmaxHead(classes=classes, embedding_dim=dim)
    nn.init.normal_(head.weight)
    nn.init.normal_(head.bias)
    labels, inside = torch.arange(batch), around(torch.rand(batch, 7), epsilon=0.1)
    parameters = [*network.parameters(), *head.parameters()]

    def margins_and_gradients() -> tuple[Tensor, ...]:
        margins = least_margins(network, head, inside, labels)
        loss = nn.functional.cross_entropy(-margins, labels)
        return margins, *torch.autograd.grad(loss, parameters)

    whole = margins_and_gradients()
    assert (whole[0].gather(1, labels[:, None]) == 0).all()
    monkeypatch.setattr(intervals, "_PORTION", size * batch * dim)
    with LargestTensor() as largest:
        found = margins_and_gradients()
    torch.testing.assert_close(found, whole)
    assert largest.numbers <= max(size * batch * dim, batch * classes)


def test_the_linear_form_orders_classes_as_the_head_does() -> None:
    for model in (softmax_model(), lgm_model()):
        embeddings = torch.randn(20, 3, generator=torch.Generator().manual_seed(3))
        weight, bias = linear_form(model.head)
        ours, theirs = embeddings @ weight.T + bias, model.head.logits(embeddings)
        torch.testing.assert_close(ours - ours[:, :1], theirs - theirs[:, :1], atol=1e-4, rtol=1e-4)
    with pytest.raises(Unbounded, match="softmax head, or L-GM with covariance: identity; got LGMHead"):
        linear_form(lgm_model(covariance="diagonal").head)


def test_what_has_no_rule_is_refused() -> None:
    images, labels = band_images(3)
    with pytest.raises(InputError, match=r"must be made of convolutions.*got Bands\. .*--norm l2"):
        verified(softmax_model(), images, labels, epsilon=0.1)


def test_a_runs_error_lies_between_pgd_and_the_verified_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "data": {"name": "digits", "limit": 300},
        "network": {"name": "strided_conv", "embedding_dim": 16, "width": 4},
        "head": {"name": "lgm", "alpha": 0.1},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 2, "batch_size": 50},
    }
    run = tmp_path / "run"
    train_classifier(validate_config(ClassificationConfig, settings, source="test"), run, resume=False)
    text = verify_images(run, tmp_path / "out", epsilons=(0.001, 0.5), images=60, seed=0)
    assert "60 images" in text
    check_page(tmp_path / "out" / "report.html")
    assert "No change of all pixels by up to 0.001" in (tmp_path / "out" / "report.html").read_text()
    clean, small, large = json.loads((tmp_path / "out" / RESULT).read_text())["at_epsilon"]
    assert clean["pgd_error"] == clean["verified_error"]  # without a change the bounds are the outputs
    assert clean["verified_error"] <= small["pgd_error"] <= small["verified_error"] < 1
    assert large["verified_error"] == 1
    with pytest.raises(InputError, match="holds other certificates"):
        verify_images(run, tmp_path / "out", epsilons=(0.2,), images=60, seed=0)

    def unbounded(*_: object) -> None:
        raise Unbounded("must have a rule", got="Bands")

    monkeypatch.setattr("robustness.certificates.verified.least_margins", unbounded)
    with pytest.raises(InputError, match=r"must have a rule; got Bands\. .*--norm l2"):
        verify_images(run, tmp_path / "refused", epsilons=(0.2,), images=60, seed=0)
    assert not (tmp_path / "refused").exists()


def test_what_a_smaller_change_reaches_counts_for_a_larger_one() -> None:
    lines = [{"epsilon": at, "pgd_error": error} for at, error in ((0.0, 0.1), (0.1, 0.4), (0.2, 0.3))]
    assert [line["pgd_error"] for line in never_less(lines)] == [0.1, 0.4, 0.4]
