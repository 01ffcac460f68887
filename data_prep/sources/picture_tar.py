"""Small pictures of one size as SPLIT/CLASS/PICTURE, in a tar or a folder, read into arrays."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError, few
from data_prep.inside import refuse_name_outside
from data_prep.own_files import read_guarded
from data_prep.picture_formats import declared_size, is_picture_name, opens_like_a_picture
from data_prep.progress import say
from data_prep.sources.base import Skipped
from data_prep.tar_end import refuse_torn
from data_prep.walk import left_by_the_system, walk_files

_SPLITS = ("train", "test")
_TARS = (".tar", ".tar.gz", ".tgz")
_PICKLED = {"cifar-10-python.tar.gz", "cifar-100-python.tar.gz"}  # what torchvision fetches
_FIX = "Check the path, or fetch it again."
_LARGEST_PICTURE = 2**24
_LARGEST_PX = 2**22
_LARGEST_SMALL_SIDE_PX = 64  # CIFAR has 32; no face photo worth aligning is so small


@dataclass(frozen=True)
class Pictures:
    """One split.

    Attributes:
        images: (pictures, height, width, 3) uint8 RGB, sorted by class and name.
        labels: (pictures,) int64, an index into class_names.
        class_names: sorted.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def pictures_in(path: Path) -> Path | None:
    """The folder or tar of pictures at a path, or the only tar in a folder there; else None."""
    if path.is_file() or (path / "train").is_dir():
        return path
    tars = [each for each in path.glob("*.t*") if each.name.endswith(_TARS) and each.name not in _PICKLED]
    return tars[0] if len(tars) == 1 else None


def read_pictures(source: Path) -> dict[str, Pictures]:
    """Every picture of `train` and `test`; a tar is decoded as it is read, nothing is unpacked to disk.

    The two may lie in further folders, as `./train` and `cifar10/train`; other folders are not read. What is
    no picture is skipped, and a line on the console says so.

    Args:
        source: a folder, or a tar, compressed or not.

    Raises:
        InputError: no such source, a damaged tar, a link or a path that leads out of it, a picture over
            16 MiB, that cannot be decoded or has another size, a split that is missing or has other classes.
    """
    decoded: dict[PurePosixPath, NDArray[np.uint8]] = {}
    skipped = Skipped()
    for path, read in _files(source, skipped):
        name = _below_split(path)
        if name is None:
            continue
        content = read()
        if not is_picture_name(name.name) and not opens_like_a_picture(content):
            skipped.add(str(path), "no_picture")
            continue
        if _checked(name, source) in decoded:
            raise _refused(source, "must hold each picture once", got=f"{name} twice")
        decoded[name] = _decode(content, name, source)
        _refuse_other_size(decoded, name, source)
    found = {split: _split(decoded, split, source) for split in _SPLITS}
    if len(skipped):
        say(f"{source}: {skipped.text()}")
    classes = {pictures.class_names for pictures in found.values()}
    if len(classes) > 1:
        raise _refused(source, "must have the same classes in every split", got=_missing(found))
    return found


def _missing(found: dict[str, Pictures]) -> str:
    """Which classes a split lacks, the first five by name."""
    known = {name for pictures in found.values() for name in pictures.class_names}
    texts = []
    for split, pictures in found.items():
        lost = sorted(known - set(pictures.class_names))
        if lost:
            texts.append(f"no picture of {few(lost)} in {split}/")
    return "; ".join(texts)


def holds_small_pictures(source: Path) -> bool:
    """Whether a source is for `read_pictures`, not for photos of people in splits, which may lie alike.

    Its first picture is small and lies in a split, and every split has the same classes; photos are larger,
    or show other people in each split. Of the other pictures only the names are read.
    """
    classes: dict[str, set[str]] = {split: set() for split in _SPLITS}
    first = True
    try:
        for path, read in _files(source, Skipped()):
            name = _below_split(path)
            if not is_picture_name(path.name):
                continue
            if first and (name is None or not _is_small(read())):
                return False
            first = False
            if name is not None and len(name.parts) == 3:
                classes[name.parts[0]].add(name.parts[1])
    except (InputError, OSError):  # damaged, or without the right to read it: the reader of photos says so
        return False
    return not first and len(set(map(frozenset, classes.values()))) == 1


def _is_small(content: bytes) -> bool:
    size = declared_size(content)
    return size is not None and max(size) <= _LARGEST_SMALL_SIDE_PX


def _below_split(path: PurePosixPath) -> PurePosixPath | None:
    """The path from the split's folder on; None for what lies in none."""
    start = next((place for place, part in enumerate(path.parts[:-1]) if part in _SPLITS), None)
    return None if start is None else PurePosixPath(*path.parts[start:])


def _files(source: Path, skipped: Skipped) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    """(path below the source, what reads it until the next one) of every file, in the source's order."""
    if source.is_dir():
        for path in walk_files(source, inside=True):
            name = PurePosixPath(path.relative_to(source).as_posix())
            if path.stat().st_size > _LARGEST_PICTURE:
                raise _refused(
                    source, "must hold small pictures", got=f"{name} of {path.stat().st_size:,} bytes"
                )
            yield name, path.read_bytes
        return
    if not source.is_file():
        raise _refused(source, "must be a folder or a tar of pictures", got="nothing")
    with _whole_tar(source), tarfile.open(source) as archive:
        for member in archive:
            yield from _member(archive, member, source, skipped)
        refuse_torn(archive)


def _whole_tar(source: Path) -> AbstractContextManager[None]:
    return read_guarded("data.path", "must be a whole tar", got=source, fix=_FIX)


def _member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, source: Path, skipped: Skipped
) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    name = PurePosixPath(refuse_name_outside(member.name, field=str(source)))
    if member.isdir():
        return
    if any(map(left_by_the_system, name.parts)):
        skipped.add(str(name), "system_file")
        return
    if not member.isfile():
        raise _refused(source, "must hold files and folders only", got=f"{member.name}, a link or device")
    if member.size > _LARGEST_PICTURE:
        raise _refused(source, "must hold small pictures", got=f"{name} of {member.size:,} bytes")
    yield name, partial(_content, archive, member, source)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, source: Path) -> bytes:
    with _whole_tar(source):
        file = archive.extractfile(member)
        return b"" if file is None else file.read()


def _checked(name: PurePosixPath, source: Path) -> PurePosixPath:
    if len(name.parts) != 3:
        raise _refused(source, "must hold its pictures as SPLIT/CLASS/PICTURE", got=name)
    return name


def _decode(content: bytes, name: PurePosixPath, source: Path) -> NDArray[np.uint8]:
    size = declared_size(content)  # a header of few bytes may claim gigabytes
    pixels = None
    if size is not None and size[0] * size[1] <= _LARGEST_PX:
        pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise _refused(source, "must hold pictures that can be decoded", got=name)
    return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)


def _refuse_other_size(
    decoded: dict[PurePosixPath, NDArray[np.uint8]], name: PurePosixPath, source: Path
) -> None:
    first = next(iter(decoded))
    if decoded[name].shape != decoded[first].shape:
        sizes = (f"{each} of {decoded[each].shape[1]} x {decoded[each].shape[0]}" for each in (first, name))
        raise _refused(source, "must hold pictures of one size", got=" and ".join(sizes))


def _split(decoded: dict[PurePosixPath, NDArray[np.uint8]], split: str, source: Path) -> Pictures:
    names = sorted(name for name in decoded if name.parts[0] == split)
    if not names:
        raise InputError(
            "data.path",
            f"must hold pictures in {split}/CLASS/",
            got=f"none ({source})",
            fix="Check the path, or fetch it again. To align a compressed tar of photos, unpack it first.",
        )
    class_names, labels = np.unique([name.parts[1] for name in names], return_inverse=True)
    images = np.stack([decoded[name] for name in names])
    return Pictures(images, labels.astype(np.int64), tuple(class_names.tolist()))


def _refused(source: Path, rule: str, *, got: object) -> InputError:
    return InputError("data.path", rule, got=f"{got} ({source})", fix=_FIX)
