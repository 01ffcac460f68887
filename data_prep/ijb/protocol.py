"""IJB's 1:1 protocol: pairs of IJB templates, as integers, and whether they show the same person."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.file_hash import file_hash
from data_prep.ijb.fields import broken_row, read_fields
from data_prep.ijb.files import IjbFiles
from data_prep.ijb.sizes import SIZES, IjbSize
from data_prep.ijb.templates import TemplatePhotos, read_template_photos
from data_prep.titles import Titled

_RULE = "must be two numbers of IJB templates and 1 for the same person or 0, separated by single spaces"
_AT_ONCE = 2**20  # pairs


@dataclass(frozen=True)
class TemplatePairs:
    """Pairs of IJB templates.

    Attributes:
        left, right: (pairs,) int32, places of IJB templates.
        same: (pairs,) True for a genuine pair.
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    same: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.same)

    def part(self, kept: NDArray[np.bool_]) -> TemplatePairs:
        """Some of the pairs, (pairs,) True for those."""
        return TemplatePairs(self.left[kept], self.right[kept], self.same[kept])

    def repeated(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of pairs that stand before, in either order: with the same label, and with the other."""
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        pair = low.astype(np.int64) << 32 | high
        first, number = np.unique(pair, return_index=True, return_inverse=True)[1:]
        earlier = first[number]
        again = earlier != np.arange(len(self))
        agrees = self.same == self.same[earlier]
        return np.flatnonzero(again & agrees), np.flatnonzero(again & ~agrees)

    def with_any(self, templates: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(pairs,) True where either IJB template is one of these, (templates,)."""
        return np.asarray(templates[self.left] | templates[self.right])


@dataclass(frozen=True)
class TemplateProtocol(Titled):
    """The 1:1 protocol of IJB-B, of IJB-C, or of other lists in their form.

    Attributes:
        name: IJB-B, IJB-C, or how the names of the lists begin.
        photos: of every IJB template.
        pairs: of IJB templates.
        sha256: hash of both lists.
        reading: what was read, in words.
        partial: which part this is of the whole; None where it is whole or no whole is known.
    """

    name: str
    photos: TemplatePhotos
    pairs: TemplatePairs
    sha256: str
    reading: str
    partial: str | None = None

    @property
    def size(self) -> IjbSize:
        """What is there: photos, IJB templates that have any, and pairs."""
        genuine = int(self.pairs.same.sum())
        templates = len(np.unique(self.photos.template))
        return IjbSize(len(self.photos), templates, genuine, len(self.pairs) - genuine)

    def part(self, photos: NDArray[np.bool_]) -> TemplateProtocol:
        """Only some photos, and only the pairs whose IJB templates still have any; `partial` says so.

        Args:
            photos: (photos,) True for those.

        Raises:
            InputError: no genuine or no impostor pair is left.
        """
        left = self.photos.part(photos)
        empty = np.ones(len(left.ids), dtype=bool)
        empty[left.template] = False
        pairs = self.pairs.part(~self.pairs.with_any(empty))
        chosen = replace(self, photos=left, pairs=pairs)
        _refuse_one_sided("--data", pairs)
        whole = SIZES.get(self.name, self.size)
        return replace(chosen, partial=f"{chosen.size.text()}, of {whole.text()}")


def load_template_protocol(files: IjbFiles, *, allow_partial: bool = False) -> TemplateProtocol:
    """Read the lists of photos and of pairs.

    Args:
        files: where they lie.
        allow_partial: take lists of IJB-B or IJB-C that are not whole; `partial` then says so.

    Raises:
        InputError: a line is torn, a pair names an unknown IJB template or one twice, genuine or impostor
            pairs are missing, or the counts are not the benchmark's.
    """
    photos = read_template_photos(files.photos)
    pairs = _read_pairs(files.pairs, photos.ids, listed=files.photos)
    _refuse_one_sided(str(files.pairs), pairs)
    media = int(photos.medium.max()) + 1
    hashes = file_hash(files.photos) + file_hash(files.pairs)
    protocol = TemplateProtocol(
        files.name,
        photos,
        pairs,
        sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        reading=f"{len(photos):,} photos of {media:,} media in {len(photos.ids):,} IJB templates, "
        f"{len(pairs):,} pairs of them",
    )
    return _whole(files, protocol, allow_partial=allow_partial)


def places_of(
    path: Path, called: NDArray[np.int64], ids: NDArray[np.int64], *, listed: Path, header: int = 0
) -> NDArray[np.int32]:
    """Where numbers of IJB templates stand among the known ones.

    Args:
        path: the list that names them, one per row.
        called: (rows,).
        ids: (templates,) the known ones, rising.
        listed: the list of photos, for the message.
        header: lines above the first row.

    Raises:
        InputError: one is unknown, so it has no photo; names its line.
    """
    places = np.empty(len(called), np.int32)
    for start in range(0, len(called), _AT_ONCE):
        some = called[start : start + _AT_ONCE]
        found = np.minimum(np.searchsorted(ids, some), len(ids) - 1)
        unknown = np.flatnonzero(ids[found] != some)
        if len(unknown):
            row = start + int(unknown[0])
            rule = f"must name IJB templates that have a photo in {listed.name}"
            raise broken_row(path, row + header, rule=rule, got=f"the unknown IJB template {called[row]}")
        places[start : start + _AT_ONCE] = found
    return places


def _read_pairs(path: Path, ids: NDArray[np.int64], *, listed: Path) -> TemplatePairs:
    table = read_fields(path, dict.fromkeys(["left", "right", "label"], pa.int64()), rule=_RULE)
    label = table["label"].to_numpy()
    other = np.flatnonzero((label != 0) & (label != 1))
    if len(other):
        raise broken_row(path, int(other[0]), rule=_RULE)
    left, right = (places_of(path, table[name].to_numpy(), ids, listed=listed) for name in ("left", "right"))
    itself = np.flatnonzero(left == right)
    if len(itself):
        raise broken_row(path, int(itself[0]), rule="must be two different IJB templates")
    return TemplatePairs(left, right, label == 1)


def _refuse_one_sided(field: str, pairs: TemplatePairs) -> None:
    genuine = int(pairs.same.sum())
    if genuine in (0, len(pairs)):
        raise InputError(
            field,
            "must leave genuine and impostor pairs of IJB templates",
            got=f"{genuine:,} genuine and {len(pairs) - genuine:,} impostor pairs",
            fix="Use the whole list, and align all photos that it names.",
        )


def _whole(files: IjbFiles, protocol: TemplateProtocol, *, allow_partial: bool) -> TemplateProtocol:
    official, size = SIZES.get(protocol.name), protocol.size
    if official is None or size == official:
        return protocol
    if allow_partial and size.within(official):
        return replace(protocol, partial=f"{size.text()}, of {official.text()}")
    in_part = ", or use --allow-partial for numbers that are not comparable" if size.within(official) else ""
    raise InputError(
        str(files.folder),
        f"{protocol.name} has {official.text()}",
        got=size.text(),
        fix=f"Get complete copies of the lists{in_part}.",
    )
