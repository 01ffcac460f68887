"""Looking a data set over: what it is, whether it is whole, and what in it is broken."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.crops import decode_crop, is_missing
from data_prep.dataset.manifest import JOURNAL_NAME, MANIFEST_NAME, AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.fetching.known_sets import CASIA, CASIA_PACK, CELEBA, CFP, KNOWN_SETS, LFW, KnownSet
from data_prep.photos import PhotoError, decode_photo
from data_prep.progress import progress
from data_prep.protocols import FORMATS as PROTOCOL_FORMATS
from data_prep.protocols import load_protocol
from data_prep.sources import FORMATS as SOURCE_FORMATS
from data_prep.sources import SourcePhoto, celeba, cfp, folder, insightface_bin, recordio
from data_prep.sources.base import FilePhoto, SourceFormat
from data_prep.sources.idx import Part, has_idx_files, read_idx_images
from data_prep.sources.picture_tar import read_pictures

_SAMPLED = 200
_NAMED = 3
# Reasons known from the listing that mean damage, not that a photo is no part.
_DAMAGED = {"damaged_record", "damaged_json"}
_LFW_PHOTO = re.compile(r"([^/]+)/\1_\d{4}\.jpg")
_LFW_IDENTITY = "George_W_Bush"  # whose 530 photos nobody leaves out
_CASIA_PHOTO = re.compile(r"\d{7}/\d{3}\.jpg")
_PAIR_LISTS = ("pairs.txt", "Protocol/Split/FF", "Protocol/Split/FP")

_Item = TypeVar("_Item")


@dataclass
class CheckReport:
    """What was found.

    Attributes:
        path: what was looked over.
        kind: what it is.
        facts: lines that are in order.
        problems: lines that are not.
    """

    path: Path
    kind: str
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing or broken, as far as was looked."""
        return not self.problems

    def text(self) -> str:
        """Some lines for the user."""
        lines = [f"{self.path}: {self.kind}", *(f"  {fact}" for fact in self.facts)]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        return "\n".join([*lines, "whole" if self.whole else "not whole"])

    def count(self, what: str, names: Sequence[str]) -> None:
        """Note a problem that some named things have; nothing where none has it."""
        if names:
            more = ", ..." if len(names) > _NAMED else ""
            self.problems.append(f"{len(names):,} {what}: {', '.join(names[:_NAMED])}{more}")


class _Kind(NamedTuple):
    """A kind of data set: its name, how it is recognised, and how it is looked over."""

    name: str
    recognises: Callable[[Path], bool]
    examine: Callable[[Path, CheckReport, bool], None]


def check(path: Path, *, every: bool = False) -> CheckReport:
    """Look a data set, an aligned one or a list of pairs over; nothing is changed.

    Args:
        path: anything that `align`, `verify`, `classify` or `train` reads.
        every: decode every photo, not a sample.

    Raises:
        InputError: nothing is there, or nothing of a known kind.
    """
    if not path.exists():
        raise InputError("PATH", "must be a data set or a list of pairs", got=path, fix="Check the path.")
    kind = next((kind for kind in _kinds() if kind.recognises(path)), None)
    if kind is None:
        raise InputError(
            "PATH",
            f"must be one of: {'; '.join(kind.name for kind in _kinds())}",
            got=path,
            fix="Check the path.",
        )
    report = CheckReport(path, kind.name)
    try:
        kind.examine(path, report, every)
    except InputError as error:  # what makes a reader refuse it is what is broken
        report.problems.append(str(error))
    return report


def _kinds() -> Iterator[_Kind]:
    """Every kind, the most particular first: a folder may be any, a folder per identity is what is left."""
    yield _Kind("an aligned data set", lambda path: (path / MANIFEST_NAME).is_file(), _examine_aligned)
    yield _Kind("an alignment begun", lambda path: (path / JOURNAL_NAME).is_file(), _examine_begun)
    yield _Kind("MNIST's idx files", has_idx_files, _examine_idx)
    for protocol in PROTOCOL_FORMATS:
        if protocol.recognises is not insightface_bin.is_bin:  # also a source, and more as one
            yield _Kind(protocol.description, protocol.recognises, _examine_protocol)
    for source in SOURCE_FORMATS:
        if source is not folder.FORMAT:
            yield _Kind(source.description, source.recognises, _examine_source(source))
    yield _Kind("a tar of pictures in train/ and test/", _is_tar, _examine_pictures)
    yield _Kind(folder.FORMAT.description, folder.FORMAT.recognises, _examine_source(folder.FORMAT))


# --- sources of photos


def _examine_source(source: SourceFormat) -> Callable[[Path, CheckReport, bool], None]:
    def examine(path: Path, report: CheckReport, every: bool) -> None:
        photos, skipped = source.list_photos(path)
        usable = [photo for photo in photos if photo.refused is None]
        identities = {photo.identity for photo in usable if photo.identity is not None}
        of = f"of {len(identities):,} identities" if identities else "whose identities it does not say"
        report.facts.append(f"{len(usable):,} photos {of}")
        _report_refused(photos, report)
        if len(skipped):
            report.facts.append(skipped.text())
        _compare(_known_set(source, path, photos), photos=len(usable), identities=len(identities), to=report)
        if source is celeba.FORMAT:
            report.count("photos that the identity file names are missing", celeba.missing_photos(path))
        _report_pair_lists(path, usable, report)
        _decode(usable, report, every=every)
        if source is insightface_bin.FORMAT:
            _examine_protocol(path, report, every)

    return examine


def _report_refused(photos: Iterable[SourcePhoto], report: CheckReport) -> None:
    refused: defaultdict[str, list[str]] = defaultdict(list)
    for photo in photos:
        if photo.refused is not None:
            refused[photo.refused].append(photo.key)
    for reason, keys in refused.items():
        if reason in _DAMAGED:
            report.count(f"photos cannot be used ({reason})", keys)
        else:
            report.facts.append(f"{len(keys):,} files beside them are no part of it ({reason})")


def _known_set(source: SourceFormat, path: Path, photos: Sequence[SourcePhoto]) -> KnownSet | None:
    """Which of the field's sets this is a copy of, told by its layout."""
    if source in (celeba.FORMAT, cfp.FORMAT):
        return CELEBA if source is celeba.FORMAT else CFP
    identities = {photo.identity for photo in photos if photo.identity is not None}
    if source is recordio.FORMAT:
        return CASIA_PACK if len(identities) == CASIA_PACK.identities else None
    if source is folder.FORMAT and _LFW_IDENTITY in identities and _all_like(_LFW_PHOTO, photos):
        return LFW
    is_casia = source is folder.FORMAT and len(identities) > 1000 and _all_like(_CASIA_PHOTO, photos)
    return CASIA if is_casia else None


def _all_like(pattern: re.Pattern[str], photos: Iterable[SourcePhoto]) -> bool:
    return all(pattern.fullmatch(photo.key) for photo in photos if photo.identity is not None)


def _compare(known: KnownSet | None, *, photos: int, identities: int, to: CheckReport) -> None:
    """The counts beside those of a whole copy."""
    if known is None:
        to.facts.append("no set with known counts: nothing to compare them with")
    elif (photos, identities) == (known.photos, known.identities):
        to.facts.append(f"as many as {known.title} has")
    else:
        to.problems.append(f"{known.title} has {known.size_text()}: this is not all of it")


def _report_pair_lists(path: Path, photos: Sequence[SourcePhoto], report: CheckReport) -> None:
    """For each list of pairs that came along, whether its photos are there."""
    keys = {photo.key for photo in photos}
    keys |= {key.rpartition(".")[0] for key in keys}
    for place in (place / name for place in (path, path.parent) for name in _PAIR_LISTS):
        if place.exists():
            protocol = load_protocol(place, allow_partial=True)
            pairs = zip(protocol.left, protocol.right, strict=True)
            there = sum(left in keys and right in keys for left, right in pairs)
            line = f"{place.name}: both photos of {there:,} of {len(protocol):,} pairs are there"
            (report.facts if there == len(protocol) else report.problems).append(line)


def _decode(photos: Sequence[SourcePhoto], report: CheckReport, *, every: bool) -> None:
    empty = [photo for photo in photos if isinstance(photo, FilePhoto) and is_missing(photo.path)]
    report.count("files are dangling links or have zero bytes", [photo.key for photo in empty])
    names = {photo.key for photo in empty}
    looked_at = _sample([photo for photo in photos if photo.key not in names], every=every)
    broken: defaultdict[str, list[str]] = defaultdict(list)
    for photo in _in_progress("decode", looked_at):
        try:
            decode_photo(photo.read(), allow_huge=True)
        except PhotoError as error:
            broken[error.reason].append(photo.key)
    for reason, keys in broken.items():
        report.count(f"photos cannot be decoded ({reason})", keys)
    _report_looked(len(looked_at), len(photos) - len(empty), sum(map(len, broken.values())), report)


def _report_looked(looked: int, of: int, broken: int, report: CheckReport) -> None:
    rest = "" if looked == of else "; --all looks at every one"
    report.facts.append(f"looked at {looked:,} of {of:,} pictures: {looked - broken:,} can be decoded{rest}")


def _sample(items: Sequence[_Item], *, every: bool) -> list[_Item]:
    """All, or some, evenly spread."""
    if every or len(items) <= _SAMPLED:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, _SAMPLED).astype(int)]


def _in_progress(what: str, items: Sequence[_Item]) -> Iterator[_Item]:
    with progress(what, total=len(items)) as advance:
        for item in items:
            yield item
            advance(1, "")


# --- aligned data sets


def _examine_aligned(path: Path, report: CheckReport, every: bool) -> None:
    dataset = AlignedDataset.load(path)
    header = dataset.header
    report.facts.append(f"{header.template}, {header.policy}, manifest sha256 {dataset.sha256}")
    counts = ", ".join(f"{len(dataset.with_status(status)):,} {status.value}" for status in Status)
    identities = len(dataset.table.column("identity").drop_null().unique())
    report.facts.append(f"{len(dataset):,} photos of {identities:,} identities: {counts}")
    _examine_crops(dataset, report, every=every)


def _examine_crops(dataset: AlignedDataset, report: CheckReport, *, every: bool) -> None:
    rows = np.flatnonzero(dataset.column("status") != Status.FAILED.value)
    gone = set(dataset.crops.missing(rows))
    missing = {row for row in rows.tolist() if dataset.crops.name(row) in gone}
    names = dataset.column("crop")
    report.count("crops are missing or have zero bytes", [names[row] for row in sorted(missing)])
    looked_at = _sample([row for row in rows.tolist() if row not in missing], every=every)
    changed, broken = _damaged(dataset, looked_at, hashes=_crop_hashes(dataset, rows, report))
    report.count("crops are no longer what was written", [names[row] for row in changed])
    side = dataset.header.crop_px
    report.count(f"crops cannot be read as {side} x {side}", [names[row] for row in broken])
    _report_looked(len(looked_at), len(rows) - len(missing), len(broken), report)


def _crop_hashes(
    dataset: AlignedDataset, rows: NDArray[np.int64], report: CheckReport
) -> Sequence[str | None]:
    """The crops' hashes in the manifest, (all rows,); null where an earlier version wrote none."""
    hashes = dataset.table["crop_sha256"].to_pylist()
    if any(hashes[row] is None for row in rows):
        report.facts.append("made by an earlier version: the manifest has no hashes of the crops")
    return hashes


def _damaged(
    dataset: AlignedDataset, rows: Sequence[int], *, hashes: Sequence[str | None]
) -> tuple[list[int], list[int]]:
    """The rows whose crop has other bytes than were written, and those whose crop cannot be read."""
    changed, broken = [], []
    for row, content in zip(_in_progress("read", rows), dataset.crops.contents(rows), strict=True):
        if hashes[row] not in (None, hashlib.sha256(content).hexdigest()):
            changed.append(row)
        if decode_crop(content, dataset.header.crop_px) is None:
            broken.append(row)
    return changed, broken


def _examine_begun(path: Path, report: CheckReport, every: bool) -> None:
    report.problems.append("the alignment was not finished: run the same `faceverif align` again")


# --- protocols, and the pictures of classifiers


def _examine_protocol(path: Path, report: CheckReport, every: bool) -> None:
    protocol = load_protocol(path, allow_partial=True)
    genuine = int(protocol.same.sum())
    report.facts.append(
        f"{protocol.name}: {len(protocol):,} pairs, {genuine:,} genuine and "
        f"{len(protocol) - genuine:,} impostor, {protocol.size.folds} folds; {protocol.fold_rule}"
    )
    if path.is_file():
        report.facts.append(_checksum_text(path))
    if protocol.partial is not None:
        report.problems.append(f"this is a part: {protocol.partial}")
    elif protocol.official is not None:
        report.facts.append(f"as many pairs and folds as {protocol.name} has")


def _checksum_text(path: Path) -> str:
    """The hash of a list, and whether it is that of the known list of its name."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = {file.name: file.checksum for each in KNOWN_SETS.values() for file in each.files}.get(path.name)
    if known is None:
        return f"sha256 {sha256}"
    same = known == f"sha256:{sha256}"
    return f"sha256 {sha256}, {'that' if same else 'not that'} of the known {path.name}"


def _examine_idx(path: Path, report: CheckReport, every: bool) -> None:
    parts: dict[Part, int] = {"train": 60_000, "t10k": 10_000}
    for part, expected in parts.items():
        images, _ = read_idx_images(path, part)
        line = f"{part}: {len(images):,} images with labels, {images.shape[1]} x {images.shape[2]}"
        if len(images) == expected:
            report.facts.append(f"{line}, as many as MNIST has")
        else:
            report.problems.append(f"{line}; MNIST has {expected:,}")


def _is_tar(path: Path) -> bool:
    return path.is_file() and tarfile.is_tarfile(path)


def _examine_pictures(path: Path, report: CheckReport, every: bool) -> None:
    for split, pictures in read_pictures(path, splits=("train", "test")).items():
        height, width = pictures.images.shape[1:3]
        classes = len(pictures.class_names)
        report.facts.append(
            f"{split}: {len(pictures.images):,} pictures of {classes} classes, {width} x {height}"
        )
