"""The numbers that the papers judge classifiers by; pure functions of tensors.

What is not defined is refused: no function guesses an answer for too few images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError

CALIBRATION_BINS = 15
RECALL_AT = (1, 2, 4, 8)


def error(logits: Tensor, labels: Tensor) -> float:
    """Share of images whose highest logit is not their class's, in [0, 1].

    Args:
        logits: (N, classes).
        labels: (N,) int64.
    """
    return top_k_error(logits, labels, k=1)


def top_k_error(logits: Tensor, labels: Tensor, *, k: int) -> float:
    """Share of images whose class is not among the k highest logits, in [0, 1].

    Args:
        logits: (N, classes).
        labels: (N,) int64.
        k: at most the number of classes.
    """
    found = (logits.topk(k, dim=1).indices == labels[:, None]).any(dim=1)
    return 1.0 - found.double().mean().item()


def all_negative(logits: Tensor) -> float:
    """Share of images whose logits are negative for every class, in [0, 1].

    Where logits are products with class weights, their embeddings are opposite to all of them: W-Softmax does
    not separate those (see `faceverif.heads.wsoftmax`).

    Args:
        logits: (N, classes), margin-free.
    """
    return (logits < 0).all(dim=1).double().mean().item()


def macro_f1(predicted: Tensor, labels: Tensor) -> float:
    """F1 of each class, averaged over the classes that occur as label or prediction, in [0, 1].

    Args:
        predicted: (N,) int64.
        labels: (N,) int64.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(labels.cpu().numpy(), predicted.cpu().numpy(), average="macro"))


def nmi(embeddings: Tensor, labels: Tensor, *, clusters: int, seed: int) -> float:
    """Normalised mutual information of classes and k-means clusters of raw embeddings, in [0, 1].

    The best of ten starts of k-means; the mutual information is divided by the mean of the two entropies.

    Args:
        embeddings: (N, dim).
        labels: (N,) int64.
        clusters: the number of classes.
        seed: of the starts.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    means = KMeans(clusters, n_init=10, random_state=seed % 2**32)
    found = means.fit_predict(embeddings.double().cpu().numpy())
    return float(normalized_mutual_info_score(labels.cpu().numpy(), found))


def recall_at_k(
    embeddings: Tensor, labels: Tensor, *, ks: tuple[int, ...] = RECALL_AT, portion: int = 1024
) -> dict[int, float]:
    """Share of images with one of their class among the k most similar others, in [0, 1].

    Similarity is the cosine; an image is not compared with itself.

    Args:
        embeddings: (N, dim), more of them than the largest k.
        labels: (N,) int64.
        ks: which k.
        portion: images compared with all others at once; memory goes with portion x N.

    Raises:
        InputError: too few images.
    """
    deepest = max(ks)
    if len(embeddings) <= deepest:
        raise InputError(
            "images",
            f"must be more than {deepest} for recall at {deepest}",
            got=len(embeddings),
            fix="Evaluate more images.",
        )
    unit = F.normalize(embeddings.float())
    hits = torch.zeros(deepest, dtype=torch.float64)
    for start in range(0, len(unit), portion):
        similarity = unit[start : start + portion] @ unit.T
        similarity[torch.arange(len(similarity)), torch.arange(len(similarity)) + start] = -math.inf
        neighbours = labels[similarity.topk(deepest, dim=1).indices]
        same = neighbours == labels[start : start + portion, None]
        hits += same.cummax(dim=1).values.double().sum(dim=0).cpu()
    return {k: hits[k - 1].item() / len(unit) for k in ks}


class Reliability(NamedTuple):
    """Confidence against accuracy, in equal bins of confidence.

    Attributes:
        counts: (bins,) images in each.
        confidence: (bins,) mean highest score; NaN where there is no image.
        accuracy: (bins,) share that is right; NaN where there is no image.
    """

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability(logits: Tensor, labels: Tensor, *, bins: int = CALIBRATION_BINS) -> Reliability:
    """What a reliability diagram shows: Guo et al., "On Calibration" (2017), Eqs. 2 and 3.

    Args:
        logits: (N, classes), margin-free.
        labels: (N,) int64.
        bins: of equal width over (0, 1], each without its lower edge.
    """
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    right = (predicted == labels).double()
    counts = place.bincount(minlength=bins)
    sums = torch.zeros(2, bins, dtype=torch.float64, device=logits.device)
    sums.index_add_(1, place, torch.stack((confidence, right)))
    return Reliability(counts, *(sums / counts).unbind())


def expected_calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Mean distance between confidence and accuracy over the bins, by their images: Guo et al., Eq. 5.

    Args:
        logits: (N, classes), margin-free.
        labels: (N,) int64.

    Returns:
        In [0, 1].
    """
    counts, confidence, accuracy = reliability(logits, labels)
    gaps = (confidence - accuracy).abs().nan_to_num(0.0)
    return (gaps * counts).sum().item() / len(labels)


def mean_angle_per_class(embeddings: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """Mean angle between a class's embeddings and its weight: Li & Wang (2020), Eq. 14.

    An embedding of nothing but zeros has no direction and counts as 90 degrees.

    Args:
        embeddings: (N, dim).
        centres: (classes, dim).
        labels: (N,) int64.

    Returns:
        (classes,) degrees, float64; NaN for a class without an image.
    """
    unit, own = F.normalize(embeddings.double()), F.normalize(centres.double())[labels]
    angles = (unit * own).sum(dim=1).clamp(-1.0, 1.0).arccos().rad2deg()
    sums = torch.zeros(len(centres), dtype=torch.float64, device=angles.device).index_add_(0, labels, angles)
    return sums / labels.bincount(minlength=len(centres))


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean of -log softmax(logits) at the true class, in nats.

    Args:
        logits: (N, classes), margin-free.
        labels: (N,) int64.
    """
    return F.cross_entropy(logits.double(), labels).item()
