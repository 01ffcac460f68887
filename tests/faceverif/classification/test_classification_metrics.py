"""Every metric against its definition, worked out by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.classification import metrics

CLASSES = 4


@pytest.fixture
def logits() -> Tensor:
    return 2 * torch.randn(60, CLASSES, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(CLASSES, (60,), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def embeddings() -> Tensor:
    return torch.randn(60, 5, generator=torch.Generator().manual_seed(3))


def entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_error(logits: Tensor, labels: Tensor, k: int) -> None:
    wrong = sum(
        label not in sorted(range(CLASSES), key=lambda c: -row[c])[:k]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    )
    assert metrics.top_k_error(logits, labels, k=k) == pytest.approx(wrong / 60)
    if k == 1:
        assert metrics.error(logits, labels) == pytest.approx(wrong / 60)


def test_macro_f1(logits: Tensor, labels: Tensor) -> None:
    predicted = logits.argmax(dim=1)
    scores = []
    for c in range(CLASSES):
        both = ((predicted == c) & (labels == c)).sum().item()
        scores.append(2 * both / ((predicted == c).sum() + (labels == c).sum()).item())
    assert metrics.macro_f1(predicted, labels) == pytest.approx(np.mean(scores))


def test_nmi_of_clusters_that_k_means_finds() -> None:
    # Three heaps far apart; of the last, one of four images bears another class.
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 1])
    heaps = torch.arange(3).repeat_interleave(4)
    embeddings = torch.stack((100.0 * heaps, torch.arange(12) % 4 * 0.1), dim=1)
    joint = entropy([4 / 12, 4 / 12, 3 / 12, 1 / 12])
    of_labels, of_heaps = entropy([4 / 12, 5 / 12, 3 / 12]), entropy([1 / 3] * 3)
    expected = (of_labels + of_heaps - joint) / ((of_labels + of_heaps) / 2)
    found = metrics.nmi(embeddings, labels, clusters=3, seed=0)
    assert found == pytest.approx(expected)
    assert metrics.nmi(embeddings, heaps, clusters=3, seed=5) == pytest.approx(1.0)


@pytest.mark.parametrize("portion", [7, 1024])
def test_recall_at_k(embeddings: Tensor, labels: Tensor, portion: int) -> None:
    rows, expected = embeddings.double(), dict.fromkeys((1, 2, 4, 8), 0)
    for i in range(60):
        cosine = {j: float(rows[i] @ rows[j] / rows[i].norm() / rows[j].norm()) for j in range(60) if j != i}
        nearest = [int(labels[j]) for j in sorted(cosine, key=lambda j: -cosine[j])]
        for k in expected:
            expected[k] += int(labels[i]) in nearest[:k]
    found = metrics.recall_at_k(embeddings, labels, portion=portion)
    assert found == pytest.approx({k: hits / 60 for k, hits in expected.items()})
    # Only directions count.
    assert metrics.recall_at_k(embeddings * torch.rand(60, 1).add(0.5), labels) == pytest.approx(found)


def test_recall_needs_more_images_than_k(embeddings: Tensor, labels: Tensor) -> None:
    with pytest.raises(InputError, match="must be more than 8"):
        metrics.recall_at_k(embeddings[:8], labels[:8])
    assert metrics.recall_at_k(embeddings[:9], labels[:9] * 0)[8] == 1.0


def test_expected_calibration_error(logits: Tensor, labels: Tensor) -> None:
    scores = logits.double().softmax(dim=1).tolist()
    expected = 0.0
    for b in range(15):
        inside = [
            (max(row), row.index(max(row)) == label)
            for row, label in zip(scores, labels.tolist(), strict=True)
            if b / 15 < max(row) <= (b + 1) / 15
        ]
        expected += abs(sum(confidence - right for confidence, right in inside)) / 60
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(expected)
    assert metrics.reliability(logits, labels).counts.sum() == 60


def test_calibration_at_its_ends() -> None:
    # Sure and right: no error. Sure and wrong: all of it. 60 % sure and right 3 times of 5: none.
    sure = torch.tensor([[500.0, 0.0]]).repeat(5, 1)
    zeros = torch.zeros(5, dtype=torch.int64)
    assert metrics.expected_calibration_error(sure, zeros) == 0.0
    assert metrics.expected_calibration_error(sure, zeros + 1) == 1.0
    doubtful = torch.tensor([[math.log(0.6), math.log(0.4)]], dtype=torch.float64).repeat(5, 1)
    labels = torch.tensor([0, 0, 0, 1, 1])
    assert metrics.expected_calibration_error(doubtful, labels) == pytest.approx(0.0, abs=1e-12)


def test_mean_angle_per_class(embeddings: Tensor, labels: Tensor) -> None:
    centres = torch.randn(CLASSES + 1, 5, generator=torch.Generator().manual_seed(4))
    found = metrics.mean_angle_per_class(embeddings, centres, labels)
    for c in range(CLASSES):
        angles = [
            math.degrees(math.acos(float(x.double() @ centres[c].double() / x.norm() / centres[c].norm())))
            for x in embeddings[labels == c]
        ]
        assert found[c].item() == pytest.approx(np.mean(angles), rel=1e-5)
    assert found[CLASSES].isnan()  # no image, no angle
    assert metrics.mean_angle_per_class(3 * centres[:1], centres, torch.tensor([0]))[0] < 1e-4


def test_negative_log_likelihood(logits: Tensor, labels: Tensor) -> None:
    scores = [row.exp() / row.exp().sum() for row in logits.double()]
    expected = -np.mean([math.log(row[label]) for row, label in zip(scores, labels, strict=True)])
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(expected)
