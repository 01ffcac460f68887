"""What a trained classifier says of its evaluation images: computed once a run, drawn as often as needed."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.atomic import written_whole
from faceverif.classification.data import load_image_sets
from faceverif.classification.evaluation import predict
from faceverif.classification.metrics import reliability
from faceverif.classification.trained import load_classifier

OUTPUTS_NAME = "outputs.npz"


@dataclass(frozen=True)
class RunOutputs:
    """What figures need of a run on its evaluation images.

    Attributes:
        counts, confidence, accuracy: (bins,) each; see `faceverif.classification.metrics.Reliability`.
        embeddings: (images, 2) where the network embeds in the plane, else (0, 2).
        labels: (images,) of those embeddings, else (0,).
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class LikelihoodMap:
    """Log-likelihood over a part of the plane of embeddings.

    Attributes:
        log_likelihood: (rows, columns) of the most likely class, up to a constant; rows go upwards.
        left, right, bottom, top: the part of the plane.
    """

    log_likelihood: NDArray[np.float32]
    left: float
    right: float
    bottom: float
    top: float


def run_outputs(run: Path) -> RunOutputs:
    """The outputs of a finished run; kept beside it, since embedding takes longer than drawing.

    Raises:
        InputError: no trained run is there, or its images are not.
    """
    path = run / OUTPUTS_NAME
    kept = _kept(path)
    if kept is None:
        kept = compute_outputs(run)
        with written_whole(path) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **vars(kept))
    return kept


def _kept(path: Path) -> RunOutputs | None:
    """What lies beside the run; None where nothing or nothing readable does."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as kept:
            return RunOutputs(**kept)
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile):
        return None


def compute_outputs(run: Path) -> RunOutputs:
    """Run a trained classifier over its evaluation images; see `run_outputs`."""
    classifier = load_classifier(run)
    _, evaluation = load_image_sets(classifier.config.data, classifier.config.seed)
    embeddings, logits, labels = predict(classifier.network, classifier.head, evaluation)
    bins = reliability(logits, labels)
    drawn = len(embeddings) if embeddings.shape[1] == 2 else 0
    return RunOutputs(
        counts=bins.counts.numpy(),
        confidence=bins.confidence.numpy(),
        accuracy=bins.accuracy.numpy(),
        embeddings=embeddings[:drawn, :2].numpy(),
        labels=labels[:drawn].numpy(),
    )


def likelihood_map(run: Path, embeddings: NDArray[np.float32], *, resolution: int = 240) -> LikelihoodMap:
    """Log-likelihood that an L-GM run gives to places in the plane of its embeddings (L-GM, Fig. 1 f).

    At each place it is that of the predicted class, the largest margin-free logit of the head.

    Args:
        run: a finished run with the lgm head and embeddings of two dimensions.
        embeddings: (images, 2), for the part of the plane to look at.
        resolution: places along each side.
    """
    head = load_classifier(run).head
    low, high = embeddings.min(axis=0), embeddings.max(axis=0)
    (left, bottom), (right, top) = low - 0.08 * (high - low), high + 0.08 * (high - low)
    across, upwards = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    places = np.stack(np.meshgrid(across, upwards), axis=-1).reshape(-1, 2).astype(np.float32)
    with torch.inference_mode():
        logits = head.logits(torch.from_numpy(places).to(head.centres().device))
    return LikelihoodMap(
        logits.amax(dim=1).reshape(resolution, resolution).cpu().numpy(),
        left=float(left),
        right=float(right),
        bottom=float(bottom),
        top=float(top),
    )
