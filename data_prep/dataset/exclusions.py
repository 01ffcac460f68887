"""A list of photos and identities that training leaves out, each with the reason and the evidence."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_prep.atomic import write_text
from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from data_prep.repeated_text import written_out
from data_prep.text_encoding import encoding_of

_FIX = "Correct it, or let `faceverif data audit` or `data pairs --hold-out` write it again."
_KINDS = ("photo", "identity")
_NAMED = 3  # how many of the unknown names the message lists


class Exclusion(NamedTuple):
    """A line of the list.

    Attributes:
        kind: photo or identity.
        name: as the manifest has it.
        reason: a stable word, such as `mislabelled`.
        score: the evidence as a number, such as a cosine similarity; None where there is none.
        evidence: the photo or identity that it was compared with; empty likewise.
    """

    kind: str
    name: str
    reason: str
    score: float | None = None
    evidence: str = ""


def write_exclusions(path: Path, exclusions: Iterable[Exclusion], *, warnings: Iterable[str] = ()) -> None:
    """Write the list as a CSV, whole or not at all; warnings become its first lines, after a `#`."""
    text = io.StringIO()
    text.writelines(f"# warning: {warning}\n" for warning in warnings)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Exclusion._fields)
    for line in exclusions:
        score = "" if line.score is None else f"{line.score:.4f}"
        writer.writerow([*line[:3], score, line.evidence])
    write_text(path, text.getvalue())


@dataclass(frozen=True)
class ExclusionList:
    """What a list names.

    Attributes:
        path: the CSV.
        sha256: of the file.
        photos: names of photos.
        identities: names of identities.
    """

    path: Path
    sha256: str
    photos: frozenset[str]
    identities: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> ExclusionList:
        """Read a list that `write_exclusions` or a person wrote; only its columns `kind` and `name` count.

        Lines above the header that begin with `#` are notes.

        Raises:
            InputError: no such file, no CSV with these columns, or a line that names neither a photo nor an
                identity.
        """
        if not path.is_file():
            raise InputError(
                "data.exclude",
                "must be a list of photos and identities to leave out",
                got=path,
                fix="`faceverif data audit` writes one, and so does `faceverif data pairs --hold-out`.",
            )
        with read_guarded("data.exclude", "must be a readable list", got=path, fix=_FIX):
            data = path.read_bytes()
            names = list(_names(path, data))
        photos, identities = (frozenset(name for listed, name in names if listed == kind) for kind in _KINDS)
        return cls(path, hashlib.sha256(data).hexdigest(), photos, identities)

    def kept(self, dataset: AlignedDataset) -> NDArray[np.bool_]:
        """(rows,) False for the rows of a data set that the list leaves out.

        Raises:
            InputError: the list names a photo or an identity that the data set does not have.
        """
        photos = self._named(dataset, "photo", self.photos)
        return ~(photos | self._named(dataset, "identity", self.identities))

    def _named(self, dataset: AlignedDataset, kind: str, names: frozenset[str]) -> NDArray[np.bool_]:
        """(rows,) whether the list names a row's photo or identity."""
        column = written_out(dataset.table.select([kind]))[kind]
        named = pc.is_in(column, pa.array(sorted(names), pa.string()))
        self._refuse_unknown(kind, names - set(column.filter(named).unique().to_pylist()))
        return named.to_numpy()

    def described(self) -> dict[str, Any]:
        """Which list; JSON-able, for provenance and results."""
        return {"sha256": self.sha256, "photos": len(self.photos), "identities": len(self.identities)}

    def _refuse_unknown(self, kind: str, unknown: frozenset[str]) -> None:
        if unknown:
            some = ", ".join(sorted(unknown)[:_NAMED])
            raise InputError(
                "data.exclude",
                f"every {kind} that it names must be in data.path",
                got=f"{len(unknown):,} that are not, such as {some} ({self.path})",
                fix="Take the list that was made for these data.",
            )


def exclusions_text(described: Mapping[str, Any] | str | None) -> str:
    """Whether a model's training left out what a list names, in words.

    Args:
        described: as `ExclusionList.described` has it; None: there was no list; a text: why it is unknown.
    """
    if described is None:
        return "no exclusion list applied"
    if isinstance(described, str):
        return f"exclusion list {described}"
    return (
        f"exclusion list applied: {counted(described['photos'], 'photo')} and "
        f"{counted(described['identities'], 'identity')}, sha256 {described['sha256'][:12]}"
    )


def _names(path: Path, data: bytes) -> Iterator[tuple[str, str]]:
    """(kind, name) of each line."""
    try:
        rows = list(io.StringIO(data.decode(encoding_of(data)), newline=""))
        notes = len(list(takewhile(lambda row: row.startswith("#"), rows)))
        lines = csv.DictReader(rows[notes:], strict=True)
        if not {"kind", "name"} <= set(lines.fieldnames or ()):
            raise _broken(path, notes + 1, ",".join(lines.fieldnames or ()))
        for line in lines:
            if line["kind"] not in _KINDS or not line["name"]:
                raise _broken(path, notes + lines.line_num, f"{line['kind']},{line['name']}")
            yield line["kind"], line["name"]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _broken(path, 1, error) from error


def _broken(path: Path, number: int, got: object) -> InputError:
    return InputError(
        f"{path}, line {number}",
        "must be a CSV in UTF-8 with the columns kind (photo or identity) and name; others are allowed",
        got=got,
        fix=_FIX,
    )
