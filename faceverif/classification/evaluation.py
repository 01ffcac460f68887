"""A network and its head, judged on a set of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.classification import metrics
from faceverif.classification.networks import Network
from faceverif.heads import Head
from faceverif.heads.lgm import LGMHead
from faceverif.images.labelled import ImageFiles, Images, as_pixels
from faceverif.models.model_file import evaluating

# Beyond that many images k-means and neighbours are found on an even choice of them.
_MOST_COMPARED = 10_000
_PORTION = 500


class Predictions(NamedTuple):
    """What was said of each image; all on the CPU, in float32.

    Attributes:
        embeddings: (N, dim).
        logits: (N, classes), margin-free.
        labels: (N,) int64.
    """

    embeddings: Tensor
    logits: Tensor
    labels: Tensor


@torch.no_grad()
def predict(network: Network, head: Head, images: Images) -> Predictions:
    """Embeddings and margin-free logits of every image, in evaluation mode and float32."""
    device = next(network.parameters()).device
    embeddings, logits = [], []
    with evaluating(network), evaluating(head):
        for which in torch.arange(len(images)).split(_PORTION):
            portion = network(as_pixels(images.read(which.to(images.labels.device)).to(device)))
            embeddings.append(portion.float().cpu())
            logits.append(head.logits(portion).cpu())
    return Predictions(torch.cat(embeddings), torch.cat(logits), images.labels.cpu())


@torch.no_grad()
def measure_ten_crops(network: Network, head: Head, images: ImageFiles) -> dict[str, float]:
    """Errors over ten crops: the corners and the centre of the picture, each also mirrored.

    Krizhevsky et al. (2012), Sec. 4.1: the crops come from the central square of the picture whose middle is
    the one crop of `predict`, so every crop shows an object equally large; their probabilities are averaged.

    Args:
        network: as in `predict`.
        head: as in `predict`.
        images: as evaluated with one crop; their squares of images.shorter_px are read.

    Returns:
        ten_crop_error and, with more than five classes, ten_crop_top5_error, as fractions.
    """
    device, side_px = next(network.parameters()).device, images.side_px
    squares = replace(images, side_px=images.shorter_px)
    found = []
    with evaluating(network), evaluating(head):
        for which in torch.arange(len(images)).split(_PORTION // 10):
            pictures = as_pixels(squares.read(which.to(images.labels.device)).to(device))
            crops = (head.logits(network(crop)).softmax(dim=1) for crop in ten_crops(pictures, side_px))
            found.append(torch.stack(tuple(crops)).mean(dim=0).cpu())
    scores, labels = torch.cat(found), images.labels.cpu()
    figures = {"ten_crop_error": metrics.error(scores, labels)}
    if scores.shape[1] > 5:
        figures["ten_crop_top5_error"] = metrics.top_k_error(scores, labels, k=5)
    return figures


def ten_crops(pictures: Tensor, side_px: int) -> list[Tensor]:
    """Corners and centre of pictures, (batch, C, H, W), each (batch, C, side, side), then mirrored."""
    rooms = [extent - side_px for extent in pictures.shape[2:]]
    corners = [(top, left) for top in (0, rooms[0]) for left in (0, rooms[1])]
    crops = [
        pictures[:, :, top : top + side_px, left : left + side_px]
        for top, left in (*corners, (rooms[0] // 2, rooms[1] // 2))
    ]
    return [*crops, *(crop.flip(3) for crop in crops)]


def measure_predictions(predictions: Predictions, head: Head, *, seed: int) -> dict[str, Any]:
    """Every number of `faceverif.classification.metrics`; JSON-able.

    Args:
        predictions: of the evaluated images.
        head: whose predictions they are.
        seed: of k-means.

    Returns:
        Shares as fractions, angles in degrees, None for the angle of a class without an image. There is no
        top5_error with five classes or fewer, no recall_at_K with no more than K images, and no all_negative
        for L-GM, whose logits are log densities.

    Raises:
        InputError: logits are not finite, of which no number means anything.
    """
    embeddings, logits, labels = predictions
    if not logits.isfinite().all():
        fix = "Lower optimizer.learning_rate or set training.clip_norm."
        raise InputError("training", "logits must be finite", got="NaN or infinity", fix=fix)
    angles = metrics.mean_angle_per_class(embeddings, head.centres().detach().cpu(), labels).tolist()
    figures = {
        "error": metrics.error(logits, labels),
        "macro_f1": metrics.macro_f1(logits.argmax(dim=1), labels),
        "nll": metrics.negative_log_likelihood(logits, labels),
        "ece": metrics.expected_calibration_error(logits, labels),
        "mean_angle_deg": [None if angle != angle else angle for angle in angles],
    }
    if not isinstance(head, LGMHead):
        figures["all_negative"] = metrics.all_negative(logits)
    if logits.shape[1] > 5:
        figures["top5_error"] = metrics.top_k_error(logits, labels, k=5)
    return figures | _compare(embeddings, labels, clusters=logits.shape[1], seed=seed)


def errors_by_class(predictions: Predictions, names: Sequence[str]) -> list[dict[str, Any]]:
    """For each class with images: how many, how many are wrong, and as what most of those are classified.

    Args:
        predictions: of the evaluated images.
        names: of the classes, in the order of the logits.
    """
    predicted, found = predictions.logits.argmax(dim=1), []
    for number, name in enumerate(names):
        own = predicted[predictions.labels == number]
        wrong = own[own != number]
        row: dict[str, Any] = {"class": name, "images": len(own), "wrong": len(wrong)}
        if len(wrong):
            counts = wrong.bincount()
            row |= {"mostly": names[int(counts.argmax())], "mostly_images": int(counts.max())}
        if len(own):
            found.append(row)
    return found


def _compare(embeddings: Tensor, labels: Tensor, *, clusters: int, seed: int) -> dict[str, float]:
    """NMI and recall, of at most `_MOST_COMPARED` images spread evenly over the set."""
    if len(labels) > _MOST_COMPARED:
        chosen = torch.linspace(0, len(labels) - 1, _MOST_COMPARED).long()
        embeddings, labels = embeddings[chosen], labels[chosen]
    ks = tuple(k for k in metrics.RECALL_AT if k < len(labels))
    recall = metrics.recall_at_k(embeddings, labels, ks=ks) if ks else {}
    figures = {f"recall_at_{k}": share for k, share in recall.items()}
    if len(labels) >= clusters:
        figures["nmi"] = metrics.nmi(embeddings, labels, clusters=clusters, seed=seed)
    return figures
