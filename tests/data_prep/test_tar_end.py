"""A damaged tar is never taken for a smaller one, by whatever reads it."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from field_formats import picture, write_tar

from data_prep.check import check
from data_prep.errors import InputError
from data_prep.fetching.unpack import unpack
from data_prep.sources.picture_tar import read_pictures
from data_prep.sources.shard_file import ShardFile, StreamedShard

NAMES = [
    f"{split}/{kind}/{number}.png" for number in range(3) for split in ("train", "test") for kind in "ab"
]
READERS: dict[str, Callable[[Path], object]] = {
    "pictures": read_pictures,
    "shard": lambda path: list(ShardFile(path).members()),
    "shard in a storage": lambda path: list(StreamedShard(Path(f"file://{path}")).members()),
    "unpacked": lambda path: unpack(path, folder="set"),
}


def write_set(path: Path) -> Path:
    return write_tar(path, {f"set/{name}": picture(7, form="PNG") for name in NAMES})


def header_of(path: Path, member: int) -> int:
    """The byte where it begins."""
    with tarfile.open(path) as archive:
        return archive.getmembers()[member].offset


def end_of_members(path: Path) -> int:
    with tarfile.open(path) as archive:
        archive.getmembers()
        return int(archive.offset)


def damage(path: Path, kind: str) -> None:
    content, at = bytearray(path.read_bytes()), header_of(path, 6)
    if kind == "checksum":
        content[at + 150] ^= 1
    elif kind == "hole":
        content[at : at + 2048] = bytes(2048)
    elif kind == "appended":
        content = content * 2
    else:
        del content[at:]
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["checksum", "hole", "appended", "no end"])
@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_tar_is_refused(tmp_path: Path, reader: str, kind: str) -> None:
    path = write_set(tmp_path / "set.tar")
    damage(path, kind)
    said = "another file at byte" if kind in ("hole", "appended") else "no end of the archive at byte"
    with pytest.raises(InputError, match=said):
        READERS[reader](path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.tar"]


def test_a_check_does_not_call_it_whole(tmp_path: Path) -> None:
    path = write_set(tmp_path / "set.tar")
    assert not check(path).problems
    damage(path, "checksum")
    assert "no end of the archive" in str(check(path).problems)


@pytest.mark.parametrize("kind", ["checksum", "hole"])
def test_damage_within_a_compressed_tar_is_found_too(tmp_path: Path, kind: str) -> None:
    path = write_set(tmp_path / "set.tar")
    damage(path, kind)
    path.write_bytes(gzip.compress(path.read_bytes()))
    for reader in ("pictures", "unpacked"):
        with pytest.raises(InputError, match="must be a whole"):
            READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_what_pads_a_whole_tar_is_no_damage(tmp_path: Path, reader: str) -> None:
    path = write_set(tmp_path / "set.tar")
    members = path.read_bytes()[: end_of_members(path)]
    for number, padding in enumerate(
        (bytes(512), bytes(2**21), bytes(1024) + b"of an old buffer".ljust(512))
    ):
        path = tmp_path / f"{number}/set.tar"
        path.parent.mkdir()
        path.write_bytes(members + padding)
        READERS[reader](path)
