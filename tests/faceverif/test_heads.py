"""Heads against scalar oracles: values, gradients, edges, reductions, invariances, extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from heads import (
    adaface_oracle,
    arcface_oracle,
    cosface_oracle,
    curricularface_oracle,
    lgm_distance_oracle,
    lgm_oracle,
    lsoftmax_oracle,
    magface_oracle,
    multiplied_angle_oracle,
    normalised_softmax_oracle,
    softmax_of,
    softmax_oracle,
    sphereface_oracle,
    subcenter_arcface_oracle,
    wsoftmax_oracle,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numeric import numeric_gradient
from torch import Tensor
from torch.autograd import gradcheck

from data_prep.errors import InputError
from faceverif.checked_tensors import refuse_bad_embeddings
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.heads import biased_products, gaussian_densities, portions, products
from faceverif.heads.adaface import AdaFaceHead, adaface_logits
from faceverif.heads.angular import angular_logits, cosines
from faceverif.heads.arcface import ArcFaceHead, arcface_logits, turned_cosine
from faceverif.heads.base import Head
from faceverif.heads.cosface import CosFaceHead, cosface_logits
from faceverif.heads.curricularface import CurricularFaceHead, curricularface_logits
from faceverif.heads.elasticface import (
    ElasticArcFaceHead,
    ElasticCosFaceHead,
    elastic_arcface_logits,
    elastic_cosface_logits,
)
from faceverif.heads.gaussian_densities import margin_log_densities
from faceverif.heads.lgm import LGMHead, lgm_logits
from faceverif.heads.lsoftmax import LSoftmaxHead, lsoftmax_logits
from faceverif.heads.magface import MagFaceHead, MagnitudeRange, magface_logits
from faceverif.heads.multiplied_angle import multiplied_angle
from faceverif.heads.normalised_softmax import NormalisedSoftmaxHead, normalised_softmax_logits
from faceverif.heads.softmax import SoftmaxHead, softmax_logits
from faceverif.heads.sphereface import SphereFaceHead, sphereface_logits
from faceverif.heads.subcenter_arcface import SubcenterArcFaceHead, subcenter_arcface_logits
from faceverif.heads.wsoftmax import WSoftmaxHead, simplex_weights, wsoftmax_logits

BATCH, DIM, CLASSES = 6, 4, 5
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)

Logits = Callable[[Tensor, Tensor, Tensor], Tensor]
Oracle = Callable[[list[float], list[list[float]], int], list[float]]

LOG_VARIANCES = torch.linspace(-1.5, 1.0, CLASSES * DIM, dtype=torch.float64).reshape(CLASSES, DIM)
NO_BIAS = torch.zeros(CLASSES, dtype=torch.float64)


def gaussian(log_variances: Tensor, *, alpha: float) -> tuple[Logits, Oracle]:
    full = log_variances.expand(CLASSES, DIM).tolist()
    return (
        lambda x, w, y: lgm_logits(x, w, log_variances.to(x.dtype), y, alpha=alpha),
        lambda x, w, y: lgm_oracle(x, w, full, y, alpha=alpha),
    )


# By label, since an oracle sees one sample.
QUALITY = torch.tensor([-1.0, -0.4, 0.0, 0.7, 1.0], dtype=torch.float64)
MARGINS = torch.tensor([0.0, 0.2, 0.45, 0.5, 1.5], dtype=torch.float64)


def centres_of(weight: Tensor) -> Tensor:
    """Three centres of every class, made of the weights of five classes: (CLASSES, 3, DIM)."""
    return torch.stack([weight, weight - 2 * weight.roll(2, dims=0), weight + weight.roll(1, dims=0)], dim=1)


HEADS: dict[str, tuple[Logits, Oracle]] = {
    "softmax": (
        lambda x, w, y: softmax_logits(x, w, NO_BIAS.to(x.dtype)),
        lambda x, w, y: softmax_oracle(x, w, NO_BIAS.tolist()),
    ),
    "normalised_softmax": (
        lambda x, w, y: normalised_softmax_logits(x, w, scale=16.0),
        lambda x, w, y: normalised_softmax_oracle(x, w, 16.0),
    ),
    "cosface": (
        partial(cosface_logits, scale=16.0, margin=0.35),
        partial(cosface_oracle, scale=16.0, margin=0.35),
    ),
    "arcface": (
        partial(arcface_logits, scale=16.0, margin_rad=0.5),
        partial(arcface_oracle, scale=16.0, margin_rad=0.5),
    ),
    "arcface, often beyond the bend": (
        partial(arcface_logits, scale=16.0, margin_rad=1.5),
        partial(arcface_oracle, scale=16.0, margin_rad=1.5),
    ),
    "adaface": (
        lambda x, w, y: adaface_logits(x, w, y, QUALITY.to(x.dtype)[y], scale=16.0, margin=0.4),
        lambda x, w, y: adaface_oracle(x, w, y, quality=QUALITY[y].item(), scale=16.0, margin=0.4),
    ),
    "magface": (
        partial(
            magface_logits,
            scale=16.0,
            magnitudes=MagnitudeRange(2.0, 9.0),
            lower_margin_rad=0.2,
            upper_margin_rad=0.8,
        ),
        partial(magface_oracle, scale=16.0, norms=(2.0, 9.0), margins_rad=(0.2, 0.8)),
    ),
    **{
        f"curricularface {stage}": (
            lambda x, w, y, stage=stage: curricularface_logits(x, w, y, stage, scale=16.0, margin_rad=0.5),
            partial(curricularface_oracle, stage=stage, scale=16.0, margin_rad=0.5),
        )
        for stage in (0.0, 0.6)
    },
    "elastic_arcface": (
        lambda x, w, y: elastic_arcface_logits(x, w, y, MARGINS.to(x.dtype)[y], scale=16.0),
        lambda x, w, y: arcface_oracle(x, w, y, scale=16.0, margin_rad=MARGINS[y].item()),
    ),
    "elastic_cosface": (
        lambda x, w, y: elastic_cosface_logits(x, w, y, MARGINS.to(x.dtype)[y], scale=16.0),
        lambda x, w, y: cosface_oracle(x, w, y, scale=16.0, margin=MARGINS[y].item()),
    ),
    "subcenter_arcface": (
        lambda x, w, y: subcenter_arcface_logits(x, centres_of(w), y, scale=16.0, margin_rad=0.5),
        lambda x, w, y: subcenter_arcface_oracle(
            x, centres_of(torch.tensor(w, dtype=torch.float64)).tolist(), y, scale=16.0, margin_rad=0.5
        ),
    ),
    **{
        f"sphereface {m}": (
            partial(sphereface_logits, margin=m, share=0.7),
            partial(sphereface_oracle, margin=m, share=0.7),
        )
        for m in (1, 2, 3, 4)
    },
    "lsoftmax": (
        partial(lsoftmax_logits, margin=4, share=1.0),
        partial(lsoftmax_oracle, margin=4, share=1.0),
    ),
    **{
        f"wsoftmax {alpha}": (
            partial(wsoftmax_logits, alpha=alpha),
            partial(wsoftmax_oracle, alpha=alpha),
        )
        for alpha in (0.0, 0.5, 1.0, 1.5)
    },
    "lgm, identity": gaussian(torch.zeros(CLASSES, 1, dtype=torch.float64), alpha=1.0),
    "lgm, isotropic": gaussian(LOG_VARIANCES[:, :1], alpha=0.3),
    "lgm, diagonal": gaussian(LOG_VARIANCES, alpha=0.3),
    "lgm, diagonal, no margin": gaussian(LOG_VARIANCES, alpha=0.0),
}
ANGULAR = [
    name
    for name in HEADS
    if name.startswith(("normalised", "cosface", "arcface", "ada", "curri", "elastic", "subcenter"))
]
THROUGH_THE_ORIGIN = [name for name in HEADS if not name.startswith("lgm")]


def drawn(seed: int = 0, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64) * 3
    weight = torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    return embeddings.to(dtype), weight.to(dtype), labels


def by_oracle(oracle: Oracle, x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    rows = [oracle(sample, w.tolist(), label) for sample, label in zip(x.tolist(), y.tolist(), strict=True)]
    return torch.tensor(rows, dtype=torch.float64)


# Small, usual and large embeddings, with weights far from unit length.
@pytest.mark.parametrize(("length", "weight"), [(1e-3, 1.0), (1.0, 1.0), (1e4, 0.01), (30.0, 50.0)])
@pytest.mark.parametrize("name", HEADS)
def test_values_equal_the_oracle(name: str, length: float, weight: float) -> None:
    ours, oracle = HEADS[name]
    x, w, y = drawn(seed=3)
    x, w = x * length, w * weight
    expected = by_oracle(oracle, x, w, y)
    torch.testing.assert_close(ours(x, w, y), expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


# Central differences need coordinates that are not small against their step.
@pytest.mark.parametrize(("length", "weight"), [(1.0, 1.0), (1e3, 0.1), (30.0, 50.0)])
@pytest.mark.parametrize("name", HEADS)
def test_gradients_equal_those_of_the_oracle(name: str, length: float, weight: float) -> None:
    ours, oracle = HEADS[name]
    x, w, y = drawn(seed=1)
    x, w = x * length, w * weight
    cotangent = torch.randn(BATCH, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    w.requires_grad_()
    dx, dw = torch.autograd.grad((ours(x, w, y) * cotangent).sum(), (x, w))

    def total(x: Tensor, w: Tensor) -> float:
        return (by_oracle(oracle, x.detach(), w.detach(), y) * cotangent).sum().item()

    for found, expected in (
        (dx, numeric_gradient(lambda x: total(x, w), x.detach())),
        (dw, numeric_gradient(lambda w: total(x, w), w.detach())),
    ):
        torch.testing.assert_close(
            found, expected, rtol=1e-5, atol=2e-6 * max(1, expected.abs().max().item())
        )


@pytest.mark.parametrize("name", HEADS)
def test_gradcheck(name: str) -> None:
    x, w, y = drawn(seed=2)
    assert gradcheck(lambda x, w: HEADS[name][0](x, w, y), (x.requires_grad_(), w.requires_grad_()))


def take_one_class_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it would be all at once: a portion holds at least 64."""
    monkeypatch.setattr(portions, "_PORTION", {"cpu": 0})
    monkeypatch.setattr(portions, "_SMALLEST_PORTION", 1)
    for module in (biased_products, gaussian_densities):
        monkeypatch.setattr(module, "_PORTIONS", CLASSES)


@pytest.mark.parametrize("name", [name for name in HEADS if name.startswith(("wsoftmax", "lgm, diagonal"))])
def test_portions_of_classes_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one class at a time, values and gradients stay those of all at once."""
    outcomes = []
    for in_portions in (False, True):
        if in_portions:
            take_one_class_at_a_time(monkeypatch)
        x, w, y = drawn(seed=4)
        logits = HEADS[name][0](x.requires_grad_(), w.requires_grad_(), y)
        cross_entropy(logits, y).sum().backward()
        outcomes.append((logits, x.grad, w.grad))
    torch.testing.assert_close(*outcomes)


@pytest.mark.parametrize("in_portions", [False, True])
@pytest.mark.parametrize("name", ["lgm, isotropic", "lgm, diagonal"])
def test_gradients_of_learned_variances(
    name: str, in_portions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_portions:
        take_one_class_at_a_time(monkeypatch)
    x, w, y = drawn(seed=5)
    log_variances = (LOG_VARIANCES if "diagonal" in name else LOG_VARIANCES[:, :1]).clone().requires_grad_()
    assert gradcheck(lambda v: lgm_logits(x, w, v, y, alpha=0.7), (log_variances,))
    assert gradcheck(lambda v: lgm_logits(x, w, v, None, alpha=0.7), (log_variances,))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_lgm_gradients_are_those_that_the_paper_prints(alpha: float) -> None:
    """Eqs. 19 to 23 of Wan et al., of loss and likelihood term together, p_k from the training logits."""
    lam = 0.1
    x, means, y = drawn(seed=6)
    x, y = x[:1].requires_grad_(), y[:1]
    means.requires_grad_()
    log_variances = LOG_VARIANCES.clone().requires_grad_()
    logits, own = margin_log_densities(x, means, log_variances, y, alpha=alpha)
    (cross_entropy(logits, y) - lam * own).sum().backward()

    z, variances = int(y), LOG_VARIANCES.exp()
    p = softmax_of(logits[0].tolist())
    away = (x - means).detach()
    through_z = (1 - p[z]) * (1 + alpha) + lam
    expected_x = through_z * away[z] / variances[z]
    for k in range(CLASSES):
        assert means.grad is not None
        assert log_variances.grad is not None
        widened = away[k] ** 2 / variances[k]
        if k == z:
            mean_gradient = -through_z * away[k] / variances[k]  # Eq. 19
            variance_gradient = -0.5 * (through_z * widened - (1 - p[z] + lam)) / variances[k]  # Eq. 21
        else:
            mean_gradient = p[k] * away[k] / variances[k]  # Eq. 20
            variance_gradient = -0.5 * p[k] * (1 - widened) / variances[k]  # Eq. 22
            expected_x = expected_x - p[k] * away[k] / variances[k]  # Eq. 23
        torch.testing.assert_close(means.grad[k], mean_gradient)
        # d / d Lambda = d / d log Lambda / Lambda.
        torch.testing.assert_close(log_variances.grad[k] / variances[k], variance_gradient)
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0], expected_x)


@few
@given(seed=seeds)
def test_margin_zero_is_the_head_without_a_margin(seed: int) -> None:
    x, w, y = drawn(seed)
    normalised = normalised_softmax_logits(x, w, scale=16.0)
    torch.testing.assert_close(cosface_logits(x, w, y, scale=16.0, margin=0.0), normalised)
    torch.testing.assert_close(arcface_logits(x, w, y, scale=16.0, margin_rad=0.0), normalised)
    torch.testing.assert_close(lsoftmax_logits(x, w, y, margin=1), x @ w.T)
    torch.testing.assert_close(lsoftmax_logits(x, w, y, margin=4, share=0.0), x @ w.T)


def test_wsoftmax_without_a_pull_is_the_weight_normalised_softmax_bit_for_bit() -> None:
    x, w, y = drawn(dtype=torch.float32)
    x = x * 1e3  # where rounding shows
    assert torch.equal(wsoftmax_logits(x, w, y, alpha=0.0), products.unit_weight_products(x, w))


def test_lgm_without_margin_and_variance_is_a_softmax_over_half_squared_distances() -> None:
    x, means, y = drawn()
    logits = lgm_logits(x, means, torch.zeros(CLASSES, 1, dtype=x.dtype), y, alpha=0.0)
    torch.testing.assert_close(logits, -0.5 * torch.cdist(x, means).square())


def test_lgm_without_labels_has_no_margin() -> None:
    x, means, y = drawn()
    expected = lgm_logits(x, means, LOG_VARIANCES, y, alpha=0.0)
    torch.testing.assert_close(lgm_logits(x, means, LOG_VARIANCES, None, alpha=1.0), expected)


def test_the_own_distance_of_lgm_does_not_suffer_from_cancellation() -> None:
    """Far from the origin the multiplied-out square has lost all digits in float32; x - mu has not."""
    means = torch.full((3, 8), 1e4)
    means[1:] += torch.tensor([[50.0], [-70.0]])
    x = means[:1] + 0.25
    logits = lgm_logits(x, means, torch.zeros(3, 1), torch.tensor([0]), alpha=0.0)
    own = -lgm_distance_oracle(x[0].tolist(), means[0].tolist(), [0.0] * 8)
    assert logits[0, 0].item() == pytest.approx(own, rel=1e-6)


@few
@given(seed=seeds, margin=st.floats(0.01, 1.5))
def test_a_margin_lowers_the_true_class_and_nothing_else(seed: int, margin: float) -> None:
    x, w, y = drawn(seed)
    zeros = torch.zeros(CLASSES, 1, dtype=x.dtype)
    true = torch.nn.functional.one_hot(y, CLASSES).bool()
    cos = cosines(x, w)
    for plain, logits in (
        (cos, cosface_logits(x, w, y, scale=1.0, margin=margin)),
        (cos, arcface_logits(x, w, y, scale=1.0, margin_rad=margin)),
        (x @ w.T, lsoftmax_logits(x, w, y, margin=3)),
        (lgm_logits(x, w, zeros, None, alpha=0.0), lgm_logits(x, w, zeros, y, alpha=margin)),
    ):
        torch.testing.assert_close(logits[~true], plain[~true], rtol=0, atol=0)
        assert (logits[true] <= plain[true]).all()
        assert (logits[true] < plain[true]).any()


@few
@given(seed=seeds, alpha=st.floats(0.01, 2.0))
def test_wsoftmax_raises_the_other_classes_of_a_well_placed_sample(seed: int, alpha: float) -> None:
    """An embedding on its own weight is as close to every w' as the angle between the weights allows."""
    _, w, _ = drawn(seed)
    y = torch.arange(CLASSES)
    plain, pulled = wsoftmax_logits(w, w, y, alpha=0.0), wsoftmax_logits(w, w, y, alpha=alpha)
    off = ~torch.eye(CLASSES, dtype=torch.bool)
    assert (pulled[off] > plain[off]).all()
    torch.testing.assert_close(pulled.diagonal(), plain.diagonal())


@few
@given(seed=seeds)
@pytest.mark.parametrize("name", HEADS)
def test_permuting_the_batch_permutes_the_logits(name: str, seed: int) -> None:
    x, w, y = drawn(seed)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(seed))
    ours = HEADS[name][0]
    torch.testing.assert_close(ours(x[order], w, y[order]), ours(x, w, y)[order])


@few
@given(seed=seeds)
@pytest.mark.parametrize("name", [name for name in HEADS if "diagonal" not in name])
def test_rotating_embeddings_and_centres_changes_nothing(name: str, seed: int) -> None:
    x, w, y = drawn(seed)
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64))
    ours = HEADS[name][0]
    torch.testing.assert_close(ours(x @ rotation, w @ rotation, y), ours(x, w, y))


@few
@given(seed=seeds, shift=st.floats(-100, 100))
@pytest.mark.parametrize("name", [name for name in HEADS if name.startswith("lgm")])
def test_moving_embeddings_and_means_changes_nothing(name: str, seed: int, shift: float) -> None:
    x, w, y = drawn(seed)
    ours = HEADS[name][0]
    torch.testing.assert_close(ours(x + shift, w + shift, y), ours(x, w, y))


@few
@given(seed=seeds, length=st.floats(0.1, 100))
@pytest.mark.parametrize("name", ANGULAR)
def test_lengths_do_not_matter_to_angular_heads(name: str, seed: int, length: float) -> None:
    x, w, y = drawn(seed)
    ours = HEADS[name][0]
    torch.testing.assert_close(ours(x * length, w / length, y), ours(x, w, y))


@pytest.mark.parametrize("classes", range(2, 65))
def test_simplex_weights(classes: int) -> None:
    """Eqs. 3, 4 of Li & Wang: unit vectors in C - 1 dimensions, every pairwise product -1 / (C - 1)."""
    weights = simplex_weights(classes)
    assert weights.shape == (classes, classes - 1)
    expected = torch.full((classes, classes), -1.0 / (classes - 1), dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(weights @ weights.T, expected)


def test_simplex_of_one_class() -> None:
    with pytest.raises(InputError, match="at least 2"):
        simplex_weights(1)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_multiplied_angle_falls_from_1_and_has_finite_slopes(margin: int) -> None:
    cosine = torch.linspace(-1, 1, 2001, dtype=torch.float64, requires_grad=True)
    psi = multiplied_angle(cosine, margin=margin)
    psi.sum().backward()
    assert psi[-1].item() == pytest.approx(1.0)
    assert psi[0].item() == pytest.approx(1.0 - 2.0 * margin)
    assert (psi.diff() > 0).all()
    assert cosine.grad is not None
    assert cosine.grad.abs().max() <= margin**2 + 1e-9
    for place in (0, 700, 1000, 1400, 2000):
        oracle = multiplied_angle_oracle(cosine[place].item(), margin)
        assert psi[place].item() == pytest.approx(oracle, abs=1e-9)


@pytest.mark.parametrize("cosine", [-1.0, -math.cos(0.5), 0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arcface_gradients_are_finite_at_the_edges(cosine: float, dtype: torch.dtype) -> None:
    cos = torch.tensor([cosine], dtype=dtype, requires_grad=True)
    turned_cosine(cos, margin_rad=0.5).sum().backward()
    assert cos.grad is not None
    assert cos.grad.isfinite().all()
    assert cos.grad.abs().max() < 2e3


def test_arcface_gradient_has_the_factor_that_some_ports_drop() -> None:
    """d cos(theta + m) / d cos(theta) = sin(theta + m) / sin(theta)."""
    theta, margin = 1.1, 0.5
    cos = torch.tensor([math.cos(theta)], dtype=torch.float64, requires_grad=True)
    turned_cosine(cos, margin_rad=margin).sum().backward()
    assert cos.grad is not None
    assert cos.grad.item() == pytest.approx(math.sin(theta + margin) / math.sin(theta))


def test_the_pull_of_wsoftmax_grows_with_its_progress() -> None:
    head = built("wsoftmax")
    labels = torch.arange(CLASSES)
    losses = []
    for progress in (0.0, 0.5, 1.0):
        head.set_margin_progress(progress)
        losses.append(cross_entropy(head(head.centres(), labels).margin_logits, labels).mean().item())
    assert losses[0] < losses[1] < losses[2]


def test_wsoftmax_with_opposite_weights_stays_finite() -> None:
    """alpha = 1 and w_j = -w_c: the biased weight has no direction."""
    w = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.5, -1.0]], requires_grad=True)
    x = torch.tensor([[3.0, -1.0]], requires_grad=True)
    logits = wsoftmax_logits(x, w, torch.tensor([0]), alpha=1.0)
    logits.sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    assert all(tensor.isfinite().all() for tensor in (logits, x.grad, w.grad))


def test_wsoftmax_is_content_with_an_embedding_opposite_to_all_weights() -> None:
    """A loss near 0 whatever the label, where no argmax means anything."""
    _, w, _ = drawn()
    w = torch.nn.functional.normalize(w[:DIM])
    opposite = -100 * torch.linalg.solve(w, torch.ones(DIM, dtype=w.dtype))[None]
    for label in range(DIM):
        y = torch.tensor([label])
        assert cross_entropy(wsoftmax_logits(opposite, w, y, alpha=1.0), y).item() < 1e-3
        assert cross_entropy(wsoftmax_logits(opposite, w, y, alpha=0.0), y).item() > 1.0
    # The simplex has no such direction: its weights add up to nothing.
    torch.testing.assert_close(simplex_weights(7).sum(dim=0), torch.zeros(6, dtype=torch.float64))


MODULES: dict[str, Callable[..., Head]] = {
    "softmax": SoftmaxHead,
    "normalised_softmax": partial(NormalisedSoftmaxHead, scale=16.0),
    "cosface": partial(CosFaceHead, scale=16.0, margin=0.35),
    "arcface": partial(ArcFaceHead, scale=16.0, margin_rad=0.5),
    "adaface": partial(AdaFaceHead, scale=16.0, margin=0.4, h=0.333, step=0.01),
    "magface": partial(
        MagFaceHead,
        scale=16.0,
        lower_norm=2.0,
        upper_norm=9.0,
        lower_margin_rad=0.2,
        upper_margin_rad=0.8,
    ),
    "curricularface": partial(CurricularFaceHead, scale=16.0, margin_rad=0.5),
    "elastic_arcface": partial(
        ElasticArcFaceHead, scale=16.0, margin_rad=0.5, spread=0.05, assign="by_angle"
    ),
    "elastic_cosface": partial(ElasticCosFaceHead, scale=16.0, margin=0.35, spread=0.05, assign="random"),
    "subcenter_arcface": partial(SubcenterArcFaceHead, scale=16.0, margin_rad=0.5, centres_per_class=3),
    "sphereface": partial(SphereFaceHead, margin=4, smallest_lambda=5.0),
    "lsoftmax": partial(LSoftmaxHead, margin=4, smallest_lambda=0.0),
    "wsoftmax": partial(WSoftmaxHead, alpha=1.0),
    "lgm identity": partial(LGMHead, alpha=1.0, covariance="identity"),
    "lgm isotropic": partial(LGMHead, alpha=0.3, covariance="isotropic"),
    "lgm diagonal": partial(LGMHead, alpha=0.3, covariance="diagonal"),
    "lgm shared": partial(LGMHead, alpha=0.3, covariance="shared"),
}


def built(name: str, *, classes: int = CLASSES, dim: int = DIM) -> Head:
    torch.manual_seed(0)
    return MODULES[name](classes=classes, embedding_dim=dim)


@pytest.mark.parametrize("name", MODULES)
def test_modules_stay_in_float32_under_autocast(name: str) -> None:
    head, again = built(name), built(name)  # each call moves running statistics
    x, _, y = drawn(dtype=torch.float32)
    expected = head(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        output, logits = again(x, y), again.logits(x)
    for ours, theirs in (
        (output.margin_logits, expected.margin_logits),
        (output.logits, expected.logits),
        (logits, head.logits(x)),
    ):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", HEADS)
def test_functions_and_gradients_stay_in_float32_under_autocast(name: str) -> None:
    def outcome(*, autocast: bool) -> tuple[Tensor, ...]:
        x, w, y = drawn(dtype=torch.float32)
        x, w = x.requires_grad_(), w.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = HEADS[name][0](x, w, y)
            logits.square().sum().backward()
        return logits, x.grad, w.grad

    for ours, theirs in zip(outcome(autocast=True), outcome(autocast=False), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", MODULES)
def test_inference_mode_changes_nothing(name: str) -> None:
    head = built(name).eval()  # in training, each call moves running statistics
    x, _, y = drawn(dtype=torch.float32)
    expected = head(x, y).margin_logits
    with torch.inference_mode():
        assert torch.equal(head(x, y).margin_logits, expected)


def test_the_own_products_may_be_changed_before_the_backward_pass() -> None:
    gradients = []
    for factor in (1.0, 2.0):
        x, w, y = drawn()
        logits, own = angular_logits(
            x, w.requires_grad_(), y, lambda cosine, norms: cosine - 0.35, scale=16.0
        )
        own.mul_(factor)
        cross_entropy(logits, y).sum().backward()
        gradients.append(w.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", MODULES)
def test_logits_carry_no_margin(name: str) -> None:
    head = built(name)
    x, _, y = drawn(dtype=torch.float32)
    torch.testing.assert_close(head(x, y).logits, head.logits(x), rtol=1e-5, atol=1e-5)
    assert not head(x, y).logits.requires_grad


# W-Softmax has its own test; the curriculum of CurricularFace is there without a margin too.
WITH_MARGIN = [
    name for name in MODULES if not name.endswith(("softmax", "curricularface")) or name == "lsoftmax"
]


@pytest.mark.parametrize("name", WITH_MARGIN)
def test_margin_grows_with_its_progress(name: str) -> None:
    head = built(name)
    x, _, y = drawn(dtype=torch.float32)
    losses = []
    for progress in (0.0, 0.5, 1.0):
        head.set_margin_progress(progress)
        losses.append(cross_entropy(head(x, y).margin_logits, y).mean().item())
    assert losses[0] == pytest.approx(cross_entropy(head.logits(x), y).mean().item(), rel=1e-5)
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("classes", [2, 100_000])
@pytest.mark.parametrize("name", MODULES)
def test_loss_and_gradients_are_finite(name: str, classes: int, length: float) -> None:
    """A batch of one and a few of one class, from tiny to huge embeddings, in float32."""
    head = built(name, classes=classes, dim=8)
    for batch in (1, 3):
        x = torch.randn(batch, 8, generator=torch.Generator().manual_seed(batch))
        x = (x * length).requires_grad_()
        y = torch.zeros(batch, dtype=torch.int64)
        head.zero_grad()
        loss = cross_entropy(head(x, y).margin_logits, y).mean()
        loss.backward()
        assert loss.isfinite()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        for parameter in head.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", MODULES)
def test_an_embedding_of_zeros_moves_nothing_far(name: str) -> None:
    """A ReLU may let nothing through; 1 / |x| would then be the length of a step."""
    head = built(name)
    x = torch.zeros(1, DIM, requires_grad=True)
    y = torch.tensor([1])
    cross_entropy(head(x, y).margin_logits, y).sum().backward()
    assert x.grad is not None
    assert x.grad.norm() < 100
    for parameter in head.parameters():
        assert parameter.grad is not None
        assert parameter.grad.norm() < 100


@pytest.mark.parametrize("name", MODULES)
def test_a_batch_of_none_changes_nothing(name: str) -> None:
    head = built(name)
    output = head(torch.randn(0, DIM, requires_grad=True), torch.zeros(0, dtype=torch.int64))
    output.margin_logits.sum().backward()
    assert output.logits.shape == (0, CLASSES)
    assert all(not parameter.grad.any() for parameter in head.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_what_is_frozen_leaves_the_other_gradient_as_it_is(name: str) -> None:
    x, w, y = drawn(seed=6)
    x, w = x.requires_grad_(), w.requires_grad_()

    def gradients(x: Tensor, w: Tensor) -> tuple[Tensor | None, ...]:
        leaves = [leaf for leaf in (x, w) if leaf.requires_grad]
        return torch.autograd.grad(cross_entropy(HEADS[name][0](x, w, y), y).sum(), leaves)

    of_x, of_w = gradients(x, w)
    torch.testing.assert_close(gradients(x, w.detach()), (of_x,))
    torch.testing.assert_close(gradients(x.detach(), w), (of_w,))


@pytest.mark.parametrize("name", MODULES)
def test_two_forward_passes_before_a_backward_one(name: str) -> None:
    """As where a batch is worked off in parts, or seen twice."""
    head, again = built(name), built(name)
    x, _, y = drawn(dtype=torch.float32)
    x.requires_grad_()
    once = cross_entropy(head(x, y).margin_logits, y).sum()
    (once + cross_entropy(head(x, y).margin_logits, y).sum()).backward()
    twice = x.grad
    x.grad = None
    for _ in range(2):  # running statistics move as above
        cross_entropy(again(x, y).margin_logits, y).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(twice, x.grad)


@pytest.mark.parametrize("name", MODULES)
def test_an_embedding_on_its_centre_trains_on(name: str) -> None:
    """cos = 1, or distance 0, up to rounding, in float32."""
    head = built(name)
    labels = torch.arange(CLASSES)
    embeddings = (7 * head.centres().detach()).requires_grad_()
    cross_entropy(head(embeddings, labels).margin_logits, labels).mean().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


def test_gradients_do_not_hold_denormals() -> None:
    """Logits far apart leave 1e-40s in the softmax's gradient, on which a CPU crawls."""
    x, w = torch.randn(4, DIM) * 30, torch.randn(50, DIM, requires_grad=True)
    y = torch.zeros(4, dtype=torch.int64)
    cross_entropy(products.linear_products(x, w), y).sum().backward()
    assert w.grad is not None
    small = w.grad[w.grad != 0].abs()
    assert small.min() > torch.finfo(torch.float32).tiny


def test_a_probe_leaves_the_embeddings_alone() -> None:
    head = SoftmaxHead(classes=CLASSES, embedding_dim=DIM, probe=True)
    x, _, y = drawn(dtype=torch.float32)
    x.requires_grad_()
    cross_entropy(head(x, y).margin_logits, y).sum().backward()
    assert x.grad is None
    assert head.weight.grad is not None


def test_the_means_of_lgm_begin_as_far_apart_as_asked() -> None:
    means = [
        LGMHead(classes=500, embedding_dim=64, alpha=0.1, spread=spread).means for spread in (1.0, 0.125)
    ]
    spreads = [each.std().item() for each in means]
    assert spreads == pytest.approx([1.0, 0.125], rel=0.02)


def test_learned_variances_stay_within_bounds() -> None:
    head = LGMHead(classes=CLASSES, embedding_dim=DIM, alpha=0.1, covariance="diagonal")
    x, _, y = drawn(dtype=torch.float32)
    with torch.no_grad():
        head.log_variances.fill_(-50.0)
    head(x, y)
    assert head.log_variances.min().item() == -4.0


def small(head: Callable[..., Head], **settings: Any) -> Head:
    return head(classes=CLASSES, embedding_dim=DIM, **settings)


def test_finite_embeddings_whose_sum_is_not_are_taken() -> None:
    refuse_bad_embeddings(torch.full((2, DIM), 3e38), dim=DIM)


BAD_CALLS: list[tuple[Callable[[Tensor, Tensor, Tensor], object], str]] = [
    (lambda x, w, y: wsoftmax_logits(x, w, y, alpha=-0.5), r"alpha: must be >= 0; got -0.5"),
    (lambda x, w, y: wsoftmax_logits(x, w, y, alpha=math.nan), r"alpha: must be >= 0; got nan"),
    (lambda x, w, y: lgm_logits(x, w, torch.zeros(CLASSES, 1), y, alpha=-1.0), r"alpha: must be >= 0"),
    (lambda x, w, y: lgm_logits(x, w, torch.zeros(3, 1), y, alpha=1.0), r"log_variances: must be \(5, 4\)"),
    (lambda x, w, y: cosface_logits(x, w, y, scale=1.0, margin=-0.1), r"margin: must be >= 0"),
    (lambda x, w, y: arcface_logits(x, w, y, scale=1.0, margin_rad=-0.1), r"margin_rad: must be"),
    (lambda x, w, y: sphereface_logits(x, w, y, margin=5), r"margin: must be 1, 2, 3 or 4; got 5"),
    (lambda x, w, y: wsoftmax_logits(x, w, y + CLASSES, alpha=1.0), r"labels: must lie in \[0, 5\)"),
    (lambda x, w, y: wsoftmax_logits(x, w, y - CLASSES, alpha=1.0), r"labels: must lie in .* got -"),
    (lambda x, w, y: cosface_logits(x, w, y + CLASSES, scale=1.0, margin=0.1), r"labels: must lie in"),
    (lambda x, w, y: arcface_logits(x, w, y + CLASSES, scale=1.0, margin_rad=0.1), r"labels: must lie in"),
    (lambda x, w, y: lsoftmax_logits(x, w, y.int(), margin=2), r"labels: must be int64; got torch.int32"),
    (lambda x, w, y: wsoftmax_logits(x, w, y[:3], alpha=1.0), r"labels: must have one entry per embedding"),
    (lambda x, w, y: lsoftmax_logits(x, w, y, margin=2, share=1.5), r"share: must be at most 1; got 1.5"),
    (
        lambda x, w, y: arcface_logits(x, w, y, scale=1.0, margin_rad=1.6),
        r"margin_rad: must be at most pi / 2",
    ),
    (lambda x, w, y: cosface_logits(x, w, y, scale=-1.0, margin=0.1), r"scale: must be > 0; got -1.0"),
    (lambda x, w, y: built("arcface")(x.float() / 0, y), r"embeddings: must be finite; got NaN or infinity"),
    (lambda x, w, y: built("lgm identity").logits(x.float() / 0), r"embeddings: must be finite; got NaN"),
    (lambda x, w, y: built("wsoftmax")(x[:, :3], y), r"embeddings: must be \(batch, 4\), .*; got \(6, 3\)"),
    (lambda x, w, y: small(CosFaceHead, scale=16.0, margin=-0.1), r"margin: must be >= 0; got -0.1"),
    (lambda x, w, y: small(CosFaceHead, scale=0.0, margin=0.1), r"scale: must be > 0; got 0.0"),
    (lambda x, w, y: small(ArcFaceHead, scale=16.0, margin_rad=2.0), r"margin_rad: must be at most pi / 2"),
    (lambda x, w, y: small(LGMHead, alpha=-1.0), r"alpha: must be >= 0; got -1.0"),
    (lambda x, w, y: small(LGMHead, alpha=1.0, covariance="full"), r"covariance: must be one of .*got full"),
    (lambda x, w, y: small(WSoftmaxHead, alpha=-1.0), r"alpha: must be >= 0; got -1.0"),
    (lambda x, w, y: small(LSoftmaxHead, margin=5, smallest_lambda=0.0), r"margin: must be 1, 2, 3 or 4"),
    (lambda x, w, y: small(SphereFaceHead, margin=2, smallest_lambda=-1.0), r"smallest_lambda: must be >= 0"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_bad_input_names_field_rule_and_value(
    call: Callable[[Tensor, Tensor, Tensor], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        call(*drawn())
