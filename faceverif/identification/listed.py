"""The photos of an identification protocol in a data set, and what the search gets of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.protocols import find_rows
from data_prep.protocols.identification import IdentificationProtocol, refuse_repeated, refuse_shared
from faceverif.models.embedder import NotFiniteError, ZeroEmbeddingError
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.scoring import normalised

NO_CROP_RULE = (
    "a photo that could not be read is neither searched nor enrolled. A mated probe is a miss at every rank "
    "and threshold if it could not be read, or if no gallery photo of its person could. A stranger's probe "
    "that could not be read names nobody"
)

_AT_ONCE = 65_536  # embeddings that are normalised in float64


@dataclass(frozen=True)
class ListedPhotos:
    """The photos of one list.

    Attributes:
        rows: (photos,) manifest rows.
        no_face: (photos,) True for a centre crop.
        no_crop: (photos,) True where there is no picture at all.
    """

    rows: NDArray[np.int64]
    no_face: NDArray[np.bool_]
    no_crop: NDArray[np.bool_]

    @property
    def with_face(self) -> NDArray[np.bool_]:
        """(photos,) True where a face was found."""
        return ~self.no_face & ~self.no_crop


def find_listed(
    protocol: IdentificationProtocol, dataset: AlignedDataset
) -> tuple[ListedPhotos, ListedPhotos]:
    """The photos of the gallery and the probes.

    Raises:
        InputError: the data set lacks some, two names of a list are one photo, a photo is in both lists, or
            no photo of a list has a crop.
    """
    gallery, probes = protocol.gallery, protocol.probes
    rows = find_rows([*gallery.photos, *probes.photos], dataset)
    enrolled, searched = rows[: len(gallery)], rows[len(gallery) :]
    status = dataset.column("status")
    for photos, places in ((gallery, enrolled), (probes, searched)):
        if len(np.unique(places)) < len(places):
            refuse_repeated(dataset.photos(places), field=photos.field)
        if (status[places] == Status.FAILED.value).all():
            raise InputError(
                photos.field,
                "must name at least one photo that has a crop",
                got=f"{counted(len(places), 'photo')} without a crop",
                fix="See the reasons in the manifest of --data, and align readable photos.",
            )
    if len(np.intersect1d(enrolled, searched)):
        refuse_shared(dataset.photos(enrolled), dataset.photos(searched), field=probes.field)
    return _listed(enrolled, status), _listed(searched, status)


def _listed(rows: NDArray[np.int64], status: NDArray[np.object_]) -> ListedPhotos:
    return ListedPhotos(rows, status[rows] == Status.NO_FACE.value, status[rows] == Status.FAILED.value)


def unit_embeddings(
    embedded: EmbeddedPhotos, photos: ListedPhotos
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Embeddings of length 1 of the photos that have one, and (photos,) which these are.

    A photo without a crop has none, nor has one whose embedding is zero.
    """
    usable = ~photos.no_crop
    unit, usable[usable] = units_of(embedded, photos.rows[usable])
    return unit, usable


def units_of(
    embedded: EmbeddedPhotos, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Embeddings of length 1 of the manifest rows that have one, and (rows,) which these are.

    Raises:
        NoEmbeddingError: the embeddings of all of them are zero or NaN.
    """
    unit = unit_rows(embedded.of(rows))
    there = np.asarray(unit.any(axis=1) & ~np.isnan(unit).any(axis=1))
    if not there.any():
        kind = NotFiniteError if np.isnan(unit).any() else ZeroEmbeddingError
        raise kind(embedded.embedder, np.arange(len(rows)), embedded.dataset.photos(rows))
    return unit[there], there


def unit_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """(rows, dim) of length 1, computed in float64; a zero row stays zero."""
    unit = np.empty(embeddings.shape, np.float32)
    for start in range(0, len(unit), _AT_ONCE):
        unit[start : start + _AT_ONCE] = normalised(embeddings[start : start + _AT_ONCE])
    return unit


def copies(gallery: ListedPhotos, probes: ListedPhotos, dataset: AlignedDataset) -> int:
    """How many probes have the bytes of a gallery photo, under another name."""
    content = dataset.columns(["sha256"])["sha256"].combine_chunks().dictionary_encode()
    number = content.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    searched = number[probes.rows]
    return int(np.isin(searched[searched >= 0], number[gallery.rows]).sum())
