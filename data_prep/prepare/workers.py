"""What the workers of an alignment do: they read, detect, warp and write crops."""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.alignment import find_template
from data_prep.alignment.base import Template, centre_crop
from data_prep.alignment.landmarks import LandmarkTemplate, align_face
from data_prep.dataset.already_aligned import CropForm, form_of
from data_prep.dataset.crops import decode_crop
from data_prep.dataset.manifest import SCHEMA, Status
from data_prep.detection.choice import MTCNN, load_detector
from data_prep.detection.faces import GIVEN_POLICY, POLICY, SeenFaces, centred_largest
from data_prep.photos import PhotoError, decode_photo
from data_prep.picture_formats import JPEG_MAGIC
from data_prep.prepare.crop_names import crop_name
from data_prep.prepare.task import UNUSABLE_NAME, AlignSettings, Row, Task
from data_prep.quality.columns import quality_of_face
from data_prep.quality.sharpness import sharpness
from data_prep.sources import SourcePhoto
from data_prep.system_errors import naming_full_disk
from data_prep.work.job import Job

_PIXELS_AT_ONCE = 4_000_000
# What a system says of a name that it does not take, or that another file has taken.
_NAME_ERRORS = {
    errno.ENAMETOOLONG,
    errno.EILSEQ,
    errno.EINVAL,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ELOOP,
}


@dataclass(frozen=True)
class AlignJob(Job[Task, list[Row]]):
    """Photos in, crops into a folder, and their manifest rows.

    Attributes:
        out: the data set's folder.
        settings: what decides the crops.
        policy: which face is taken, that landmarks are given, or that the photos are crops, which are kept.
        source: where the photos lie.
    """

    out: Path
    settings: AlignSettings
    policy: str = POLICY
    source: Path | None = None

    @property
    def reads(self) -> tuple[Path, ...]:
        """The source, and the detector's file if it has one."""
        source = () if self.source is None else (self.source,)
        return source if self.settings.detector == MTCNN else (*source, Path(self.settings.detector))

    @property
    def writes(self) -> Path:
        """The data set's folder."""
        return self.out

    def start(self) -> Callable[[Task], list[Row]]:
        """An aligner, with its networks if it needs any."""
        if self.policy == GIVEN_POLICY:
            return _GivenAligner(self.out, self.settings).align
        form = form_of(self.settings.template, self.policy)
        aligner = (
            _Aligner(self.out, self.settings) if form is None else _CropKeeper(self.out, self.settings, form)
        )
        return aligner.align


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
        self._detector = load_detector(settings.detector, settings.min_face_px)

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
        return [self._align_one(photo, seen) for photo, seen in zip(photos, found, strict=True)]

    def _align_one(self, read: _Readable, seen: SeenFaces) -> Row:
        height, width = read.pixels.shape[:2]
        faces = seen.faces
        row = _row(read.photo, sha256=read.sha256, width=width, height=height, faces=len(faces))
        chosen = centred_largest(faces, width=width, height=height)
        if chosen is None:
            row |= {"status": Status.NO_FACE, "reason": "no_face"}
            crop = centre_crop(read.pixels, self._template)
            return row | _write_pixels(self._out, read.photo, crop)
        landmarks = faces.landmarks[chosen]
        row |= {
            "status": Status.ALIGNED,
            "box": faces.boxes[chosen].tolist(),
            "landmarks": landmarks.ravel().tolist(),
            "score": float(faces.scores[chosen]),
            "detection_pass": seen.detection_pass,
        }
        crop = self._template.cut(read.pixels, box=faces.boxes[chosen], landmarks=landmarks)
        return row | quality_of_face(landmarks, crop) | _write_pixels(self._out, read.photo, crop)


class _GivenAligner:
    """Warps photos by the landmarks that come with them.

    Args:
        out: the data set's folder.
        settings: what decides the crops.
    """

    def __init__(self, out: Path, settings: AlignSettings) -> None:
        template = find_template(settings.template)
        assert isinstance(template, LandmarkTemplate)  # others are refused before the work begins
        self._out, self._settings, self._template = out, settings, template

    def align(self, photos: Task) -> list[Row]:
        """Write the photos' crops; a row each."""
        read = (_read(photo, allow_huge=self._settings.allow_huge) for photo in photos)
        return [self._align_one(each) if isinstance(each, _Readable) else each for each in read]

    def _align_one(self, read: _Readable) -> Row:
        height, width = read.pixels.shape[:2]
        row = _row(read.photo, sha256=read.sha256, width=width, height=height)
        given = read.photo.given
        if given is None or len(set(given.landmarks[0::2])) == len(set(given.landmarks[1::2])) == 1:
            return row | {"status": Status.FAILED, "reason": "unusable_landmarks"}  # in one point: no scale
        landmarks = np.array(given.landmarks).reshape(5, 2)
        crop = align_face(read.pixels, landmarks, self._template)
        row |= {"status": Status.ALIGNED, "landmarks": list(given.landmarks), "score": given.score}
        return row | quality_of_face(landmarks, crop) | _write_pixels(self._out, read.photo, crop)


class _CropKeeper:
    """Keeps photos that already are aligned crops.

    Args:
        out: the data set's folder.
        settings: what decides which photos are read.
        form: that the crops are in; others fail.
    """

    def __init__(self, out: Path, settings: AlignSettings, form: CropForm) -> None:
        self._out = out
        self._settings = settings
        self._form = form

    def align(self, photos: Task) -> list[Row]:
        """Write each photo, unchanged or as wide as its template; a row each."""
        read = (_read(photo, allow_huge=self._settings.allow_huge) for photo in photos)
        return [self._keep(each) if isinstance(each, _Readable) else each for each in read]

    def _keep(self, read: _Readable) -> Row:
        height, width = read.pixels.shape[:2]
        row = _row(read.photo, sha256=read.sha256, width=width, height=height)
        if (height, width) != self._form.size:
            return row | {"status": Status.FAILED, "reason": "other_size"}
        keeps_bytes = self._form.is_whole and self._stays(read.data)
        crop = crop_name(read.photo.key, ending="jpg" if keeps_bytes else "png")
        pixels = self._form.widened(read.pixels)
        data = read.data if keeps_bytes else _encoded(pixels, "PNG")
        row |= {"status": Status.ALIGNED, "sharpness": round(sharpness(pixels), 3)}
        return row | _write_crop(self._out, crop, data)

    def _stays(self, data: bytes) -> bool:
        """Whether a crop keeps its bytes; all others are stored without loss.

        A JPEG keeps them, because to encode it again would lose more; one that the reader of crops cannot
        decode does not.
        """
        return data.startswith(JPEG_MAGIC) and decode_crop(data, self._form.template.crop_px) is not None


def _write_pixels(out: Path, photo: SourcePhoto, pixels: NDArray[np.uint8]) -> Row:
    """Write what was cut from a photo, as a JPEG."""
    data = _encoded(pixels, "JPEG", quality=95, subsampling=0)
    return _write_crop(out, crop_name(photo.key, ending="jpg"), data)


def _encoded(pixels: NDArray[np.uint8], form: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=form, **settings)
    return file.getvalue()


def _write_crop(out: Path, crop: str, data: bytes) -> Row:
    """Write a crop; what its row says of it, or that the system does not take its name.

    Under no temporary name: a crop counts only once the journal has its row, and until then the next run
    writes it again.
    """
    path = out / crop
    try:
        with naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        if error.errno not in _NAME_ERRORS:
            raise
        return {"status": Status.FAILED, "reason": UNUSABLE_NAME}
    return {"crop": crop, "crop_sha256": hashlib.sha256(data).hexdigest()}


def _row(photo: SourcePhoto, **known: Any) -> Row:
    return dict.fromkeys(SCHEMA.names) | {"photo": photo.key, "identity": photo.identity} | known
