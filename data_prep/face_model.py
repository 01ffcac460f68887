"""The statistical face model behind the synthetic people: fitted to aligned crops, stored, drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import written_whole
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from data_prep.progress import progress

SHIPPED_MODEL = Path(__file__).with_name("face_model.npz")
SIDE_PX = 64
_FORMAT = 1
_MOST_COMPONENTS = 240  # of 64 x 64 x 3 bytes each: just under 3 MB
_BATCH = 512
# Subspace iteration: a few directions more than wanted, and passes until the last wanted ones have settled.
_SPARE_DIRECTIONS = 20
_PASSES = 4
# Photos far from their person's mean are often wrong labels, and one stranger among a person's photos weighs
# as much as several honest ones. Leaving them out makes the spread a little too small, never too large.
_KEPT_SHARE = 0.9
# Draws stay in the range of the fitted faces; beyond it, sums of components do not look like faces.
_LARGEST_DRAW = 2.0
# Part of the fitted within-person spread is pose and light, which the drawing adds again.
_WITHIN_SCALE = 0.6


@dataclass(frozen=True)
class FaceModel:
    """Faces as `mean + coefficients @ components`, coefficients being person + photo.

    Attributes:
        mean: (side, side, 3) float32, RGB in grey levels 0 to 255.
        components: (k, side, side, 3) float32, grey levels per unit of the coefficient.
        between: (k,) standard deviation of a coefficient over people.
        within: (k,) standard deviation over the photos of one person; between^2 + within^2 = 1.
        provenance: what it was fitted to; plain JSON.
    """

    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    between: NDArray[np.float32]
    within: NDArray[np.float32]
    provenance: dict[str, Any] = field(default_factory=dict)

    def sample_identity(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """A person: (k,) coefficients."""
        return self.between * _bounded_normal(rng, len(self.between))

    def sample_face(self, identity: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """One appearance of a person: (side, side, 3) in grey levels, which may leave 0 to 255."""
        coefficients = identity + _WITHIN_SCALE * self.within * _bounded_normal(rng, len(self.within))
        # einsum sums in one fixed order; a BLAS product's last bits change with its number of threads, and
        # the same seed must give the same bytes.
        return self.mean + np.einsum("k,khwc->hwc", coefficients, self.components)

    def save(self, path: Path) -> None:
        """Write the whole model or nothing; components are stored as bytes, with one scale each."""
        scale = np.abs(self.components).max(axis=(1, 2, 3)) / 127
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        with written_whole(path) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.array(_FORMAT),
                mean=self.mean.astype(np.float16),
                components=np.rint(self.components / scale[:, None, None, None]).astype(np.int8),
                scale=scale,
                between=self.between,
                within=self.within,
                provenance=np.array(json.dumps(self.provenance, sort_keys=True)),
            )


def _bounded_normal(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    return np.clip(rng.standard_normal(count, dtype=np.float32), -_LARGEST_DRAW, _LARGEST_DRAW)


def load_face_model(path: Path | None = None) -> FaceModel:
    """Read a face model; without a path, the one shipped with the package.

    Raises:
        InputError: no such file, or not one that `FaceModel.save` wrote.
    """
    path = path or SHIPPED_MODEL
    fix = "Fit one with: faceverif fit-faces --data ALIGNED --out FILE"
    if not path.is_file():
        raise InputError("model", "must be a face model file", got=path, fix=fix)
    with (
        read_guarded("model", "must be a face model of this version", got=path, fix=fix),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return _unpack({name: arrays[name] for name in arrays.files})


def _unpack(arrays: dict[str, NDArray[Any]]) -> FaceModel:
    if arrays["format"] != _FORMAT:
        raise ValueError(f"format {arrays['format']}, not {_FORMAT}")
    count = len(arrays["components"])
    shapes = {
        "mean": (SIDE_PX, SIDE_PX, 3),
        "components": (count, SIDE_PX, SIDE_PX, 3),
        "scale": (count,),
        "between": (count,),
        "within": (count,),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has shape {arrays[name].shape} or is not finite")
    for spread in (arrays["between"], arrays["within"]):
        if not ((spread >= 0) & (spread <= 1)).all():
            raise ValueError("a spread lies outside 0 to 1")
    provenance = json.loads(str(arrays["provenance"]))
    if not isinstance(provenance, dict):
        raise ValueError("the provenance is no mapping")
    return FaceModel(
        mean=arrays["mean"].astype(np.float32),
        components=arrays["components"] * arrays["scale"].astype(np.float32)[:, None, None, None],
        between=arrays["between"].astype(np.float32),
        within=arrays["within"].astype(np.float32),
        provenance=provenance,
    )


def fit_face_model(dataset: AlignedDataset, *, components: int) -> FaceModel:
    """Principal components of aligned faces, turned so that between- and within-person spread are diagonal.

    Coefficients are first whitened (total covariance = I); the eigenvectors of the within-person covariance
    are then the wanted basis, its eigenvalues w the within-person variances, and 1 - w those between people.
    Crops are read in batches, several times; memory only grows by `components` floats per photo.

    Args:
        dataset: only its rows with status `aligned` count.
        components: 1 to 240.

    Raises:
        InputError: more components than the file may hold, or than the repeated photos of people can support.
    """
    rows = dataset.with_status(Status.ALIGNED)
    people, person = np.unique(dataset.column("identity")[rows].astype(str), return_inverse=True)
    _check_size(components, repeats=len(rows) - len(people), people=len(people))
    mean, directions, variance = _principal_components(dataset, rows, components)
    coefficients = _project(dataset, rows, mean, directions / np.sqrt(variance))
    within, basis = np.linalg.eigh(within_covariance(coefficients, person))
    within = np.clip(within, 0.0, 1.0)
    turned = basis.T @ (directions * np.sqrt(variance)).T
    return FaceModel(
        mean=mean.reshape(SIDE_PX, SIDE_PX, 3),
        components=turned.reshape(components, SIDE_PX, SIDE_PX, 3).astype(np.float32),
        between=np.sqrt(1 - within).astype(np.float32),
        within=np.sqrt(within).astype(np.float32),
        provenance={
            "manifest_sha256": dataset.sha256,
            "template": dataset.header.template,
            "photos": len(rows),
            "identities": len(people),
        },
    )


def _check_size(components: int, *, repeats: int, people: int) -> None:
    if not 1 <= components <= _MOST_COMPONENTS:
        raise InputError(
            "components",
            f"must lie in 1 to {_MOST_COMPONENTS}, so that the file stays under 3 MB",
            got=components,
            fix="Use --components 200.",
        )
    if people < 2:
        raise InputError(
            "data",
            "must hold aligned photos of at least two people",
            got=people,
            fix="Align a set with a folder per person.",
        )
    if repeats < components:
        raise InputError(
            "data",
            f"must hold at least {components} photos beyond the first of each person (one per component)",
            got=repeats,
            fix="Align more photos per person" + (f", or use --components {repeats}." if repeats else "."),
        )


def within_covariance(coefficients: NDArray[np.floating], person: NDArray[np.integer]) -> NDArray[np.float64]:
    """Covariance of photos about their person's mean, without the farthest tenth.

    Args:
        coefficients: (photos, k).
        person: (photos,) int in [0, people).

    Returns:
        (k, k); people with one photo contribute nothing.
    """
    count = np.bincount(person)
    total = np.zeros((len(count), coefficients.shape[1]))
    np.add.at(total, person, coefficients)
    repeated = count[person] > 1
    n = count[person][repeated]
    # Deviations from a mean of n photos are short by (n - 1) / n in variance.
    deviations = (coefficients - (total / count[:, None])[person])[repeated] * np.sqrt(n / (n - 1))[:, None]
    length = np.linalg.norm(deviations, axis=1)
    kept = deviations[length <= np.quantile(length, _KEPT_SHARE)]
    return kept.T @ kept / len(kept)


def _principal_components(
    dataset: AlignedDataset, rows: NDArray[np.int64], components: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Mean (pixels,), directions (pixels, k) and variances (k,), by subspace iteration on streamed crops.

    Halko, Martinsson & Tropp (2011), Alg. 4.4: the covariance is never formed; each pass over the crops
    multiplies it with a narrow matrix. scikit-learn's IncrementalPCA, an SVD per batch, took far longer.
    """
    pixels = SIDE_PX * SIDE_PX * 3
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((pixels, components + _SPARE_DIRECTIONS), dtype=np.float32)
    for number in range(1, _PASSES + 1):
        directions = np.linalg.qr(directions)[0]
        total, product = np.zeros(pixels), np.zeros_like(directions)
        with progress(f"components {number}/{_PASSES}", total=len(rows)) as advance:
            for crops in _crop_batches(dataset, rows):
                total += crops.sum(axis=0, dtype=np.float64)
                product += crops.T @ (crops @ directions)
                advance(len(crops), "")
        mean = (total / len(rows)).astype(np.float32)
        projected, centring = directions, np.outer(mean, mean @ directions)
        directions = (product / len(rows) - centring).astype(np.float32)
    variance, turn = np.linalg.eigh(projected.T @ directions)
    strongest = slice(None, -components - 1, -1)
    return mean, projected @ turn[:, strongest], variance[strongest]


def _project(
    dataset: AlignedDataset,
    rows: NDArray[np.int64],
    mean: NDArray[np.float32],
    directions: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Coefficients of the crops, (rows, k)."""
    with progress("spread of people", total=len(rows)) as advance:
        parts = []
        for crops in _crop_batches(dataset, rows):
            parts.append((crops - mean) @ directions)
            advance(len(crops), "")
    return np.concatenate(parts)


def _crop_batches(dataset: AlignedDataset, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """The crops of these rows, (batch, side * side * 3)."""
    for start in range(0, len(rows), _BATCH):
        crops = dataset.crops.read(rows[start : start + _BATCH])
        small = [cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for crop in crops]
        yield np.stack(small).reshape(len(crops), -1).astype(np.float32)
