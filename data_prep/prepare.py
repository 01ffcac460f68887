"""Photos -> an aligned data set: faces found, warped and written by worker processes, every file a row.

The parent process alone writes the journal: a line per photo, after its crop is on disk. A run that was
killed reads the journal and does the rest; the manifest is the sorted journal.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from data_prep import already_aligned
from data_prep.alignment import Template, align_face, centre_crop, find_template
from data_prep.detection import POLICY, FaceDetector, Faces, centred_largest
from data_prep.errors import InputError
from data_prep.lock import LOCK_NAME, filled
from data_prep.manifest import (
    JOURNAL_NAME,
    MANIFEST_NAME,
    SCHEMA,
    AlignedDataset,
    Status,
    header_for,
    write_manifest,
)
from data_prep.photos import PhotoError, decode_photo
from data_prep.progress import progress, say
from data_prep.sources import SourcePhoto, list_source

_CROPS = "crops"
_PHOTOS_PER_TASK = 32
_PIXELS_AT_ONCE = 4_000_000
_JPEG_MAGIC = b"\xff\xd8\xff"

Row = dict[str, Any]
Task = list[SourcePhoto]


@dataclass(frozen=True)
class AlignSettings:
    """What decides the crops.

    Attributes:
        template: name of the alignment template.
        min_face_px: smallest face to look for.
        allow_huge: take photos over 50 megapixels too.
    """

    template: str = "arcface-112"
    min_face_px: int = 30
    allow_huge: bool = False


@dataclass(frozen=True)
class AlignSummary:
    """How an alignment ended.

    Attributes:
        out: the data set's folder.
        policy: which of several faces was taken, or that the photos were crops before.
        photos: rows of the manifest.
        aligned: photos with an aligned face.
        no_face: photos with a centre crop instead.
        several_faces: photos of which the centred-largest face was taken.
        failures: reason -> photos without a crop.
        done_now: photos that this run did itself.
        seconds: how long it took for them.
    """

    out: Path
    policy: str
    photos: int
    aligned: int
    no_face: int
    several_faces: int
    failures: dict[str, int]
    done_now: int
    seconds: float

    def text(self) -> str:
        """A few lines for the user."""
        lines = [f"{self.aligned:,} of {self.photos:,} photos {self._how()}"]
        if self.no_face:
            lines.append(f"{self.no_face:,} of {self.photos:,} photos show no face: a centre crop stands in")
        if self.failures:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.failures.items())
            lines.append(f"{sum(self.failures.values()):,} of {self.photos:,} photos have no crop: {reasons}")
        if self.done_now:
            rate = self.done_now / self.seconds
            lines.append(f"{self.done_now:,} photos in {self.seconds:.0f} s, {rate:.1f} images/s")
        else:
            lines.append("complete already: nothing to do")
        lines.append(f"data set: {self.out}")
        return "\n".join(lines)

    def _how(self) -> str:
        if self.policy == already_aligned.POLICY:
            return "were aligned already: taken over as they are"
        return f"aligned; in {self.several_faces:,} of them, of several faces the {self.policy} was taken"


def align_folder(source: Path, out: Path, *, settings: AlignSettings, workers: int = 0) -> AlignSummary:
    """Align every photo of a source, or go on where a killed run was.

    A finished data set follows its source by name: photos that are new are aligned, together with their
    neighbours in the list, and those that are gone lose their row.

    Photos that are crops in the template already are taken over unchanged.

    Args:
        source: photos in any form that `list_source` knows.
        out: the data set's folder: an empty or new one, or one that the same command began.
        settings: what decides the crops.
        workers: processes; 0: one per core.

    Raises:
        InputError: before anything is written; or a worker process died, and what was done stays.
    """
    template = find_template(settings.template)
    photos = list_source(source)
    _check_out(source, out)
    policy = already_aligned.POLICY if already_aligned.are_aligned(photos, template) else POLICY
    with (
        filled(out, command="faceverif align"),
        _Journal.opened(out, source=source, settings=settings, policy=policy) as journal,
    ):
        tasks = _tasks(photos, done=journal)
        if len(journal) and tasks:
            say(f"{out}: going on after {len(journal):,} photos")
        start = time.monotonic()
        if tasks:
            _run(tasks, out, settings=settings, policy=policy, workers=workers, journal=journal)
        if tasks or not _is_manifest_of(out, len(photos)):
            header = header_for(template, policy=policy, min_face_px=settings.min_face_px)
            write_manifest(out, header, (journal.row(key) for key in sorted(photo.key for photo in photos)))
    return _summary(out, done_now=sum(map(len, tasks)), seconds=time.monotonic() - start)


def _check_out(source: Path, out: Path) -> None:
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(
            "OUT", "must not lie in SRC, or crops would count as photos", got=out, fix="Name another."
        )
    if out.exists() and not out.is_dir():
        raise InputError("OUT", "must be a folder", got=f"a file, {out}", fix="Name another.")
    # A lock alone is left by a run that was stopped before it could begin.
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if names - {LOCK_NAME} and JOURNAL_NAME not in names:
        raise InputError(
            "OUT", "must be empty, new, or begun by `faceverif align`", got=out, fix="Name another."
        )


def _is_manifest_of(out: Path, rows: int) -> bool:
    return (out / MANIFEST_NAME).exists() and len(AlignedDataset.load(out)) == rows


def _summary(out: Path, *, done_now: int, seconds: float) -> AlignSummary:
    dataset = AlignedDataset.load(out)
    reasons = dataset.column("reason")[dataset.with_status(Status.FAILED)]
    return AlignSummary(
        out=out,
        policy=dataset.header.policy,
        photos=len(dataset),
        aligned=len(dataset.with_status(Status.ALIGNED)),
        no_face=len(dataset.with_status(Status.NO_FACE)),
        several_faces=int((dataset.column("faces") > 1).sum()),
        failures=dict(Counter(reasons.tolist()).most_common()),
        done_now=done_now,
        seconds=seconds,
    )


# --- the journal: what makes a killed run go on


class _Journal:
    """The rows so far, as lines of a file that is only ever appended to.

    In memory it keeps where each photo's line begins, not the row: half a million photos stay small.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._begins: dict[str, int] = {}

    @classmethod
    @contextmanager
    def opened(cls, out: Path, *, source: Path, settings: AlignSettings, policy: str) -> Iterator[_Journal]:
        """The journal of `out`, begun or continued.

        Raises:
            InputError: it was begun for another source, with other settings or by another policy.
        """
        journal = cls(out / JOURNAL_NAME)
        try:
            journal._continue({"source": str(source.resolve()), **asdict(settings), "policy": policy})
            yield journal
        finally:
            journal._file.close()

    def __contains__(self, key: object) -> bool:
        return key in self._begins

    def __len__(self) -> int:
        return len(self._begins)

    def row(self, key: str) -> Row:
        """The row of a photo that is in the journal."""
        self._file.seek(self._begins[key])
        return json.loads(self._file.readline())

    def add(self, rows: list[Row]) -> None:
        """Take rows whose crops are on disk."""
        for row in rows:
            self._begins[row["photo"]] = self._append(row)
        self._file.flush()

    def _continue(self, header: Row) -> None:
        """Read what is there; a line that a kill tore off is cut from the file."""
        self._file.seek(0)
        begin = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(begin)
                break
            if begin == 0:
                _require_same(json.loads(line), header)
            else:
                self._begins[json.loads(line)["photo"]] = begin
            begin += len(line)
        if begin == 0:
            self._append(header)
            self._file.flush()

    def _append(self, line: Row) -> int:
        begin = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(line).encode("ascii") + b"\n")
        return begin


def _require_same(begun: Row, header: Row) -> None:
    begun = {"policy": POLICY} | begun  # journals that were begun before there was another one
    if begun != header:
        differs = ", ".join(f"{key} {begun.get(key)}" for key in header if begun.get(key) != header[key])
        raise InputError(
            "OUT", "must have been begun with the same SRC and options", got=differs, fix="Name another OUT."
        )


# --- the parent: hands out photos, journals rows


def _tasks(photos: Sequence[SourcePhoto], *, done: Container[str]) -> list[Task]:
    """What is to do, in groups that are the same in every run.

    The last bits of a network's output depend on what it is computed along with; so a killed run ends with
    the very bytes of one that was left alone.
    """
    groups = (list(photos[i : i + _PHOTOS_PER_TASK]) for i in range(0, len(photos), _PHOTOS_PER_TASK))
    return [group for group in groups if any(photo.key not in done for photo in group)]


def _run(
    tasks: list[Task], out: Path, *, settings: AlignSettings, policy: str, workers: int, journal: _Journal
) -> None:
    failed = 0
    with (
        worker_pool(out, settings, policy=policy, workers=workers) as align,
        progress("align", total=sum(map(len, tasks))) as advance,
    ):
        for rows in align(tasks):
            journal.add(rows)
            failed += sum(row["status"] == Status.FAILED for row in rows)
            advance(len(rows), f"{failed:,} failed" if failed else "")


@contextmanager
def worker_pool(
    out: Path, settings: AlignSettings, *, policy: str = POLICY, workers: int = 0
) -> Iterator[Callable[[Iterable[Task]], Iterator[list[Row]]]]:
    """Processes that align photos into `out`, or take them over where the policy says they are crops.

    Yields:
        `align(tasks)`: the manifest rows of each task, as they come.
    """
    workers = workers or os.cpu_count() or 1
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(out, settings, policy)
    )

    def align(tasks: Iterable[Task]) -> Iterator[list[Row]]:
        # A task per worker waits, so that none idles and no queue grows with the source.
        waiting = iter(tasks)
        running = {pool.submit(_run_task, task) for task in islice(waiting, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_run_task, task) for task in islice(waiting, len(done))}
            yield from (_result(future) for future in done)

    try:
        yield align
    finally:
        pool.shutdown(cancel_futures=True)


def _result(future: Future[list[Row]]) -> list[Row]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "--workers",
            "every worker process must have the memory to stay alive, about 1 GB",
            got="a worker process died",
            fix="Run the same command again, with --workers 1: it goes on where it stopped.",
        ) from error


# --- a worker: reads, detects, warps, writes crops

_aligner: _Aligner | _CropKeeper


def _start_worker(out: Path, settings: AlignSettings, policy: str) -> None:
    global _aligner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _aligner = (_CropKeeper if policy == already_aligned.POLICY else _Aligner)(out, settings)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_task(photos: Task) -> list[Row]:
    return _aligner.align(photos)


@dataclass(frozen=True)
class _Readable:
    """A photo's encoded bytes, their hash, and its pixels."""

    photo: SourcePhoto
    data: bytes
    sha256: str
    pixels: NDArray[np.uint8]


def _read(photo: SourcePhoto, *, allow_huge: bool) -> _Readable | Row:
    """A photo's pixels, or its failure row."""
    sha256 = None
    try:
        data = photo.read()
        sha256 = hashlib.sha256(data).hexdigest()
        if photo.refused is not None:
            raise PhotoError(photo.refused)
        pixels = decode_photo(data, allow_huge=allow_huge)
    except PhotoError as error:
        return _row(photo, sha256=sha256, status=Status.FAILED, reason=photo.refused or error.reason)
    return _Readable(photo, data, sha256, pixels)


class _Aligner:
    """Turns source photos into crops and manifest rows.

    Args:
        out: the data set's folder.
        settings: what decides the crops.
    """

    def __init__(self, out: Path, settings: AlignSettings) -> None:
        self._out = out
        self._settings = settings
        self._template: Template = find_template(settings.template)
        self._detector = FaceDetector(settings.min_face_px)

    def align(self, photos: Task) -> list[Row]:
        """Write the photos' crops; a row each."""
        rows: list[Row] = []
        waiting: list[_Readable] = []
        for photo in photos:
            read = _read(photo, allow_huge=self._settings.allow_huge)
            if not isinstance(read, _Readable):
                rows.append(read)
                continue
            waiting.append(read)
            if sum(each.pixels.size for each in waiting) > 3 * _PIXELS_AT_ONCE:
                rows += self._align_decoded(waiting)
                waiting = []
        return rows + self._align_decoded(waiting)

    def _align_decoded(self, photos: list[_Readable]) -> list[Row]:
        found = self._detector.detect([photo.pixels for photo in photos])
        return [self._align_one(photo, faces) for photo, faces in zip(photos, found, strict=True)]

    def _align_one(self, read: _Readable, faces: Faces) -> Row:
        height, width = read.pixels.shape[:2]
        chosen = centred_largest(faces, width=width, height=height)
        crop = f"{_CROPS}/{read.photo.key}.jpg"
        row = _row(read.photo, sha256=read.sha256, width=width, height=height, faces=len(faces))
        if chosen is None:
            pixels = centre_crop(read.pixels, self._template)
            return row | self._write(crop, pixels) | {"status": Status.NO_FACE, "reason": "no_face"}
        landmarks = faces.landmarks[chosen]
        pixels = align_face(read.pixels, landmarks, self._template)
        return (
            row
            | self._write(crop, pixels)
            | {
                "status": Status.ALIGNED,
                "box": faces.boxes[chosen].tolist(),
                "landmarks": landmarks.ravel().tolist(),
                "score": float(faces.scores[chosen]),
            }
        )

    def _write(self, crop: str, pixels: NDArray[np.uint8]) -> Row:
        return _write_crop(self._out, crop, _encoded(pixels, "JPEG", quality=95, subsampling=0))


class _CropKeeper:
    """Takes photos over that are crops of the template already.

    Args:
        out: the data set's folder.
        settings: what decides which photos are read.
    """

    def __init__(self, out: Path, settings: AlignSettings) -> None:
        self._out = out
        self._settings = settings

    def align(self, photos: Task) -> list[Row]:
        """Write each photo as it is; a row each."""
        read = (_read(photo, allow_huge=self._settings.allow_huge) for photo in photos)
        return [self._keep(each) if isinstance(each, _Readable) else each for each in read]

    def _keep(self, read: _Readable) -> Row:
        height, width = read.pixels.shape[:2]
        row = _row(read.photo, sha256=read.sha256, width=width, height=height)
        if (height, width) != (already_aligned.TEMPLATE.crop_px,) * 2:
            return row | {"status": Status.FAILED, "reason": "other_size"}
        # JPEG is lossy, so its bytes are kept; from any other format the pixels are, without loss.
        is_jpeg = read.data.startswith(_JPEG_MAGIC)
        crop = f"{_CROPS}/{read.photo.key}.{'jpg' if is_jpeg else 'png'}"
        data = read.data if is_jpeg else _encoded(read.pixels, "PNG")
        return row | _write_crop(self._out, crop, data) | {"status": Status.ALIGNED}


def _encoded(pixels: NDArray[np.uint8], form: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=form, **settings)
    return file.getvalue()


def _write_crop(out: Path, crop: str, data: bytes) -> Row:
    """Write a crop; what its row says of it.

    Under no temporary name: a crop counts only once the journal has its row, and until then the next run
    writes it again.
    """
    path = out / crop
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"crop": crop, "crop_sha256": hashlib.sha256(data).hexdigest()}


def _row(photo: SourcePhoto, **known: Any) -> Row:
    return dict.fromkeys(SCHEMA.names) | {"photo": photo.key, "identity": photo.identity} | known
