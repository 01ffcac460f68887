"""Criteria against scalar oracles: values, gradients, reductions, extremes, bad input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from criteria import (
    cross_entropy_oracle,
    focal_oracle,
    improved_oracle,
    label_smoothing_oracle,
    soft_label_oracle,
    unified_cross_entropy_oracle,
)
from numeric import numeric_gradient
from torch import Tensor
from torch.autograd import gradcheck

from data_prep.errors import InputError
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.criteria.focal import focal_loss
from faceverif.criteria.improved import improved_loss
from faceverif.criteria.label_smoothing import smoothed_cross_entropy
from faceverif.criteria.online_label_smoothing import OnlineLabelSmoothing, soft_label_cross_entropy
from faceverif.criteria.unified_cross_entropy import UnifiedCrossEntropy, unified_cross_entropy

BATCH, CLASSES = 5, 4
SOFT = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0, 1, 0, 0], [0.25] * 4, [0.1, 0.2, 0.3, 0.4]]).double()

CRITERIA: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[list[float], int], float]]] = {
    "cross_entropy": (cross_entropy, cross_entropy_oracle),
    "focal": (partial(focal_loss, gamma=2.0), partial(focal_oracle, gamma=2.0)),
    "focal, gamma below 1": (partial(focal_loss, gamma=0.5), partial(focal_oracle, gamma=0.5)),
    "label_smoothing": (
        partial(smoothed_cross_entropy, smoothing=0.1),
        partial(label_smoothing_oracle, smoothing=0.1),
    ),
    "soft labels": (
        lambda logits, labels: soft_label_cross_entropy(logits, labels, SOFT.to(logits.dtype), hard=0.3),
        lambda logits, label: (
            0.3 * cross_entropy_oracle(logits, label) + 0.7 * soft_label_oracle(logits, SOFT[label].tolist())
        ),
    ),
    "improved": (
        partial(improved_loss, beta=4.0, gamma=5.0),
        partial(improved_oracle, beta=4.0, gamma=5.0),
    ),
    "improved, fashion": (
        partial(improved_loss, beta=0.5, gamma=10.0),
        partial(improved_oracle, beta=0.5, gamma=10.0),
    ),
    "unified": (
        partial(unified_cross_entropy, threshold=torch.tensor(1.5)),
        partial(unified_cross_entropy_oracle, threshold=1.5),
    ),
}


def drawn(seed: int = 0, *, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(BATCH, CLASSES, generator=generator, dtype=torch.float64) * scale
    return logits, torch.randint(CLASSES, (BATCH,), generator=generator)


@pytest.mark.parametrize("scale", [1e-3, 2.0, 8.0])
@pytest.mark.parametrize("name", CRITERIA)
def test_values_and_gradients_equal_the_oracle(name: str, scale: float) -> None:
    ours, oracle = CRITERIA[name]
    logits, labels = drawn(scale=scale)

    def total(logits: Tensor) -> float:
        return sum(oracle(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True))

    losses = ours(logits.requires_grad_(), labels)
    assert losses.shape == (BATCH,)
    assert losses.sum().item() == pytest.approx(total(logits), rel=1e-9)
    losses.sum().backward()
    expected = numeric_gradient(total, logits.detach())
    torch.testing.assert_close(logits.grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CRITERIA)
def test_gradcheck(name: str) -> None:
    logits, labels = drawn(seed=1)
    assert gradcheck(lambda logits: CRITERIA[name][0](logits, labels), (logits.requires_grad_(),))


@pytest.mark.parametrize("name", CRITERIA)
def test_loss_and_gradients_are_finite_at_logits_of_ten_thousand(name: str) -> None:
    logits = torch.tensor([[1e4, 0, -1e4, 5e3], [-1e4, 1e4, 0, 0], [0.0] * 4, [1e4] * 4])
    for label in range(CLASSES):
        logits = logits.detach().requires_grad_()
        losses = CRITERIA[name][0](logits, torch.full((4,), label))
        losses.sum().backward()
        assert losses.isfinite().all()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_reductions_to_the_cross_entropy() -> None:
    logits, labels = drawn(seed=2)
    expected = cross_entropy(logits, labels)
    one_hot = torch.eye(CLASSES, dtype=torch.float64)
    torch.testing.assert_close(focal_loss(logits, labels, gamma=0.0), expected)
    torch.testing.assert_close(smoothed_cross_entropy(logits, labels, smoothing=0.0), expected)
    torch.testing.assert_close(soft_label_cross_entropy(logits, labels, one_hot, hard=0.4), expected)
    # softmax(0) is 1 / C everywhere.
    torch.testing.assert_close(improved_loss(logits, labels, beta=0.0, gamma=0.0), expected / CLASSES)


def test_focal_keeps_its_digits_where_the_sample_is_nearly_right() -> None:
    """1 - p of 4e-6 has lost two digits in float32 when computed from p."""
    logits = torch.tensor([[12.5, 0.0]])
    loss = focal_loss(logits, torch.tensor([0]), gamma=1.0).item()
    expected = focal_oracle([12.5, 0.0], 0, gamma=1.0)
    # What float32 leaves of the surprise, twice.
    assert loss == pytest.approx(expected, rel=0.04, abs=0)
    surprise = cross_entropy(logits, torch.tensor([0])).double()
    assert loss == pytest.approx((-torch.expm1(-surprise) * surprise).item(), rel=1e-5, abs=0)


@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (3, 2), (1, 100_000)])
@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "soft labels"])
def test_few_and_many_classes_in_float32(name: str, batch: int, classes: int) -> None:
    ours, oracle = CRITERIA[name]
    generator = torch.Generator().manual_seed(classes)
    logits = (torch.randn(batch, classes, generator=generator) * 3).requires_grad_()
    labels = torch.arange(batch) % classes
    losses = ours(logits, labels)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    if classes == 2:  # oracles are slow
        expected = [oracle(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
        assert losses.tolist() == pytest.approx(expected, rel=1e-4)


def test_improved_loss_lets_go_of_easy_samples_and_not_of_hard_ones() -> None:
    logits = torch.tensor([[5.0, 0.0, 0.0], [-5.0, 0.0, 0.0]])
    labels = torch.tensor([0, 0])
    plain = cross_entropy(logits, labels)
    ratio = improved_loss(logits, labels, beta=4.0, gamma=0.0) / plain
    assert ratio[0] < 1e-8
    assert ratio[1] == pytest.approx(1.0)


def test_the_unified_threshold_begins_where_many_classes_cost_little_and_learns() -> None:
    for classes in (4, 1000):
        criterion = UnifiedCrossEntropy(classes=classes)
        logits = torch.zeros(2, classes)
        logits[:, 0] = 100.0
        losses = criterion(logits, torch.zeros(2, dtype=torch.int64))
        assert losses.tolist() == pytest.approx([0.1, 0.1], rel=0.3)
    threshold = criterion.threshold.item()
    criterion(torch.zeros(1, 1000), torch.tensor([3])).sum().backward()
    with torch.no_grad():
        criterion.threshold -= 0.1 * criterion.threshold.grad
    assert criterion.threshold.item() < threshold  # the true class is below it


def test_random_logits_of_a_fresh_network_cost_five_at_the_unified_threshold() -> None:
    classes, deviation = 10_572, 64 / 512**0.5
    logits = deviation * torch.randn(64, classes, generator=torch.Generator().manual_seed(0))
    logits[:, 0] = 100.0
    losses = UnifiedCrossEntropy(classes=classes)(logits, torch.zeros(64, dtype=torch.int64))
    assert losses.mean().item() == pytest.approx(5, abs=0.4)


def test_one_unified_threshold_parts_all_samples_where_the_softmax_is_content_with_each() -> None:
    logits = torch.tensor([[10.0, 5.0], [0.0, 5.0]])  # every argmax is right, and no threshold parts them
    shifted = torch.tensor([[10.0, 0.0], [0.0, 10.0]])
    labels = torch.tensor([0, 1])
    losses = [unified_cross_entropy(each, labels, torch.tensor(5.0)).sum() for each in (logits, shifted)]
    assert losses[0] > 20 * losses[1]
    assert cross_entropy(logits, labels).sum() < 0.02


class TestOnlineLabelSmoothing:
    def test_the_first_epoch_smooths_uniformly(self) -> None:
        logits, labels = drawn()
        logits = logits.float()
        criterion = OnlineLabelSmoothing(classes=CLASSES, hard=0.9)
        expected = 0.9 * cross_entropy(logits, labels) + 0.1 * torch.tensor(
            [soft_label_oracle(row, [0.25] * 4) for row in logits.tolist()]
        )
        torch.testing.assert_close(criterion(logits, labels), expected)

    def test_the_next_epoch_uses_the_mean_of_right_predictions(self) -> None:
        criterion = OnlineLabelSmoothing(classes=3, hard=0.5)
        logits = torch.tensor([[2.0, 1.0, 0.0], [3.0, 0.0, 0.0], [0.0, 5.0, 0.0], [1.0, 0.0, 0.0]])
        criterion(logits, torch.tensor([0, 0, 0, 1]))  # the third is wrong, and so is the fourth
        criterion.end_epoch()
        scores = logits.softmax(dim=1)
        torch.testing.assert_close(criterion.soft_labels[0], (scores[0] + scores[1]) / 2)
        torch.testing.assert_close(criterion.soft_labels[1:], torch.full((2, 3), 1 / 3))

    def test_an_epoch_forgets_the_one_before(self) -> None:
        criterion = OnlineLabelSmoothing(classes=2, hard=0.5)
        for logits in ([[4.0, 0.0]], [[1.0, 0.0]]):
            criterion(torch.tensor(logits), torch.tensor([0]))
            criterion.end_epoch()
        torch.testing.assert_close(criterion.soft_labels[0], torch.tensor([1.0, 0.0]).softmax(dim=0))

    def test_evaluation_gathers_nothing(self) -> None:
        criterion = OnlineLabelSmoothing(classes=2, hard=0.5).eval()
        criterion(torch.tensor([[4.0, 0.0]]), torch.tensor([0]))
        assert criterion.counts.sum() == 0

    def test_too_many_classes(self) -> None:
        with pytest.raises(InputError, match="for at most 20,000; got 85,742 classes"):
            OnlineLabelSmoothing(classes=85_742, hard=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: focal_loss(x, y, gamma=-1.0), "gamma: must be >= 0; got -1.0"),
        (lambda x, y: smoothed_cross_entropy(x, y, smoothing=1.0), r"smoothing: must lie in \[0, 1\)"),
        (lambda x, y: improved_loss(x, y, beta=-4.0, gamma=5.0), "beta: must be >= 0; got -4.0"),
        *[
            (
                lambda x, y, call=call, label=label: call(x, y * 0 + label),
                rf"labels: must lie in \[0, 4\); got {label}",
            )
            for call, _ in CRITERIA.values()
            for label in (4, -100)  # PyTorch's label to ignore
        ],
    ],
)
def test_bad_input(call: Callable[[Tensor, Tensor], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(*drawn())
