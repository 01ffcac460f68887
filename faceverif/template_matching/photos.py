"""The photos of IJB templates in a data set: where the crop of each lies, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.ijb import TemplatePhotos
from data_prep.protocols.matching import find_rows, names_of
from data_prep.repeated_text import holds
from faceverif.template_matching.options import Pooling

FALLBACK_RULE = (
    "a photo without a detected face counts only where no photo of its IJB template has one: then the "
    "centre crops are pooled, with equal weights in place of the detector's score; a pair with an IJB "
    "template of which no photo could be read scores as an error: -1 if genuine, +1 if impostor"
)


@dataclass(frozen=True)
class PooledPhotos:
    """What the crops of a data set contribute to IJB templates.

    Attributes:
        rows: (crops,) manifest rows of all crops, rising.
        crop: (used photos,) rising place in `rows`.
        template: (used photos,) int32, number of the IJB template.
        share: (used photos,) what the photo counts within it, its norm aside.
        without_face: (templates,) True where centre crops are pooled, since no photo has a detected face.
        without_crop: (templates,) True where no photo could be read.
        failed, no_face: how many photos have no crop, or a centre crop.
    """

    rows: NDArray[np.int64]
    crop: NDArray[np.int64]
    template: NDArray[np.int32]
    share: NDArray[np.float64]
    without_face: NDArray[np.bool_]
    without_crop: NDArray[np.bool_]
    failed: int
    no_face: int

    @classmethod
    def of(cls, photos: TemplatePhotos, dataset: AlignedDataset, *, pooling: Pooling) -> PooledPhotos:
        """Find the photos and weigh them.

        Args:
            photos: of the IJB templates; the data set holds them all.
            dataset: where their crops are.
            pooling: what a photo counts.

        Raises:
            InputError: a photo is missing, none has a crop, or one has no detector score to be weighed by.
        """
        row = rows_of(photos, dataset)
        failed, no_face = (_with_status(dataset, status)[row] for status in (Status.FAILED, Status.NO_FACE))
        count = len(photos.ids)
        with_face, with_crop = (_any(photos.template[seen], count) for seen in (~(failed | no_face), ~failed))
        used = ~failed & (~no_face | ~with_face[photos.template])
        if not used.any():
            raise InputError(
                "data",
                "must hold a crop of at least one photo of the IJB templates",
                got=f"{counted(len(photos), 'photo')} without a crop",
                fix="See the reasons in its manifest, and align readable photos.",
            )
        scores = _scores(photos, dataset, row, weighed=used & ~no_face, pooling=pooling)
        in_medium = np.bincount(photos.medium[used], minlength=int(photos.medium.max()) + 1)
        share = _where_all_are_zero(scores[used], photos.template[used], count)
        share = share / in_medium[photos.medium[used]]
        rows = dataset.with_crop()
        crop = np.searchsorted(rows, row[used])
        order = np.argsort(crop, kind="stable")
        there = _any(photos.template, count)
        return cls(
            rows,
            crop[order],
            photos.template[used][order],
            share[order],
            without_face=with_crop & ~with_face,
            without_crop=there & ~with_crop,
            failed=int(failed.sum()),
            no_face=int(no_face.sum()),
        )

    def one_crop_each(self, templates: NDArray[np.integer]) -> NDArray[np.int64]:
        """The manifest row of the crop that counts most in each of some IJB templates that have any."""
        order = np.lexsort((-self.share, self.template))
        first = order[np.searchsorted(self.template[order], templates)]
        return self.rows[self.crop[first]]


def photos_there(photos: TemplatePhotos, dataset: AlignedDataset) -> NDArray[np.bool_]:
    """(photos,) True for those that the data set holds.

    Raises:
        InputError: a name fits several of its photos.
    """
    there = pc.is_in(photos.names, value_set=_keys(dataset)).to_numpy()
    if there.all():
        return there
    found = names_of(dataset).rows_of(photos.names.to_pylist())
    return np.array([row is not None for row in found.values()])


def rows_of(photos: TemplatePhotos, dataset: AlignedDataset) -> NDArray[np.int64]:
    """(photos,) manifest rows, by whole keys where the data set has them all, which is fast.

    Raises:
        InputError: photos are missing, or a name fits several.
    """
    rows = pc.index_in(photos.names, value_set=_keys(dataset))
    if not rows.null_count:
        return rows.to_numpy().astype(np.int64)
    return find_rows(photos.names.to_pylist(), dataset)


def _keys(dataset: AlignedDataset) -> pa.Array:
    return dataset.columns(["photo"])["photo"].combine_chunks()


def _with_status(dataset: AlignedDataset, status: Status) -> NDArray[np.bool_]:
    return holds(dataset.columns(["status"])["status"], status)


def _any(template: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    return np.bincount(template, minlength=count) > 0


def _scores(
    photos: TemplatePhotos,
    dataset: AlignedDataset,
    row: NDArray[np.int64],
    *,
    weighed: NDArray[np.bool_],
    pooling: Pooling,
) -> NDArray[np.float64]:
    """(photos,) detector scores of the photos that are `weighed`; 1 for the others, or where none count."""
    scores = np.ones(len(row))
    if not pooling.by_score:
        return scores
    scores[weighed] = dataset.column("score")[row[weighed]]
    unknown = np.flatnonzero(~np.isfinite(scores))
    if len(unknown):
        raise InputError(
            "--pooling",
            f"{pooling.value} needs a detector score of every photo",
            got=f"none of {len(unknown):,} photos, such as {photos.names[int(unknown[0])]}",
            fix=f"Align the photos before they were cropped, or use --pooling "
            f"{(Pooling.NORM if pooling.by_norm else Pooling.MEAN).value}.",
        )
    return scores


def _where_all_are_zero(
    scores: NDArray[np.float64], template: NDArray[np.int32], count: int
) -> NDArray[np.float64]:
    """Scores, and 1 for the photos of an IJB template whose scores are all 0."""
    total = np.bincount(template, weights=scores, minlength=count)
    return np.where(total[template] > 0, scores, 1.0)
