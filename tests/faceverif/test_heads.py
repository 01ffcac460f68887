"""Heads against scalar oracles: values, gradients, edges, invariances."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

sys.path.insert(0, str(Path(__file__).parents[1] / "oracles"))
from angular_heads import (
    arcface_oracle,
    cosface_oracle,
    cross_entropy_oracle,
    normalised_softmax_oracle,
    softmax_oracle,
)

from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.heads.angular import cosines
from faceverif.heads.arcface import ArcFaceHead, arcface_logits
from faceverif.heads.cosface import CosFaceHead, cosface_logits
from faceverif.heads.normalised_softmax import NormalisedSoftmaxHead, normalised_softmax_logits
from faceverif.heads.softmax import SoftmaxHead, softmax_logits

BATCH, DIM, CLASSES = 6, 4, 5
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


def drawn(seed: int = 0, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(BATCH, DIM, generator=generator, dtype=dtype) * 3
    weight = torch.randn(CLASSES, DIM, generator=generator, dtype=dtype)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    return embeddings, weight, labels


def angular(
    margin_logits: Callable[..., Tensor], **arguments: float
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda x, w, y: margin_logits(cosines(x, w), y, **arguments)


@pytest.mark.parametrize("margin", [0.0, 0.35, 1.5])
def test_cosface_equals_the_oracle(margin: float) -> None:
    x, w, y = drawn()
    ours = cosface_logits(cosines(x, w), y, scale=30.0, margin=margin)
    for row, (sample, label) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        oracle = cosface_oracle(sample, w.tolist(), label, scale=30.0, margin=margin)
        assert ours[row].tolist() == pytest.approx(oracle, abs=1e-12)


@pytest.mark.parametrize("margin_rad", [0.0, 0.5, 1.5, 3.0])
def test_arcface_equals_the_oracle_on_both_sides_of_the_bend(margin_rad: float) -> None:
    x, w, y = drawn(seed=1)
    x[0], x[1] = w[y[0]] * 2 + 0.05, 0.1 - w[y[1]]  # one sample near its centre, one far behind
    ours = arcface_logits(cosines(x, w), y, scale=64.0, margin_rad=margin_rad)
    for row, (sample, label) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        oracle = arcface_oracle(sample, w.tolist(), label, scale=64.0, margin_rad=margin_rad)
        assert ours[row].tolist() == pytest.approx(oracle, abs=1e-9)


def test_softmaxes_equal_their_oracles() -> None:
    x, w, _ = drawn()
    bias = torch.arange(CLASSES, dtype=torch.float64)
    plain, normalised = softmax_logits(x, w, bias), normalised_softmax_logits(x, w, scale=16.0)
    for row, sample in enumerate(x.tolist()):
        assert plain[row].tolist() == pytest.approx(softmax_oracle(sample, w.tolist(), bias.tolist()))
        assert normalised[row].tolist() == pytest.approx(normalised_softmax_oracle(sample, w.tolist(), 16.0))


def test_cross_entropy_equals_the_oracle_also_where_it_saturates() -> None:
    logits = torch.tensor([[0.0, 0, 0], [900, 0, -900], [-900, 900, 0]], dtype=torch.float64)
    labels = torch.tensor([2, 0, 0])
    oracle = [
        cross_entropy_oracle(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    assert cross_entropy(logits, labels).tolist() == pytest.approx(oracle)


HEADS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": lambda x, w, y: softmax_logits(x, w, torch.zeros(CLASSES, dtype=x.dtype)),
    "normalised_softmax": lambda x, w, y: normalised_softmax_logits(x, w, scale=16.0),
    "cosface": angular(cosface_logits, scale=16.0, margin=0.35),
    "arcface": angular(arcface_logits, scale=16.0, margin_rad=0.5),
    "arcface, mostly beyond the bend": angular(arcface_logits, scale=16.0, margin_rad=2.5),
}


@pytest.mark.parametrize("name", HEADS)
def test_gradients(name: str) -> None:
    x, w, y = drawn(seed=2)
    assert gradcheck(lambda x, w: HEADS[name](x, w, y), (x.requires_grad_(), w.requires_grad_()))


@pytest.mark.parametrize("cosine", [-1.0, -math.cos(0.5), 0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arcface_gradients_are_finite_at_the_edges(cosine: float, dtype: torch.dtype) -> None:
    cos = torch.full((1, 2), cosine, dtype=dtype, requires_grad=True)
    arcface_logits(cos, torch.tensor([0]), scale=64.0, margin_rad=0.5).sum().backward()
    assert cos.grad is not None
    assert cos.grad.isfinite().all()
    assert cos.grad.abs().max() < 1e5


def test_arcface_gradient_has_the_factor_that_some_ports_drop() -> None:
    """d cos(theta + m) / d cos(theta) = sin(theta + m) / sin(theta)."""
    theta, margin = 1.1, 0.5
    cos = torch.tensor([[math.cos(theta), 0.0]], dtype=torch.float64, requires_grad=True)
    arcface_logits(cos, torch.tensor([0]), scale=1.0, margin_rad=margin)[0, 0].backward()
    assert cos.grad is not None
    assert cos.grad[0, 0].item() == pytest.approx(math.sin(theta + margin) / math.sin(theta))


def test_an_embedding_on_its_centre_trains_on() -> None:
    """cos = 1 up to rounding, in float32: loss and gradients of the whole head stay finite."""
    head = ArcFaceHead(classes=3, embedding_dim=8, scale=64.0, margin_rad=0.5)
    labels = torch.tensor([0, 1, 2])
    embeddings = (7 * head.weight.detach()).requires_grad_()
    cross_entropy(head(embeddings, labels).margin_logits, labels).mean().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@few
@given(seed=seeds)
def test_margin_zero_is_the_normalised_softmax(seed: int) -> None:
    x, w, y = drawn(seed)
    expected = normalised_softmax_logits(x, w, scale=16.0)
    torch.testing.assert_close(cosface_logits(cosines(x, w), y, scale=16.0, margin=0.0), expected)
    torch.testing.assert_close(arcface_logits(cosines(x, w), y, scale=16.0, margin_rad=0.0), expected)


@few
@given(seed=seeds, margin=st.floats(0.01, 1.5))
def test_a_margin_lowers_the_true_class_and_nothing_else(seed: int, margin: float) -> None:
    x, w, y = drawn(seed)
    plain = normalised_softmax_logits(x, w, scale=1.0)
    true = torch.nn.functional.one_hot(y, CLASSES).bool()
    for logits in (
        cosface_logits(cosines(x, w), y, scale=1.0, margin=margin),
        arcface_logits(cosines(x, w), y, scale=1.0, margin_rad=margin),
    ):
        assert torch.equal(logits[~true], plain[~true])
        assert (logits[true] < plain[true]).all()


@few
@given(seed=seeds)
@pytest.mark.parametrize("name", HEADS)
def test_permuting_the_batch_permutes_the_logits(name: str, seed: int) -> None:
    x, w, y = drawn(seed)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(HEADS[name](x[order], w, y[order]), HEADS[name](x, w, y)[order])


@few
@given(seed=seeds)
@pytest.mark.parametrize("name", HEADS)
def test_rotating_embeddings_and_centres_changes_nothing(name: str, seed: int) -> None:
    x, w, y = drawn(seed)
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(HEADS[name](x @ rotation, w @ rotation, y), HEADS[name](x, w, y))


@few
@given(seed=seeds, length=st.floats(0.1, 100))
@pytest.mark.parametrize("name", [name for name in HEADS if name != "softmax"])
def test_lengths_do_not_matter_to_angular_heads(name: str, seed: int, length: float) -> None:
    x, w, y = drawn(seed)
    torch.testing.assert_close(HEADS[name](x * length, w / length, y), HEADS[name](x, w, y))


MODULES: list[Callable[[], Any]] = [
    lambda: SoftmaxHead(classes=CLASSES, embedding_dim=DIM),
    lambda: NormalisedSoftmaxHead(classes=CLASSES, embedding_dim=DIM, scale=16.0),
    lambda: CosFaceHead(classes=CLASSES, embedding_dim=DIM, scale=16.0, margin=0.35),
    lambda: ArcFaceHead(classes=CLASSES, embedding_dim=DIM, scale=16.0, margin_rad=0.5),
]


@pytest.mark.parametrize("make", MODULES)
def test_modules_stay_in_float32_under_autocast(make: Callable[[], Any]) -> None:
    head = make()
    x, _, y = drawn(dtype=torch.float32)
    expected = head(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        output, logits = head(x, y), head.logits(x)
    for ours, theirs in zip((*output, logits), (*expected, expected.logits), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("make", MODULES)
def test_logits_carry_no_margin(make: Callable[[], Any]) -> None:
    head = make()
    x, _, y = drawn(dtype=torch.float32)
    assert torch.equal(head(x, y).logits, head.logits(x))


@pytest.mark.parametrize("make", MODULES[2:])
def test_margin_grows_with_its_progress(make: Callable[[], Any]) -> None:
    head = make()
    x, _, y = drawn(dtype=torch.float32)
    losses = []
    for progress in (0.0, 0.5, 1.0):
        head.set_margin_progress(progress)
        losses.append(cross_entropy(head(x, y).margin_logits, y).mean().item())
    assert losses[0] == pytest.approx(cross_entropy(head.logits(x), y).mean().item())
    assert losses[0] < losses[1] < losses[2]
