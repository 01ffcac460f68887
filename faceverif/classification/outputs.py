"""What a trained classifier says of its images: computed once a run, drawn as often as needed."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.atomic import written_whole
from data_prep.device import computing_device
from faceverif.classification.data import load_image_sets
from faceverif.classification.evaluation import predict
from faceverif.classification.metrics import mean_angle_per_class, reliability
from faceverif.classification.trained import dense_parameters, load_classifier
from faceverif.images.labelled import spread_evenly

OUTPUTS_NAME = "outputs.npz"
_DRAWN = ("evaluated", "trained")
_MAP_SIDE = 240  # places along each side of a likelihood map


class Drawn(NamedTuple):
    """Embeddings as they are drawn.

    Attributes:
        embeddings: (images, 2): those in the plane, or two principal components of the evaluation images.
        labels: (images,).
        explained: share of the embeddings' variance that the two components have; 1 in the plane.
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]
    explained: float

    @property
    def in_the_plane(self) -> bool:
        """Whether the embeddings have two dimensions, and nothing is left out of a picture of them."""
        return self.explained == 1.0


@dataclass(frozen=True)
class RunOutputs:
    """What figures need of a run on its evaluation images, and on training images without augmentation.

    Attributes:
        counts, confidence, accuracy: (bins,) each; see `faceverif.classification.metrics.Reliability`.
        evaluated: the embeddings of the evaluation images.
        trained: those of at most 10,000 training images, spread evenly over the set.
        training_angles: (classes,) mean angle of those training images to their class weight in degrees; NaN
            for a class without an image.
        dense_parameters: numbers in the fully connected layers, the class weights among them.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    evaluated: Drawn
    trained: Drawn
    training_angles: NDArray[np.float64]
    dense_parameters: int


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
            np.savez_compressed(file, **_flat(kept))
    return kept


def _flat(outputs: RunOutputs) -> dict[str, Any]:
    """Its arrays and numbers under names of their own, as `_kept` reads them."""
    values = dict(vars(outputs))
    for part in _DRAWN:
        values |= {f"{part}_{name}": value for name, value in values.pop(part)._asdict().items()}
    return values


def _kept(path: Path) -> RunOutputs | None:
    """What lies beside the run; None where nothing does, or what is damaged or of an earlier version."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as kept:
            arrays = dict(kept)
            dense = int(arrays.pop("dense_parameters"))
            drawn: dict[str, Any] = {part: _drawn_in(arrays, part) for part in _DRAWN}
            return RunOutputs(dense_parameters=dense, **drawn, **arrays)
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile):
        return None


def _drawn_in(arrays: dict[str, Any], part: str) -> Drawn:
    """Takes that part out of stored arrays."""
    values = {name: arrays.pop(f"{part}_{name}") for name in Drawn._fields}
    return Drawn(**values | {"explained": float(values["explained"])})


def compute_outputs(run: Path) -> RunOutputs:
    """Run a trained classifier over its images; see `run_outputs`."""
    classifier = load_classifier(run, field="RUN").to(computing_device())
    train, evaluation = load_image_sets(classifier.config.data, classifier.config.seed)
    embeddings, logits, labels = predict(classifier.network, classifier.head, evaluation)
    bins = reliability(logits, labels)
    trained = predict(classifier.network, classifier.head, spread_evenly(train))
    centres = classifier.head.centres().detach().cpu()
    axes = embeddings.numpy()
    return RunOutputs(
        counts=bins.counts.numpy(),
        confidence=bins.confidence.numpy(),
        accuracy=bins.accuracy.numpy(),
        evaluated=in_two_dimensions(axes, labels.numpy(), axes_of=axes),
        trained=in_two_dimensions(trained.embeddings.numpy(), trained.labels.numpy(), axes_of=axes),
        training_angles=mean_angle_per_class(trained.embeddings, centres, trained.labels).numpy(),
        dense_parameters=dense_parameters(classifier),
    )


def in_two_dimensions(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], *, axes_of: NDArray[np.float32]
) -> Drawn:
    """Embeddings as they are drawn; of more than two dimensions two principal components are.

    Args:
        embeddings: (images, dim).
        labels: (images,).
        axes_of: (any, dim), whose principal components are drawn, so that two pictures have the same axes.
    """
    if embeddings.shape[1] == 2:
        return Drawn(embeddings, labels, 1.0)
    from sklearn.decomposition import PCA

    components = min(2, *axes_of.shape)
    found = PCA(components, svd_solver="covariance_eigh").fit(axes_of.astype(np.float64))
    placed = found.transform(embeddings.astype(np.float64))
    flat = np.zeros((len(embeddings), 2), dtype=np.float32)
    flat[:, :components] = placed
    whole = embeddings.astype(np.float64).var(axis=0).sum()
    # Below 1 also where rounding hides what is left: such a picture is a projection.
    return Drawn(flat, labels, min(float(placed.var(axis=0).sum() / whole) if whole else 1.0, 1 - 1e-9))


def likelihood_map(run: Path, embeddings: NDArray[np.float32]) -> LikelihoodMap:
    """Log-likelihood that an L-GM run gives to places in the plane of its embeddings (L-GM, Fig. 1 f).

    At each place it is that of the predicted class, the largest margin-free logit of the head.

    Args:
        run: a finished run with the lgm head and embeddings of two dimensions.
        embeddings: (images, 2), for the part of the plane to look at.
    """
    head = load_classifier(run, field="RUN").head
    low, high = embeddings.min(axis=0), embeddings.max(axis=0)
    (left, bottom), (right, top) = low - 0.08 * (high - low), high + 0.08 * (high - low)
    across, upwards = np.linspace(left, right, _MAP_SIDE), np.linspace(bottom, top, _MAP_SIDE)
    places = np.stack(np.meshgrid(across, upwards), axis=-1).reshape(-1, 2).astype(np.float32)
    with torch.inference_mode():
        logits = head.logits(torch.from_numpy(places).to(head.centres().device))
    return LikelihoodMap(
        logits.amax(dim=1).reshape(_MAP_SIDE, _MAP_SIDE).cpu().numpy(),
        left=float(left),
        right=float(right),
        bottom=float(bottom),
        top=float(top),
    )
