"""Exact search: the people of a gallery who are most like each probe.

A person is as similar to a probe as the most similar of their entries. Blocks of similarities in float32 find
every entry that could be among the best; those are scored again in float64. So neither the size of the blocks
nor the device changes a result, and equal similarities stay in the gallery's order. faiss, where it is used,
lists entries in place of the blocks, and a list that may lack somebody is not used.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.progress import progress
from faceverif.identification.flat_index import PROBES, flat_index
from faceverif.similarities import COLUMNS, ROWS, alike, products

PERSON_RULE = (
    "a person is as similar to a probe as the most similar of their gallery entries; cosine similarity"
)

_ROUNDING = np.float32(6.2e-5)  # by which float32 may be wrong: 1024 terms, 2^-24 each
_SCORED_AT_ONCE = 65_536  # entries; 0.5 GB of 512 numbers in float64, for both sides
_OFF_UNIT = 1e-3


@dataclass(frozen=True)
class Gallery:
    """The people who are searched.

    Attributes:
        embeddings: (entries, dim) float32 unit vectors: the first entry of every person, then the second.
        person: (entries,) who each is: any numbers of 0 or more.
        entry: (entries,) where each stood in the order that the gallery was given in.
        people: how many different people there are.
    """

    embeddings: NDArray[np.float32]
    person: NDArray[np.int64]
    entry: NDArray[np.int64]
    people: int

    @classmethod
    def of(cls, embeddings: NDArray[np.floating], person: NDArray[np.int64]) -> Gallery:
        """A gallery of one or more entries.

        Args:
            embeddings: (entries, dim), one per photo or per IJB template; of length 1.
            person: (entries,) who each is: any numbers of 0 or more.

        Raises:
            InputError: there are none, or one is not finite or not of length 1.
        """
        if not len(person):
            raise InputError("gallery", "must hold somebody", got="no entry", fix="Add photos with a face.")
        unit = checked_unit(embeddings, field="gallery")
        _, first, number = np.unique(person, return_index=True, return_inverse=True)
        order = np.argsort(number, kind="stable")
        counts = np.bincount(number)
        nth = np.empty(len(order), np.int64)  # whether it is the first, second ... entry of its person
        nth[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        entry = np.argsort(nth, kind="stable")
        return cls(unit[entry], np.asarray(person, np.int64)[entry], entry, len(first))

    def __len__(self) -> int:
        return len(self.person)


class Candidates(NamedTuple):
    """The people who are most like each probe, best first.

    Attributes:
        person: (probes, count) who.
        entry: (probes, count) which of their entries is the most similar one, as the gallery was given.
        similarity: (probes, count) float64, falling.
    """

    person: NDArray[np.int64]
    entry: NDArray[np.int64]
    similarity: NDArray[np.float64]


class _Hits(NamedTuple):
    """Entries that some probes of a block may want, (hits,) each: probe, place in the gallery, similarity."""

    row: NDArray[np.int64]
    place: NDArray[np.int64]
    similarity: NDArray[np.float64]


_NO_HITS = _Hits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def search(probes: NDArray[np.floating], gallery: Gallery, *, count: int) -> Candidates:
    """The `count` people of a gallery who are most like each probe; all of them, if it holds fewer.

    Args:
        probes: (probes, dim) unit vectors.
        gallery: who is searched.
        count: at least 1.

    Raises:
        InputError: an embedding is not finite or not of length 1.
    """
    unit, count = checked_unit(probes, field="probes"), min(count, gallery.people)
    found, index = [_empty(count)], flat_index(gallery.embeddings, probes=len(unit))
    best, most = (_best, ROWS) if index is None else (partial(_listed, index=index), PROBES)
    parts = max(1, math.ceil(len(unit) / most))
    rows = max(1, math.ceil(len(unit) / parts))
    bar = progress("search", total=len(unit), unit="probes") if len(unit) > most else nullcontext(_unheard)
    with bar as advance:
        for start in range(0, len(unit), rows):
            part = unit[start : start + rows]
            found.append(best(part, gallery, count))
            advance(len(part), "")
    return Candidates(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def checked_unit(embeddings: NDArray[np.floating], *, field: str) -> NDArray[np.float32]:
    """Embeddings as the search needs them: float32 in one block of memory.

    Raises:
        InputError: one is not finite, or not of length 1.
    """
    lengths = np.linalg.norm(embeddings, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < _OFF_UNIT))
    if len(wrong):
        raise InputError(
            field,
            "must be embeddings that are finite and of length 1",
            got=f"length {lengths[wrong[0]]:g} in row {wrong[0]}, and {counted(len(wrong) - 1, 'other')}",
            fix="Normalise the rows; leave out photos that have no embedding.",
        )
    return np.ascontiguousarray(embeddings, np.float32)


def similarities(
    probes: NDArray[np.float32],
    entries: NDArray[np.float32],
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(pairs,) float64 similarity of pairs of a probe and an entry, each the same in any company."""
    scores = np.empty(len(rows))
    for start in range(0, len(rows), _SCORED_AT_ONCE):
        part = slice(start, start + _SCORED_AT_ONCE)
        left, right = (side.astype(np.float64) for side in (probes[rows[part]], entries[places[part]]))
        scores[part] = np.einsum("pd,pd->p", left, right)
    return np.clip(scores, -1, 1)


def _best(probes: NDArray[np.float32], gallery: Gallery, count: int) -> Candidates:
    kept = _NO_HITS
    floor = _first_floor(probes, gallery, count)
    for column in range(0, len(gallery), COLUMNS):
        block = gallery.embeddings[column : column + COLUMNS]
        rows, columns, _ = alike(probes, block, floor - _ROUNDING)
        if len(rows):
            hits = _Hits(rows, column + columns, similarities(probes, block, rows, columns))
            kept = _best_of(kept, hits, gallery, count)
            last = np.flatnonzero(_nth_of_row(kept.row) == count - 1)
            floor[kept.row[last]] = kept.similarity[last]
    return _candidates(kept, gallery, count)


def _listed(probes: NDArray[np.float32], gallery: Gallery, count: int, *, index: Any) -> Candidates:
    """The same, from the entries that an index lists; in blocks for probes whose list may be too short."""
    most = min(len(gallery), 2 * count * -(-len(gallery) // gallery.people))
    scores, places = index.search(probes, most)
    rows = np.repeat(np.arange(len(probes)), most)
    hits = _Hits(rows, places.ravel(), similarities(probes, gallery.embeddings, rows, places.ravel()))
    kept = _best_of(_NO_HITS, hits, gallery, count)
    last = np.full(len(probes), -np.inf)  # of `count` people; an entry outside the list must stay below it
    whole = _nth_of_row(kept.row) == count - 1
    last[kept.row[whole]] = kept.similarity[whole]
    sure = (last > scores[:, -1] + _ROUNDING) | ((most == len(gallery)) & (last > -np.inf))
    answer = _empty(count, rows=len(probes))
    for part, found in zip(answer, _candidates(_rows_of(kept, sure), gallery, count), strict=True):
        part[sure] = found
    if not sure.all():
        for part, found in zip(answer, _best(probes[~sure], gallery, count), strict=True):
            part[~sure] = found
    return answer


def _rows_of(hits: _Hits, chosen: NDArray[np.bool_]) -> _Hits:
    """The hits of some rows, (rows,) True."""
    those = chosen[hits.row]
    return _Hits(hits.row[those], hits.place[those], hits.similarity[those])


def _candidates(kept: _Hits, gallery: Gallery, count: int) -> Candidates:
    """From the hits of rows that have `count` of them each."""
    person, entry = gallery.person[kept.place], gallery.entry[kept.place]
    shape = (-1, count)
    return Candidates(person.reshape(shape), entry.reshape(shape), kept.similarity.reshape(shape))


def _first_floor(probes: NDArray[np.float32], gallery: Gallery, count: int) -> NDArray[np.float32]:
    """(probes,) at most what the last of the best people has, by entries of as many different people."""
    people = min(gallery.people, COLUMNS)
    if count > people:
        return np.full(len(probes), -np.inf, np.float32)
    first = products(probes, gallery.embeddings[:people])
    return np.partition(first, people - count, axis=1)[:, people - count] - _ROUNDING


def _best_of(kept: _Hits, new: _Hits, gallery: Gallery, count: int) -> _Hits:
    """For each probe the best entries of its best `count` people; equals in the gallery's order."""
    row, place, similarity = (np.concatenate(both) for both in zip(kept, new, strict=True))
    order = np.lexsort((gallery.entry[place], -similarity, row))
    if gallery.people < len(gallery):
        order = order[_first_of_person(row[order], gallery.person[place[order]])]
    best = order[_nth_of_row(row[order]) < count]
    return _Hits(row[best], place[best], similarity[best])


def _first_of_person(row: NDArray[np.int64], person: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions, rising, of the first hit of each person in each row."""
    order = np.lexsort((person, row))
    row, person = row[order], person[order]
    new = np.append(True, (np.diff(row) != 0) | (np.diff(person) != 0))
    return np.sort(order[new])


def _nth_of_row(row: NDArray[np.int64]) -> NDArray[np.int64]:
    """(hits,) which hit of its row each is, from 0; rows rise."""
    return np.arange(len(row)) - np.searchsorted(row, row)


def _unheard(_count: int, _note: str) -> None:
    """A search that is done at once tells nothing of its progress."""


def _empty(count: int, rows: int = 0) -> Candidates:
    shape = (rows, count)
    return Candidates(np.empty(shape, np.int64), np.empty(shape, np.int64), np.empty(shape))
