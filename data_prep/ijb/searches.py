"""IJB's 1:N protocol: two galleries of IJB templates with their people, and probes of IJB templates.

The lists are those of the benchmarks (`ijbc_1N_gallery_G1.csv`, `ijbc_1N_gallery_G2.csv`,
`ijbc_1N_probe_mixed.csv`; IJB-B's galleries are called S1 and S2): a CSV with a row per photo, whose columns
TEMPLATE_ID and SUBJECT_ID count here. Which photos an IJB template has, the list of photos says. The people
of the two galleries differ, so a probe of one gallery's person is a stranger to the other.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as columns_of_csv

from data_prep.errors import InputError
from data_prep.ijb.fields import broken_row
from data_prep.ijb.files import IjbFiles
from data_prep.ijb.protocol import places_of
from data_prep.ijb.templates import TemplatePhotos, read_template_photos
from data_prep.titles import Titled

_COLUMNS = ("TEMPLATE_ID", "SUBJECT_ID")
_RULE = f"must have whole numbers in the columns {' and '.join(_COLUMNS)}, and as many fields as its header"
# IJB templates of both galleries and of the probes, as evaluation logs count them (insightface, pull requests
# 1349 and 1364).
_SIZES = {"IJB-B": (1_845, 10_270), "IJB-C": (3_531, 19_593)}


@dataclass(frozen=True)
class TemplateList:
    """IJB templates and who they show.

    Attributes:
        name: G1, G2, or probes.
        template: (templates,) int32, places among the IJB templates, each once.
        subject: (templates,) int64, number of the person.
    """

    name: str
    template: NDArray[np.int32]
    subject: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.template)

    def within(self, there: NDArray[np.bool_]) -> TemplateList:
        """Those of which (all IJB templates,) says so."""
        kept = there[self.template]
        return replace(self, template=self.template[kept], subject=self.subject[kept])


@dataclass(frozen=True)
class SearchProtocol(Titled):
    """The 1:N protocol of IJB-B, of IJB-C, or of other lists in their form.

    Attributes:
        name: IJB-B, IJB-C, or how the names of the lists begin.
        photos: of every IJB template.
        galleries: G1 and G2.
        probes: what is searched in each.
        sha256: hash of all four lists.
        partial: which part this is of the whole; None where it is whole or no whole is known.
    """

    name: str
    photos: TemplatePhotos
    galleries: tuple[TemplateList, ...]
    probes: TemplateList
    sha256: str
    partial: str | None = None

    @property
    def reading(self) -> str:
        """What there is, in words."""
        galleries = ", ".join(f"{len(each):,} IJB templates in {each.name}" for each in self.galleries)
        return f"{galleries}, {len(self.probes):,} probes"

    def part(self, photos: NDArray[np.bool_]) -> SearchProtocol:
        """Only some photos, (photos,) True for those, and the IJB templates that still have any."""
        left = self.photos.part(photos)
        there = np.bincount(left.template, minlength=len(left.ids)) > 0
        galleries = tuple(each.within(there) for each in self.galleries)
        chosen = replace(self, photos=left, galleries=galleries, probes=self.probes.within(there))
        return replace(chosen, partial=f"{chosen.reading}; the whole has {self.reading}")


def load_search_protocol(files: IjbFiles, *, allow_partial: bool = False) -> SearchProtocol:
    """Read the lists of photos, galleries and probes.

    Args:
        files: where they lie.
        allow_partial: take lists of IJB-B or IJB-C that are not whole; `partial` then says so.

    Raises:
        InputError: a list is missing, a line is torn, an IJB template has no photo, two people, or stands in
            a gallery and among the probes, or the counts are not the benchmark's.
    """
    photos = read_template_photos(files.photos)
    paths = [_first_there(files, names) for names in (("G1", "S1"), ("G2", "S2"))]
    probe_path = files.folder / f"{files.prefix}_1N_probe_mixed.csv"
    galleries = tuple(
        _read(path, photos, name=f"G{number}", listed=files.photos) for number, path in enumerate(paths, 1)
    )
    probes = _read(probe_path, photos, name="probes", listed=files.photos)
    for gallery, path in zip(galleries, paths, strict=True):
        _refuse_shared(gallery, probes, photos, field=f"{path} and {probe_path.name}")
    digests = [hashlib.sha256(each.read_bytes()).digest() for each in (files.photos, *paths, probe_path)]
    protocol = SearchProtocol(
        files.name, photos, galleries, probes, hashlib.sha256(b"".join(digests)).hexdigest()
    )
    return _whole(files, protocol, allow_partial=allow_partial)


def _first_there(files: IjbFiles, names: Sequence[str]) -> Path:
    paths = [files.folder / f"{files.prefix}_1N_gallery_{name}.csv" for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def _read(path: Path, photos: TemplatePhotos, *, name: str, listed: Path) -> TemplateList:
    called, subject = _two_columns(path)
    _, first, place = np.unique(called, return_index=True, return_inverse=True)
    other = np.flatnonzero(subject != subject[first][place])
    if len(other):
        row = int(other[0])
        got = f"{subject[row]}, after {subject[first][place[row]]} for IJB template {called[row]}"
        raise broken_row(path, row + 1, rule="must name one SUBJECT_ID per IJB template", got=got)
    places = places_of(path, called, photos.ids, listed=listed, header=1)
    return TemplateList(name, places[first], subject[first])


def _two_columns(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(photos,) IJB template and person of each row."""
    if not path.is_file():
        raise InputError(
            str(path),
            "must be there for a search, beside the other lists",
            got="no such file",
            fix="Copy the galleries and probes of the benchmark there.",
        )
    options = columns_of_csv.ConvertOptions(
        include_columns=_COLUMNS, column_types=dict.fromkeys(_COLUMNS, pa.int64()), null_values=[]
    )
    try:
        table = columns_of_csv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _broken(path) from error
    if not len(table):
        raise InputError(str(path), "must hold IJB templates", got="none", fix="Get a complete copy of it.")
    template, subject = (table[name].to_numpy() for name in _COLUMNS)
    negative = np.flatnonzero((template < 0) | (subject < 0))
    if len(negative):
        raise broken_row(path, int(negative[0]) + 1, rule=_RULE)
    return template, subject


def _broken(path: Path) -> InputError:
    """The error for the first row that does not fit the header, or for the header."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if not set(_COLUMNS) <= set(header):
            rule = f"must open with a header that names {' and '.join(_COLUMNS)}"
            return InputError(str(path), rule, got=repr(",".join(header)[:120]), fix="Get a complete copy.")
        places = [header.index(name) for name in _COLUMNS]
        for fields in reader:
            fits = len(fields) == len(header) and all(fields[place].strip().isdecimal() for place in places)
            if fields and not fits:
                got, field = repr(",".join(fields)[:120]), f"{path}, line {reader.line_num:,}"
                return InputError(field, _RULE, got=got, fix="Get a complete copy of the list.")
    return InputError(str(path), _RULE, got="another form of CSV", fix="Get a complete copy of the list.")


def _refuse_shared(
    gallery: TemplateList, probes: TemplateList, photos: TemplatePhotos, *, field: str
) -> None:
    shared = np.intersect1d(gallery.template, probes.template)
    if len(shared):
        raise InputError(
            field,
            "must share no IJB template",
            got=f"{len(shared):,}, such as {photos.ids[shared[0]]}",
            fix="Get complete copies of the lists: a probe that is in the gallery finds itself.",
        )


def _whole(files: IjbFiles, protocol: SearchProtocol, *, allow_partial: bool) -> SearchProtocol:
    official = _SIZES.get(protocol.name)
    size = sum(map(len, protocol.galleries)), len(protocol.probes)
    if official is None or size == official:
        return protocol
    whole = f"{official[0]:,} IJB templates in both galleries and {official[1]:,} probes"
    fewer = size[0] <= official[0] and size[1] <= official[1]
    if allow_partial and fewer:
        return replace(protocol, partial=f"{protocol.reading}, of {whole}")
    in_part = ", or use --allow-partial for numbers that are not comparable" if fewer else ""
    raise InputError(
        str(files.folder),
        f"{protocol.name} has {whole}",
        got=protocol.reading,
        fix=f"Get complete copies of the lists{in_part}.",
    )
