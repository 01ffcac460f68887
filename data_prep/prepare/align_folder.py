"""Photos -> an aligned data set: workers find, warp and write faces; every file gets a row.

Only the process that the user started writes the journal: one line per photo, after its crop is on disk.
After a kill, the next run reads the journal and does the rest; the manifest is the sorted journal. Workers on
a cluster may finish a shard after that process has died: they keep its rows in a part of the journal, which
the next run takes in.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from operator import eq
from pathlib import Path

from data_prep.alignment import find_template
from data_prep.alignment.base import Template
from data_prep.alignment.landmarks import LandmarkTemplate
from data_prep.counted import counted
from data_prep.dataset import already_aligned
from data_prep.dataset.manifest import (
    JOURNAL_NAME,
    MANIFEST_NAME,
    AlignedDataset,
    DatasetHeader,
    Status,
    header_for,
    write_manifest,
)
from data_prep.detection.choice import MTCNN, described_detector, load_detector, second_pass_of
from data_prep.detection.faces import GIVEN_POLICY, POLICY
from data_prep.errors import InputError, printable_lines
from data_prep.lock import filled
from data_prep.own_names import LOCK_NAME
from data_prep.photos import UNREADABLE, other_format_advice
from data_prep.prepare.crop_names import merges_names, refuse_merged
from data_prep.prepare.journal import Journal
from data_prep.prepare.mended import forget_mended
from data_prep.prepare.parts import KeepingRows, part_of, parts_folder
from data_prep.prepare.task import AlignSettings, Row, Task
from data_prep.prepare.workers import AlignJob
from data_prep.printed_command import printed_command
from data_prep.progress import progress, say
from data_prep.sources import Listing, Skipped, SourcePhoto, list_source
from data_prep.sources.ijb import GivenPhotos
from data_prep.work.here import Processes
from data_prep.work.job import Engine, Job

_PHOTOS_PER_TASK = 32


@dataclass(frozen=True)
class AlignSummary:
    """How an alignment ended.

    Attributes:
        out: the data set's folder.
        policy: which of several faces was taken, that landmarks were given, or which crops the photos were.
        photos: rows of the manifest.
        aligned: photos with an aligned face.
        no_face: photos with a centre crop instead.
        several_faces: photos of which the centred-largest face was taken.
        second_pass: aligned photos whose face the second pass of the detection found.
        failures: reason -> photos without a crop.
        nameless: photos without an identity.
        skipped: what lies in the source and is no photo, in words; empty where all is.
        done_now: photos that this run did itself.
        rewritten: whether the manifest changed without them, because photos are gone or came back.
        seconds: how long it took for them.
    """

    out: Path
    policy: str
    photos: int
    aligned: int
    no_face: int
    several_faces: int
    second_pass: int
    failures: dict[str, int]
    nameless: int
    skipped: str
    done_now: int
    rewritten: bool
    seconds: float

    def text(self) -> str:
        """A few lines for the user."""
        photos = counted(self.photos, "photo")
        lines = [f"{self.aligned:,} of {photos} {self._how()}"]
        if self.second_pass:
            lines.append(f"found by the second pass only: {counted(self.second_pass, 'face')}")
        if self.no_face:
            lines.append(f"{self.no_face:,} of {photos} without a face: a centre crop is taken")
        if self.failures:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.failures.items())
            lines.append(f"{sum(self.failures.values()):,} of {photos} without a crop: {reasons}")
        lines += other_format_advice(self.failures)
        if self.failures or self.no_face:
            lines.append(f"{printed_command('data', 'check', self.out)} names these photos")
        if UNREADABLE in self.failures:
            lines.append("unreadable photos are tried again when the same command runs again")
        if self.nameless:
            lines.append(f"{self.nameless:,} of {photos} without an identity, on which nothing is trained")
        if self.skipped:
            lines.append(self.skipped)
        if self.done_now:
            rate = self.done_now / self.seconds
            lines.append(f"{counted(self.done_now, 'photo')} in {self.seconds:.0f} s, {rate:.1f} images/s")
        else:
            said = "the manifest follows the source again" if self.rewritten else "nothing to do"
            lines.append(f"complete already: {said}")
        lines.append(f"data set: {self.out}")
        return printable_lines(lines)

    def _how(self) -> str:
        if self.policy.startswith(already_aligned.POLICY):
            return f"{self.policy}: taken over without a new alignment"
        if self.policy == GIVEN_POLICY:
            return "aligned by their given landmarks"
        return f"aligned; {self.several_faces:,} of them with several faces: the {POLICY} was taken"


def align_folder(
    source: Path,
    out: Path,
    *,
    settings: AlignSettings,
    engine: Engine | None = None,
    listing: Listing[SourcePhoto] | None = None,
) -> AlignSummary:
    """Align every photo of a source, or continue where a killed run stopped.

    A finished data set follows its source by name: new photos are aligned, together with their neighbours
    in the list, and the rows of photos that are gone are removed. Photos that the system did not give are
    aligned once it does.

    Photos that already are crops in the template are taken over unchanged.

    Args:
        source: photos in any form that `list_source` knows.
        out: the data set's folder: an empty or new one, or one that the same command began.
        settings: what decides the crops.
        engine: where the work runs; None: in processes, one per core.
        listing: what `list_source` says of the source, where the caller has asked already.

    Raises:
        InputError: before anything is written; or the work was stopped, and what was done stays.
    """
    template = find_template(settings.template)
    photos, skipped = listing or list_source(source)
    _check_out(source, out)
    header = _header(photos, template, settings)
    begun = {"source": str(source.resolve()), **asdict(settings)}
    begun |= {"policy": header.policy, "second_pass": header.second_pass, "detector": header.detector}
    with filled(out, command="faceverif align", option="OUT"), Journal.opened(out, begun) as journal:
        if merges_names(out):
            refuse_merged(photo.key for photo in photos)
        journal.take_parts(parts_folder(out))
        forget_mended(journal, photos, out)
        tasks = _tasks(photos, done=journal)
        if len(journal) and tasks:
            say(f"{out}: continuing after {counted(len(journal), 'photo')}")
        start = time.monotonic()
        if tasks:
            job = AlignJob(out, settings, header.policy, source)
            _run(tasks, job, engine=engine or Processes(), journal=journal)
        journal.take_parts(parts_folder(out))
        rewritten = bool(tasks) or not _is_manifest_of(out, photos)
        if rewritten:
            write_manifest(out, header, (journal.row(photo.key) for photo in photos))
    seconds = time.monotonic() - start
    done_now = sum(map(len, tasks))
    return _summary(out, skipped=skipped, done_now=done_now, rewritten=rewritten, seconds=seconds)


def _header(photos: Sequence[SourcePhoto], template: Template, settings: AlignSettings) -> DatasetHeader:
    if isinstance(photos, GivenPhotos):
        return _header_of_given(photos, template, settings)
    form = already_aligned.Sample(photos).form()
    if form is None:
        if settings.detector != MTCNN:  # another network is refused before OUT is begun with it
            load_detector(settings.detector, settings.min_face_px)
        policy = POLICY if isinstance(template, LandmarkTemplate) else f"{POLICY}, {template.geometry}"
        return header_for(
            template,
            policy=policy,
            min_face_px=settings.min_face_px,
            second_pass=second_pass_of(settings.detector),
            detector=described_detector(settings.detector),
        )
    if form.template != template:
        raise InputError(
            "--template",
            f"must be {form.template.name} for photos that are such crops already",
            got=template.name,
            fix=f"Use --template {form.template.name}, or give the photos before they were cropped.",
        )
    return header_for(template, policy=form.policy, min_face_px=settings.min_face_px)


def _header_of_given(photos: GivenPhotos, template: Template, settings: AlignSettings) -> DatasetHeader:
    if not isinstance(template, LandmarkTemplate):
        raise InputError(
            "--template",
            "must be one that is cut by landmarks, for photos whose landmarks are given",
            got=f"{template.name}, which is cut by the detector's box",
            fix=f"Use --template arcface-{template.crop_px}, or give the folder of the pictures as SOURCE.",
        )
    if settings.detector != MTCNN:
        raise InputError(
            "--detector",
            "is for photos whose landmarks are not given",
            got=f"{settings.detector}, beside {photos.given_by}",
            fix=f"Leave it out, or detect the faces of {photos.folder}.",
        )
    return header_for(
        template, policy=GIVEN_POLICY, min_face_px=settings.min_face_px, detector=photos.given_by
    )


def _check_out(source: Path, out: Path) -> None:
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(
            "OUT", "must not lie in SOURCE, or crops would count as photos", got=out, fix="Name another."
        )
    if out.exists() and not out.is_dir():
        raise InputError("OUT", "must be a folder", got=f"a file, {out}", fix="Name another.")
    # A lock alone is left by a run that was stopped before it could begin.
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if names - {LOCK_NAME} and JOURNAL_NAME not in names:
        raise InputError(
            "OUT", "must be empty, new, or begun by `faceverif align`", got=out, fix="Name another."
        )


def _is_manifest_of(out: Path, photos: Sequence[SourcePhoto]) -> bool:
    """Whether the manifest has the rows of these photos, as they stand in the journal."""
    manifest = out / MANIFEST_NAME
    if not manifest.exists() or manifest.stat().st_mtime_ns < (out / JOURNAL_NAME).stat().st_mtime_ns:
        return False
    column = AlignedDataset.load(out).table["photo"]
    names = (name for chunk in column.chunks for name in chunk.to_pylist())
    return len(column) == len(photos) and all(map(eq, names, (photo.key for photo in photos)))


def _summary(out: Path, *, skipped: Skipped, done_now: int, rewritten: bool, seconds: float) -> AlignSummary:
    dataset = AlignedDataset.load(out)
    reasons = dataset.column("reason")[dataset.with_status(Status.FAILED)]
    return AlignSummary(
        out=out,
        policy=dataset.header.policy,
        photos=len(dataset),
        aligned=len(dataset.with_status(Status.ALIGNED)),
        no_face=len(dataset.with_status(Status.NO_FACE)),
        several_faces=int((dataset.column("faces") > 1).sum()),
        second_pass=int((dataset.column("detection_pass") == 2).sum()),
        failures=dict(Counter(reasons.tolist()).most_common()),
        nameless=dataset.table["identity"].null_count,
        skipped=skipped.text(),
        done_now=done_now,
        rewritten=rewritten and not done_now,
        seconds=seconds,
    )


def _tasks(photos: Sequence[SourcePhoto], *, done: Container[str]) -> list[Task]:
    """The photos that are to be done, in groups that are the same in every run.

    The last bits of a network's output depend on what else is in its batch. With the same groups, a run that
    was killed and continued writes the same bytes as an uninterrupted one.
    """
    groups = (list(photos[i : i + _PHOTOS_PER_TASK]) for i in range(0, len(photos), _PHOTOS_PER_TASK))
    return [group for group in groups if any(photo.key not in done for photo in group)]


def _run(tasks: list[Task], job: AlignJob, *, engine: Engine, journal: Journal) -> None:
    failed = 0
    kept: Job[Task, list[Row]] = KeepingRows(job) if engine.outlasts else job
    with (
        engine.workers(kept, shards=len(tasks)) as align,
        progress("align", total=sum(map(len, tasks))) as advance,
    ):
        for rows in align(tasks):
            journal.add(rows)
            part_of(job.out, (row["photo"] for row in rows)).unlink(missing_ok=True)
            failed += sum(row["status"] == Status.FAILED for row in rows)
            advance(len(rows), f"{failed:,} failed" if failed else "")
