"""Heads against scalar oracles: values, gradients, edges, reductions, invariances, extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from head_cases import CASES, SETTINGS, log_variances, oracle_of, training_logits
from head_cases import built as built_in
from heads import lgm_distance_oracle, multiplied_angle_oracle, softmax_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numeric import numeric_gradient
from simplex import simplex_weights
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call

from data_prep.errors import InputError
from faceverif.checked_tensors import refuse_bad_embeddings
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.heads import HEADS, biased_products, gaussian_densities, portions, products
from faceverif.heads.arcface import ArcFaceHead, turned_cosine
from faceverif.heads.base import Head
from faceverif.heads.cosface import CosFaceHead
from faceverif.heads.gaussian_densities import margin_log_densities
from faceverif.heads.lgm import LGMHead
from faceverif.heads.lsoftmax import LSoftmaxHead
from faceverif.heads.magface import MagFaceHead
from faceverif.heads.multiplied_angle import multiplied_angle
from faceverif.heads.normalised_softmax import NormalisedSoftmaxHead
from faceverif.heads.softmax import SoftmaxHead
from faceverif.heads.sphereface import SphereFaceHead
from faceverif.heads.wsoftmax import WSoftmaxHead

BATCH, DIM, CLASSES = 6, 4, 5
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=15)

LOG_VARIANCES = log_variances("diagonal", CLASSES, DIM)
# Their running statistics follow the batch, without a gradient.
OF_THE_BATCH = [name for name in CASES if name.startswith(("adaface", "curricularface"))]
ANGULAR = [
    name
    for name in CASES
    if name.startswith(("normalised", "cosface", "arcface", "curri", "elastic", "subcenter"))
]


def drawn(seed: int = 0, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64) * 3
    weight = torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    return embeddings.to(dtype), weight.to(dtype), labels


def small(head: Callable[..., Head], weight: Tensor | None = None, **settings: Any) -> Head:
    """A head of five classes, with these weights or means."""
    built = head(classes=CLASSES, embedding_dim=DIM, **settings)
    if weight is not None:
        built = built.to(weight.dtype)
        with torch.no_grad():
            built.centres().copy_(weight)
    return built


def test_every_head_is_compared_with_an_oracle() -> None:
    assert {case.head for case in CASES.values()} == set(SETTINGS) == set(HEADS)


# Small, usual and large embeddings, with weights far from unit length.
@pytest.mark.parametrize(("length", "weight"), [(1e-3, 1.0), (1.0, 1.0), (1e4, 0.01), (30.0, 50.0)])
@pytest.mark.parametrize("name", CASES)
def test_logits_of_training_equal_the_oracle(name: str, length: float, weight: float) -> None:
    x, w, y = drawn(seed=3)
    x, w = x * length, w * weight
    expected = oracle_of(name, x, w, y)(x, w)
    found = training_logits(name, x, w, y)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


# The curriculum of CurricularFace is part of its logits without a margin.
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("curricularface")])
def test_plain_logits_equal_the_oracle_without_a_margin(name: str) -> None:
    x, w, y = drawn(seed=3)
    expected = oracle_of(name, x, w, y, progress=0.0)(x, w)
    head = built(name).double()
    with torch.no_grad():
        for path, tensor in CASES[name].given(w).items():
            getattr(head, path).copy_(tensor)
    torch.testing.assert_close(head.logits(x), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(head(x, y).logits, expected, rtol=1e-9, atol=1e-9)


# Central differences need coordinates that are not small against their step.
@pytest.mark.parametrize(("length", "weight"), [(1.0, 1.0), (1e3, 0.1), (30.0, 50.0)])
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_training_equal_those_of_the_oracle(name: str, length: float, weight: float) -> None:
    x, w, y = drawn(seed=1)
    x, w = x * length, w * weight
    oracle = oracle_of(name, x, w, y)
    cotangent = torch.randn(BATCH, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x.requires_grad_()
    w.requires_grad_()
    dx, dw = torch.autograd.grad((training_logits(name, x, w, y) * cotangent).sum(), (x, w))

    def total(x: Tensor, w: Tensor) -> float:
        return (oracle(x.detach(), w.detach()) * cotangent).sum().item()

    for found, expected in (
        (dx, numeric_gradient(lambda x: total(x, w), x.detach())),
        (dw, numeric_gradient(lambda w: total(x, w), w.detach())),
    ):
        torch.testing.assert_close(
            found, expected, rtol=1e-5, atol=2e-6 * max(1, expected.abs().max().item())
        )


@pytest.mark.parametrize("name", [name for name in CASES if name not in OF_THE_BATCH])
def test_gradcheck(name: str) -> None:
    """In directions by chance: `fast_mode` costs less, and the oracle has the single entries."""
    x, w, y = drawn(seed=2)
    x, w = x.requires_grad_(), w.requires_grad_()
    assert gradcheck(lambda x, w: training_logits(name, x, w, y), (x, w), fast_mode=True)


def take_one_class_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it would be all at once: a portion holds at least 64."""
    monkeypatch.setattr(portions, "_PORTION", {"cpu": 0})
    monkeypatch.setattr(portions, "_SMALLEST_PORTION", 1)
    for module in (biased_products, gaussian_densities):
        monkeypatch.setattr(module, "_PORTIONS", CLASSES)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("wsoftmax", "lgm"))])
def test_portions_of_classes_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one class at a time, values and gradients stay those of all at once."""
    outcomes = []
    for in_portions in (False, True):
        if in_portions:
            take_one_class_at_a_time(monkeypatch)
        x, w, y = drawn(seed=4)
        logits = training_logits(name, x.requires_grad_(), w.requires_grad_(), y)
        cross_entropy(logits, y).sum().backward()
        outcomes.append((logits, x.grad, w.grad))
    torch.testing.assert_close(*outcomes)


@pytest.mark.parametrize("in_portions", [False, True])
@pytest.mark.parametrize("covariance", ["isotropic", "diagonal"])
def test_gradients_of_learned_variances(
    covariance: str, in_portions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_portions:
        take_one_class_at_a_time(monkeypatch)
    x, w, y = drawn(seed=5)
    variances = log_variances(covariance, CLASSES, DIM).clone().requires_grad_()
    head = small(LGMHead, w, alpha=0.7, covariance=covariance).eval()
    with_margin = lambda v: functional_call(head, {"log_variances": v}, (x, y)).margin_logits  # noqa: E731
    assert gradcheck(with_margin, (variances,))
    assert gradcheck(lambda v: gaussian_densities.gaussian_log_densities(x, w, v), (variances,))


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
    normalised = small(NormalisedSoftmaxHead, w, scale=16.0).logits(x)
    for head, plain in (
        (small(CosFaceHead, w, scale=16.0, margin=0.0), normalised),
        (small(ArcFaceHead, w, scale=16.0, margin_rad=0.0), normalised),
        (small(LSoftmaxHead, w, margin=1, smallest_lambda=0.0), x @ w.T),
    ):
        torch.testing.assert_close(head(x, y).margin_logits, plain)


def test_wsoftmax_without_a_pull_is_the_weight_normalised_softmax_bit_for_bit() -> None:
    x, w, y = drawn(dtype=torch.float32)
    x = x * 1e3  # where rounding shows
    found = small(WSoftmaxHead, w, alpha=0.0)(x, y).margin_logits
    assert torch.equal(found, products.unit_weight_products(x, w))


def test_lgm_without_margin_and_variance_is_a_softmax_over_half_squared_distances() -> None:
    x, means, y = drawn()
    logits = small(LGMHead, means, alpha=0.0)(x, y).margin_logits
    torch.testing.assert_close(logits, -0.5 * torch.cdist(x, means).square())


def test_the_own_distance_of_lgm_does_not_suffer_from_cancellation() -> None:
    """Far from the origin the multiplied-out square has lost all digits in float32; x - mu has not."""
    means = torch.full((3, 8), 1e4)
    means[1:] += torch.tensor([[50.0], [-70.0]])
    x = means[:1] + 0.25
    head = LGMHead(classes=3, embedding_dim=8, alpha=0.0)
    head.means.data.copy_(means)
    logits = head(x, torch.tensor([0])).margin_logits
    own = -lgm_distance_oracle(x[0].tolist(), means[0].tolist(), [0.0] * 8)
    assert logits[0, 0].item() == pytest.approx(own, rel=1e-6)


@few
@given(seed=seeds, margin=st.floats(0.01, 1.5))
def test_a_margin_lowers_the_true_class_and_nothing_else(seed: int, margin: float) -> None:
    x, w, y = drawn(seed)
    true = torch.nn.functional.one_hot(y, CLASSES).bool()
    for head in (
        small(CosFaceHead, w, scale=1.0, margin=margin),
        small(ArcFaceHead, w, scale=1.0, margin_rad=margin),
        small(LSoftmaxHead, w, margin=3, smallest_lambda=margin),
        small(LGMHead, w, alpha=margin),
    ):
        plain, logits = head.logits(x), head(x, y).margin_logits
        torch.testing.assert_close(logits[~true], plain[~true], rtol=0, atol=0)
        assert (logits[true] <= plain[true]).all()
        assert (logits[true] < plain[true]).any()


@few
@given(seed=seeds, alpha=st.floats(0.01, 2.0))
def test_wsoftmax_raises_the_other_classes_of_a_well_placed_sample(seed: int, alpha: float) -> None:
    """An embedding on its own weight is as close to every w' as the angle between the weights allows."""
    _, w, _ = drawn(seed)
    y = torch.arange(CLASSES)
    plain, pulled = (small(WSoftmaxHead, w, alpha=pull)(w, y).margin_logits.detach() for pull in (0.0, alpha))
    off = ~torch.eye(CLASSES, dtype=torch.bool)
    assert (pulled[off] > plain[off]).all()
    torch.testing.assert_close(pulled.diagonal(), plain.diagonal())


# Where chance gives out the margins, they belong to the places in the batch.
@few
@given(seed=seeds)
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].settings.get("assign") != "random"])
def test_permuting_the_batch_permutes_the_logits(name: str, seed: int) -> None:
    x, w, y = drawn(seed)
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(seed))
    expected = training_logits(name, x, w, y)[order]
    torch.testing.assert_close(training_logits(name, x[order], w, y[order]), expected)


@few
@given(seed=seeds)
@pytest.mark.parametrize(
    "name", [name for name in CASES if CASES[name].settings.get("covariance") not in ("diagonal", "shared")]
)
def test_rotating_embeddings_and_centres_changes_nothing(name: str, seed: int) -> None:
    x, w, y = drawn(seed)
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64))
    expected = training_logits(name, x, w, y)
    torch.testing.assert_close(training_logits(name, x @ rotation, w @ rotation, y), expected)


@few
@given(seed=seeds, shift=st.floats(-100, 100))
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("lgm")])
def test_moving_embeddings_and_means_changes_nothing(name: str, seed: int, shift: float) -> None:
    x, w, y = drawn(seed)
    torch.testing.assert_close(training_logits(name, x + shift, w + shift, y), training_logits(name, x, w, y))


@few
@given(seed=seeds, length=st.floats(0.1, 100))
@pytest.mark.parametrize("name", ANGULAR)
def test_lengths_do_not_matter_to_angular_heads(name: str, seed: int, length: float) -> None:
    x, w, y = drawn(seed)
    expected = training_logits(name, x, w, y)
    torch.testing.assert_close(training_logits(name, x * length, w / length, y), expected)


@pytest.mark.parametrize("classes", range(2, 65))
def test_simplex_weights(classes: int) -> None:
    """Eqs. 3, 4 of Li & Wang: unit vectors in C - 1 dimensions, every pairwise product -1 / (C - 1)."""
    weights = simplex_weights(classes)
    assert weights.shape == (classes, classes - 1)
    expected = torch.full((classes, classes), -1.0 / (classes - 1), dtype=torch.float64).fill_diagonal_(1.0)
    torch.testing.assert_close(weights @ weights.T, expected)


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
    head = WSoftmaxHead(classes=3, embedding_dim=2, alpha=1.0)
    logits = functional_call(head, {"weight": w}, (x, torch.tensor([0]))).margin_logits
    logits.sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    assert all(tensor.isfinite().all() for tensor in (logits, x.grad, w.grad))


def test_wsoftmax_is_content_with_an_embedding_opposite_to_all_weights() -> None:
    """A loss near 0 whatever the label, where no argmax means anything."""
    _, w, _ = drawn()
    w = torch.nn.functional.normalize(w[:DIM])
    opposite = -100 * torch.linalg.solve(w, torch.ones(DIM, dtype=w.dtype))[None]
    pulled, plain = (
        WSoftmaxHead(classes=DIM, embedding_dim=DIM, alpha=alpha).double() for alpha in (1.0, 0.0)
    )
    for head in (pulled, plain):
        head.weight.data.copy_(w)
    for label in range(DIM):
        y = torch.tensor([label])
        assert cross_entropy(pulled(opposite, y).margin_logits, y).item() < 1e-3
        assert cross_entropy(plain(opposite, y).margin_logits, y).item() > 1.0
    # The simplex has no such direction: its weights add up to nothing.
    torch.testing.assert_close(simplex_weights(7).sum(dim=0), torch.zeros(6, dtype=torch.float64))


# One case of each head, and all forms of L-GM, which share little code.
MODULES = [*SETTINGS, *(name for name in CASES if name.startswith("lgm, "))]


def built(name: str, *, classes: int = CLASSES, dim: int = DIM) -> Head:
    return built_in(name, classes=classes, embedding_dim=dim)


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


@pytest.mark.parametrize("name", CASES)
def test_logits_and_gradients_stay_in_float32_under_autocast(name: str) -> None:
    def outcome(*, autocast: bool) -> tuple[Tensor, ...]:
        x, w, y = drawn(dtype=torch.float32)
        x, w = x.requires_grad_(), w.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = training_logits(name, x, w, y)
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
        head = small(CosFaceHead, w, scale=16.0, margin=0.35)
        logits, own = head.with_margin(x, y)
        own.mul_(factor)
        cross_entropy(logits, y).sum().backward()
        gradients.append(head.weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", MODULES)
def test_logits_carry_no_margin(name: str) -> None:
    head = built(name)
    x, _, y = drawn(dtype=torch.float32)
    torch.testing.assert_close(head(x, y).logits, head.logits(x), rtol=1e-5, atol=1e-5)
    assert not head(x, y).logits.requires_grad


# W-Softmax has its own test; the curriculum of CurricularFace is there without a margin too.
WITH_MARGIN = [
    name
    for name in MODULES
    if not name.endswith(("softmax", "curricularface", "no margin")) or name == "lsoftmax"
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


@pytest.mark.parametrize("name", CASES)
def test_what_is_frozen_leaves_the_other_gradient_as_it_is(name: str) -> None:
    x, w, y = drawn(seed=6)
    x, w = x.requires_grad_(), w.requires_grad_()

    def gradients(x: Tensor, w: Tensor) -> tuple[Tensor | None, ...]:
        leaves = [leaf for leaf in (x, w) if leaf.requires_grad]
        return torch.autograd.grad(cross_entropy(training_logits(name, x, w, y), y).sum(), leaves)

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


def test_finite_embeddings_whose_sum_is_not_are_taken() -> None:
    refuse_bad_embeddings(torch.full((2, DIM), 3e38), dim=DIM)


BAD_CALLS: list[tuple[Callable[[Tensor, Tensor, Tensor], object], str]] = [
    (lambda x, w, y: built("wsoftmax")(x, y + CLASSES), r"labels: must lie in \[0, 5\)"),
    (lambda x, w, y: built("cosface")(x, y - CLASSES), r"labels: must lie in .* got -"),
    (lambda x, w, y: built("lsoftmax")(x, y.int()), r"labels: must be int64; got torch.int32"),
    (lambda x, w, y: built("lgm")(x, y[:3]), r"labels: must have one entry per embedding"),
    (lambda x, w, y: built("arcface")(x.float() / 0, y), r"embeddings: must be finite; got NaN or infinity"),
    (lambda x, w, y: built("lgm").logits(x.float() / 0), r"embeddings: must be finite; got NaN"),
    (lambda x, w, y: built("wsoftmax")(x[:, :3], y), r"embeddings: must be \(batch, 4\), .*; got \(6, 3\)"),
    (lambda x, w, y: small(CosFaceHead, scale=16.0, margin=-0.1), r"margin: must be >= 0; got -0.1"),
    (lambda x, w, y: small(CosFaceHead, scale=0.0, margin=0.1), r"scale: must be > 0; got 0.0"),
    (lambda x, w, y: small(ArcFaceHead, scale=-1.0, margin_rad=0.1), r"scale: must be > 0; got -1.0"),
    (lambda x, w, y: small(ArcFaceHead, scale=16.0, margin_rad=-0.1), r"margin_rad: must be >= 0; got -0.1"),
    (lambda x, w, y: small(ArcFaceHead, scale=16.0, margin_rad=2.0), r"margin_rad: must be at most pi / 2"),
    (lambda x, w, y: magface(lower_norm=0.0), r"lower_norm: must be > 0; got 0.0"),
    (lambda x, w, y: magface(upper_norm=2.0), r"upper_norm: must be above lower_norm, 2; got 2.0"),
    (lambda x, w, y: magface(upper_margin_rad=0.1), r"upper_margin_rad: must be at least .*, 0.2; got 0.1"),
    (lambda x, w, y: small(LGMHead, alpha=-1.0), r"alpha: must be >= 0; got -1.0"),
    (lambda x, w, y: small(LGMHead, alpha=1.0, covariance="full"), r"covariance: must be one of .*got full"),
    (lambda x, w, y: small(WSoftmaxHead, alpha=-1.0), r"alpha: must be >= 0; got -1.0"),
    (lambda x, w, y: small(WSoftmaxHead, alpha=math.nan), r"alpha: must be >= 0; got nan"),
    (lambda x, w, y: small(LSoftmaxHead, margin=5, smallest_lambda=0.0), r"margin: must be 1, 2, 3 or 4"),
    (lambda x, w, y: small(SphereFaceHead, margin=2, smallest_lambda=-1.0), r"smallest_lambda: must be >= 0"),
]


def magface(**changed: float) -> Head:
    return small(MagFaceHead, **{**SETTINGS["magface"], **changed})


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
def test_bad_input_names_field_rule_and_value(
    call: Callable[[Tensor, Tensor, Tensor], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        call(*drawn())
