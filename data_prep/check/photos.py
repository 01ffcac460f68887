"""Checks a source of photos: identities, counts, the lists of pairs beside it, and what cannot be decoded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.check.labelled import examine_protocol, examine_templates
from data_prep.check.look import Broken, Look
from data_prep.check.names import doubtful_names
from data_prep.check.report import CheckReport, report_looked
from data_prep.counted import counted
from data_prep.dataset.crops import is_missing
from data_prep.errors import InputError
from data_prep.fetching.known_sets import CASIA, CASIA_PACK, CELEBA, CFP, LFW, KnownSet
from data_prep.photos import PhotoError, decode_photo, other_format_advice
from data_prep.protocols import protocol_alone
from data_prep.protocols.matching import PhotoNames, pairs_there
from data_prep.protocols.photo_sets import photos_missed
from data_prep.sources import SourcePhoto, celeba, cfp, folder, ijb, insightface_bin, recordio
from data_prep.sources.base import FilePhoto, SourceFormat, some
from data_prep.work.job import Job

# Reasons in a listing that mean damage. Others mean that the photo is not a part of the set.
_DAMAGED = {"damaged_record", "damaged_json", "damaged_label"}
_MANY = 20  # with more photos than that, an identity for each means that the labels are wrong
_LFW_PHOTO = re.compile(r"([^/]+)/\1_\d{4}\.jpg")
_LFW_IDENTITY = "George_W_Bush"  # whose 530 photos nobody leaves out
_CASIA_PHOTO = re.compile(r"\d{7}/\d{3}\.jpg")
_PAIR_LISTS = (
    *("pairs.txt", "pairs_CALFW.txt", "pairs_CPLFW.txt"),
    *("Protocol/Split/FF", "Protocol/Split/FP"),
)


def examine_photos(source: SourceFormat, place: Path, report: CheckReport, look: Look) -> None:
    """List a source and decode its photos, or a sample.

    Args:
        source: its kind.
        place: where it lies: in the path of the report.
        report: takes what is found.
        look: how many photos are decoded, and where.

    Raises:
        InputError: the reader refuses it.
    """
    photos, skipped = source.list_photos(place)
    usable = [photo for photo in photos if photo.refused is None]
    identities = {photo.identity for photo in usable if photo.identity is not None}
    _report_identities(usable, identities, report, pairs=source in (insightface_bin.FORMAT, ijb.FORMAT))
    for (noun, trouble), names in doubtful_names(identities, (photo.key for photo in usable)).items():
        report.count(noun, trouble, names)
    _report_refused(photos, report)
    if len(skipped):
        report.facts.append(skipped.text())
    _compare(_known_set(source, place, photos), photos=len(usable), identities=len(identities), to=report)
    if source is celeba.FORMAT:
        report.count("photo", "missing that the identity file names", celeba.missing_photos(place))
    _report_pair_lists(place, usable, report)
    _decode(place, usable, report, look)
    if source is insightface_bin.FORMAT:
        examine_protocol(place, report, look)
    if source is ijb.FORMAT:
        examine_templates(place, report, look)


def _report_identities(
    photos: Sequence[SourcePhoto], identities: set[str], report: CheckReport, *, pairs: bool
) -> None:
    """How many people there are, and whether that is believable; a set of `pairs` needs no identities."""
    people = (
        f"of {counted(len(identities), 'identity')}" if identities else "whose identities it does not say"
    )
    report.facts.append(f"{counted(len(photos), 'photo')} {people}")
    nameless = [photo.key for photo in photos if photo.identity is None]
    if pairs:
        return
    if not identities:
        report.problems.append("no photo has an identity: a list of pairs can use them, training cannot")
        return
    report.count("photo", "without an identity", nameless)
    named = len(photos) - len(nameless)
    if len(identities) == 1 < named:
        [name] = identities
        report.problems.append(f"all {named:,} photos have one identity, {name}: training needs at least two")
    if len(identities) == named > _MANY:
        report.problems.append(f"each of {named:,} photos has its own identity: no two show the same person")


def _report_refused(photos: Iterable[SourcePhoto], report: CheckReport) -> None:
    refused: defaultdict[str, list[str]] = defaultdict(list)
    for photo in photos:
        if photo.refused is not None:
            refused[photo.refused].append(photo.key)
    for reason, keys in refused.items():
        if reason in _DAMAGED:
            report.count("photo", f"that cannot be used ({reason})", keys)
        else:
            report.facts.append(f"{counted(len(keys), 'file')} not a part of it ({reason})")


def _known_set(source: SourceFormat, path: Path, photos: Sequence[SourcePhoto]) -> KnownSet | None:
    """Which of the field's sets this is a copy of, recognised by its layout."""
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
        to.facts.append("the counts are not checked: this is none of the data sets whose size is known here")
    elif (photos, identities) == (known.photos, known.identities):
        to.facts.append(f"as many as {known.title} has")
    else:
        to.problems.append(f"{known.title} has {known.size_text()}: this is not all of it")


def _report_pair_lists(path: Path, photos: Sequence[SourcePhoto], report: CheckReport) -> None:
    """For each list of pairs beside the photos, whether its photos are there."""
    names = PhotoNames([photo.key for photo in photos])
    for pairs in (place / name for place in (path, path.parent) for name in _PAIR_LISTS):
        if pairs.exists():
            try:
                _report_pair_list(pairs, path, names, report)
            except InputError as error:  # the photos are checked all the same
                report.problems.append(str(error))


def _report_pair_list(pairs: Path, path: Path, names: PhotoNames, report: CheckReport) -> None:
    protocol = protocol_alone(pairs, allow_partial=True)
    if (wanted := photos_missed(protocol, path)) is not None:
        report.facts.append(f"{pairs.name} is about the photos of {wanted}, not about these")
        return
    there = int(pairs_there(protocol, names.rows_of([*protocol.left, *protocol.right])).sum())
    line = f"{pairs.name}: both photos of {there:,} of {counted(len(protocol), 'pair')} are there"
    (report.facts if there == len(protocol) else report.problems).append(line)


@dataclass(frozen=True)
class _DecodePhotos(Job[list[SourcePhoto], tuple[int, list[Broken]]]):
    """Photos in, the broken ones out.

    Attributes:
        place: where they lie.
    """

    place: Path

    @property
    def reads(self) -> tuple[Path, ...]:
        return (self.place,)

    def start(self) -> Callable[[list[SourcePhoto]], tuple[int, list[Broken]]]:
        return _undecodable


def _undecodable(photos: list[SourcePhoto]) -> tuple[int, list[Broken]]:
    found = []
    for photo in photos:
        try:
            decode_photo(photo.read())
        except PhotoError as error:
            found.append(Broken(photo.key, error.reason))
    return len(photos), found


def _decode(place: Path, photos: Sequence[SourcePhoto], report: CheckReport, look: Look) -> None:
    empty = [photo for photo in photos if isinstance(photo, FilePhoto) and is_missing(photo.path)]
    report.count("file", "without content (zero bytes, or a dangling link)", [photo.key for photo in empty])
    names = {photo.key for photo in empty}
    looked_at = look.sample([photo for photo in photos if photo.key not in names])
    broken: defaultdict[str, list[str]] = defaultdict(list)
    for key, reason in look.broken("decode", looked_at, _DecodePhotos(place)):
        broken[reason].append(key)
    huge = broken.pop("too_large", [])
    if huge:
        report.facts.append(
            f"{counted(len(huge), 'photo')} too large without `align --allow-huge`: {some(huge)}"
        )
    for reason, keys in broken.items():
        report.count("photo", f"that cannot be decoded ({reason})", keys)
    report.facts += other_format_advice(broken)
    failed = len(huge) + sum(map(len, broken.values()))
    report_looked(len(looked_at), len(photos) - len(empty), failed, report)
