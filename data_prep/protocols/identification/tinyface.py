"""TinyFace as its authors publish it: Cheng, Zhu and Gong (2018), "Low-Resolution Face Recognition".

`Testing_Set/` holds the photos of `Gallery_Match`, `Gallery_Distractor` and `Probe`. Two MATLAB files name
the photos of the first and the last with their people: gallery_set and gallery_ids, probe_set and probe_ids.
The people on the distractors are unknown, and no list names these photos: those in the folder count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.errors import InputError
from data_prep.file_hash import joint_hash
from data_prep.inside import refuse_name_outside
from data_prep.own_files import read_guarded
from data_prep.picture_formats import is_picture_file
from data_prep.protocols.identification.base import IdentificationFormat, IdentificationProtocol, PhotoList
from data_prep.walk import walk_files

_GALLERY, _PROBES = "gallery_match_img_ID_pairs.mat", "probe_img_ID_pairs.mat"
_DISTRACTORS = "Gallery_Distractor"
_WHERE = (".", "Testing_Set", "tinyface/Testing_Set")
_FIX = "Get TinyFace's Testing_Set again, as its authors publish it."


class _Size(NamedTuple):
    """Photos of each kind."""

    gallery: int
    probes: int
    distractors: int


_OFFICIAL = _Size(4_443, 3_728, 153_428)


def _folder_of(folder: Path) -> Path | None:
    places = (folder / below for below in _WHERE)
    return next((place for place in places if (place / _GALLERY).is_file()), None)


def _recognises(folder: Path) -> bool:
    return _folder_of(folder) is not None


def _load(folder: Path) -> IdentificationProtocol:
    root = _folder_of(folder) or folder
    photos, people = _read_mat(root / _GALLERY, "gallery", below="Gallery_Match")
    probes, wanted = _read_mat(root / _PROBES, "probe", below="Probe")
    _refuse_unmated(root, people, wanted)
    distractors = _distractors(root)
    size = _Size(len(photos), len(probes), len(distractors))
    return IdentificationProtocol(
        "tinyface",
        PhotoList((*photos, *distractors), (*people, *[""] * len(distractors)), str(root / _GALLERY)),
        PhotoList(tuple(probes), tuple(wanted), str(root / _PROBES)),
        joint_hash(root / _GALLERY, root / _PROBES),
        f"TinyFace's lists, and the {len(distractors):,} photos in {_DISTRACTORS}, each a person of its own",
        partial=_partial(size),
    )


def _read_mat(path: Path, kind: str, *, below: str) -> tuple[list[str], list[str]]:
    """Photos, with the folder that they lie in, and their people."""
    from scipy.io import loadmat  # it is slow to import

    if not path.is_file():
        raise InputError(str(path), "must lie beside the other list", got="no such file", fix=_FIX)
    with read_guarded(str(path), "must be a list of TinyFace", got=path, fix=_FIX):
        content = loadmat(str(path), variable_names=[f"{kind}_set", f"{kind}_ids"])
        names = [_text(cell) for cell in np.ravel(content[f"{kind}_set"])]
        ids = [str(int(number)) for number in np.ravel(content[f"{kind}_ids"])]
        if len(names) != len(ids):
            raise ValueError(f"{len(names)} photos and {len(ids)} people")
    return [f"{below}/{refuse_name_outside(name, field=str(path))}" for name in names], ids


def _text(cell: object) -> str:
    """A cell of a MATLAB file is text in arrays of one element."""
    while isinstance(cell, np.ndarray):
        cell = cell.item()
    return str(cell)


def _refuse_unmated(root: Path, people: Sequence[str], wanted: Sequence[str]) -> None:
    missing = sorted(set(wanted) - set(people), key=int)
    if missing:
        raise InputError(
            str(root / _PROBES),
            "every probe of TinyFace shows a person of the gallery",
            got=f"person {missing[0]}, whom {_GALLERY} does not name",
            fix=_FIX,
        )


def _distractors(root: Path) -> list[str]:
    folder = root / _DISTRACTORS
    if not folder.is_dir():
        raise InputError(
            str(folder), "must hold the photos of unknown people", got="no such folder", fix=_FIX
        )
    return [
        f"{_DISTRACTORS}/{path.relative_to(folder).as_posix()}"
        for path in walk_files(folder)
        if is_picture_file(path)
    ]


def _partial(size: _Size) -> str | None:
    if size == _OFFICIAL:
        return None
    return ", ".join(
        f"{here:,} of {whole:,} {kind}"
        for here, whole, kind in zip(
            size, _OFFICIAL, ("gallery photos", "probes", "distractors"), strict=True
        )
    )


FORMAT = IdentificationFormat(f"TinyFace's Testing_Set with {_GALLERY} and {_PROBES}", _recognises, _load)
