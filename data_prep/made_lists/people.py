"""The people of an aligned set, and the photos of each that a list may name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.repeated_text import holds
from data_prep.sources.base import Skipped

_AT_ONCE = 2**16  # photos
_SHORT = 12  # letters of a hash for people
_HASH_LETTERS = 16  # of a crop's hash: 64 bits tell millions of photos apart in a quarter of the memory


@dataclass(frozen=True)
class People:
    """Who may stand in a list. Nothing depends on the order of the manifest's rows.

    Attributes:
        names: identities, sorted.
        photos: keys, by person and then by name.
        first: (people + 1,) where each person's photos begin in `photos`.
        left_out: photos that no list may name, with the reasons.
    """

    names: tuple[str, ...]
    photos: pa.Array
    first: NDArray[np.int64]
    left_out: Skipped

    @classmethod
    def of(cls, dataset: AlignedDataset) -> People:
        """The people of a data set.

        A photo without a detected face may be named, as in every protocol. Left out are photos without an
        identity or without a crop, and copies: of two equal crops of a person the first stays, of those that
        stand under several people none.

        Raises:
            InputError: no photo is left.
        """
        left_out = Skipped()
        table = _sorted_rows(dataset)
        for reason, mask_of in _REASONS.items():
            mask = mask_of(table)
            for photo in table["photo"].filter(pa.array(mask)).to_pylist():
                left_out.add(photo, reason)
            table = table.filter(pa.array(~mask))
        if not len(table):
            raise InputError(
                "ALIGNED",
                "must hold photos of people with a name",
                got=f"{dataset.root}, {left_out.text() or 'without photos'}",
                fix="Put the photos into a folder per person, and align that.",
            )
        runs = pc.run_end_encode(table["identity"].combine_chunks())
        first = np.concatenate([[0], runs.run_ends.to_numpy()]).astype(np.int64)
        return cls(tuple(runs.values.to_pylist()), table["photo"].combine_chunks(), first, left_out)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(people,) photos of each."""
        return np.diff(self.first)

    def photo(self, person: int, number: int) -> str:
        """The key of a person's photo, counted from 0."""
        return str(self.photos[int(self.first[person]) + number].as_py())

    def part(self, members: NDArray[np.int64]) -> People:
        """Some of the people, by number, with all their photos."""
        counts = self.counts[members]
        rows = [np.arange(self.first[member], self.first[member + 1]) for member in members.tolist()]
        photos = self.photos.take(pa.array(np.concatenate(rows)))
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return People(tuple(self.names[member] for member in members.tolist()), photos, first, self.left_out)

    def text(self) -> str:
        """How many there are."""
        return f"{counted(len(self.photos), 'photo')} of {counted(len(self.names), 'person')}"

    def stated(self) -> str:
        """How many there are, and a hash of their names, for a list made of them."""
        return f"{self.text()}, whose names have the sha256 {self._sha256()[:_SHORT]}"

    def left_out_text(self) -> list[str]:
        """A line on the photos that no list names; none where there are none."""
        return [f"left out: {self.left_out.text()}"] if self.left_out else []

    def _sha256(self) -> str:
        """Hash of the people and their photos, by name."""
        digest = hashlib.sha256()
        person = np.repeat(np.arange(len(self.names)), self.counts)
        for start in range(0, len(self.photos), _AT_ONCE):
            photos = self.photos.slice(start, _AT_ONCE).to_pylist()
            numbers = person[start : start + _AT_ONCE].tolist()
            lines = (
                f"{self.names[number]}\t{photo}\n" for number, photo in zip(numbers, photos, strict=True)
            )
            digest.update("".join(lines).encode())
        return digest.hexdigest()


def _sorted_rows(dataset: AlignedDataset) -> pa.Table:
    """Photo, identity, crop hash and whether it failed, by identity and photo; rows without identity last."""
    table = dataset.columns(["photo", "identity", "crop_sha256"])
    photo, identity = (table[name].cast(pa.large_string()) for name in ("photo", "identity"))
    crop = pc.utf8_slice_codeunits(table["crop_sha256"], 0, _HASH_LETTERS)
    failed = pa.array(holds(dataset.columns(["status"])["status"], Status.FAILED))
    names = ["photo", "identity", "crop", "failed"]
    rows = pa.table([photo, identity, crop, failed], names=names)
    return rows.sort_by([("identity", "ascending"), ("photo", "ascending")]).combine_chunks()


def _under_several_people(table: pa.Table) -> NDArray[np.bool_]:
    crop, person = _numbers(table, "crop"), _numbers(table, "identity")
    known = crop >= 0
    lowest, highest = (np.full(int(crop.max(initial=-1)) + 1, start) for start in (len(table), -1))
    np.minimum.at(lowest, crop[known], person[known])
    np.maximum.at(highest, crop[known], person[known])
    return known & (lowest[crop] != highest[crop]) if known.any() else known


def _repeated(table: pa.Table) -> NDArray[np.bool_]:
    crop = _numbers(table, "crop")
    copies = np.ones(len(crop), dtype=bool)
    copies[np.unique(crop, return_index=True)[1]] = False
    return copies & (crop >= 0)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """(rows,) which of the column's texts a row has; -1 for none."""
    encoded = table[name].combine_chunks().dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


# One after the other, each of the rows that the earlier ones left.
_REASONS: dict[str, Callable[[pa.Table], NDArray[np.bool_]]] = {
    "no_crop": lambda table: table["failed"].to_numpy(),
    "no_identity": lambda table: table["identity"].is_null().to_numpy(),
    "same_crop_under_several_people": _under_several_people,
    "copy": _repeated,
}
