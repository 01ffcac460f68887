"""Unpacks archives that others made; nothing is written outside their folder."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from data_prep.atomic import unfinished
from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.own_files import read_guarded
from data_prep.tar_end import refuse_torn

_FIX = "Remove it and fetch it again; do not trust this one."


class _Member(NamedTuple):
    """What an archive says of a file or folder in it; `plain` is False for links, devices and the like."""

    name: str
    size_bytes: int
    plain: bool


def unpack(archive: Path, *, folder: str) -> None:
    """Unpack a .zip, or a tar compressed in any way, beside itself; whole or not at all.

    Every name is checked before the first file is written.

    Args:
        archive: the file.
        folder: the one folder that it must hold.

    Raises:
        InputError: it is damaged, holds something else, a link, a name that leaves the folder, or more than
            the disk has room for.
    """
    with (
        read_guarded(str(archive), "must be a whole archive", got=archive, fix=_FIX),
        unfinished(archive.parent / folder, folder=True) as place,
    ):
        _extract(archive, place, folder)
        os.replace(place / folder, archive.parent / folder)


def _extract(archive: Path, place: Path, folder: str) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            _check(archive, [_zip_member(info) for info in zipped.infolist()], folder)
            zipped.extractall(place)
        return
    with tarfile.open(archive) as tar:
        members = [_Member(each.name, each.size, each.isfile() or each.isdir()) for each in tar]
        refuse_torn(tar)
        _check(archive, members, folder)
        tar.extractall(place, filter="data")


def _zip_member(info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive comes from a system without them
    return _Member(info.filename, info.file_size, kind in (0, stat.S_IFREG, stat.S_IFDIR))


def _check(archive: Path, members: Iterable[_Member], folder: str) -> None:
    needed = 0
    for member in members:
        name = refuse_name_outside(member.name, field=str(archive)).removeprefix("./")
        if not member.plain:
            raise _refused(archive, "must hold files and folders only", f"{name}, a link or device")
        if name.strip("/") and name.split("/")[0] != folder:
            raise _refused(archive, f"must hold the folder {folder} and nothing beside it", name)
        needed += member.size_bytes
    free = shutil.disk_usage(archive.parent).free
    if needed > free:
        raise InputError(
            str(archive.parent),
            f"must have room for {needed:,} bytes",
            got=f"{free:,} free",
            fix="Free some space: the same command continues.",
        )
    if not needed:
        raise _refused(archive, f"must hold the folder {folder}", "nothing")


def _refused(archive: Path, rule: str, got: str) -> InputError:
    return InputError(str(archive), rule, got=got, fix=_FIX)
