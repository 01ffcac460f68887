"""WebDataset shards: tars of samples, `KEY.jpg` beside `KEY.json` or `KEY.cls`, read where they lie.

The files of a sample follow each other and share their path up to the name's first dot. A tar without
compression holds its files as they are, so that an index of offsets is enough to read any of them.

`faceverif data export` writes for each crop the JSON `{photo, identity, sha256, landmarks}` in the words of
the manifest, and opens every shard with the member `__faceverif__`: how the crops were made, and how many
there are in all shards together. Other programs pass such names over.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.photos import PhotoError
from data_prep.sources.base import SourceFormat, SourcePhoto

ABOUT_NAME = "__faceverif__"
_PICTURES = ("jpg", "jpeg", "png", "webp")
_LARGEST_TEXT = 2**20
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_TAR_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, kw_only=True)
class ShardPhoto(SourcePhoto):
    """A photo in a shard.

    Attributes:
        path: the shard.
        offset: where its bytes begin.
        size: how many they are.
        sha256: of the photo that it was cut from, where the sample's JSON says it.
        landmarks: x, y of five points in that photo, likewise.
    """

    path: Path
    offset: int
    size: int
    sha256: str | None = None
    landmarks: list[float] | None = None

    def read(self) -> bytes:
        """The member's content."""
        content = read_span(self.path, self.offset, self.size)
        if len(content) != self.size:
            raise PhotoError("unreadable")
        return content


class Shards(NamedTuple):
    """The content of a set of shards.

    Attributes:
        photos: sorted by key.
        about: what `__faceverif__` says, the same in all; empty in sets by other programs.
    """

    photos: list[ShardPhoto]
    about: Mapping[str, Any]


def read_span(path: Path, offset: int, size: int) -> bytes:
    """Bytes of a file; fewer, or none, where it has become shorter or is gone."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size) or b""
    except OSError:
        return b""


def read_shards(source: Path) -> Shards:
    """The index of a set of shards; of its photos nothing is read.

    Args:
        source: a tar, or a folder of them.

    Raises:
        InputError: a tar that is compressed or cut off, that holds links, devices or names that lead out of
            it, or one sample twice; or shards are missing of a set, or two sets lie together.
    """
    paths = [source] if source.is_file() else sorted(source.glob("*.tar"))
    photos: dict[str, ShardPhoto] = {}
    abouts: list[Mapping[str, Any]] = []
    for path in paths:
        members = list(_members(path))
        abouts.append(_about(path, members))
        for photo in _photos(path, members):
            if photo.key in photos:
                raise _refused(path, "must hold each sample once", f"{photo.key} twice")
            photos[photo.key] = photo
    _refuse_other_sets(source, abouts, len(photos))
    return Shards([photos[key] for key in sorted(photos)], abouts[0])


def list_photos(source: Path) -> list[ShardPhoto]:
    """Every photo, sorted by key: what the JSON calls `photo`, else shard and name.

    Whom it shows says `identity` in the JSON, else the number in `.cls`, else the folder that the sample is
    in; a photo of nobody has none.

    Raises:
        InputError: as for `read_shards`.
    """
    return read_shards(source).photos


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="backslashreplace") as archive:
            for member in archive:
                if not member.isdir():
                    yield _checked(path, member)
            # Python takes anything that is no header for the end, and so a torn shard for a whole one.
            if read_span(path, archive.offset, len(_TAR_END)) != _TAR_END:
                raise _refused(path, "must be whole", f"no end of the archive at byte {archive.offset:,}")
    except InputError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise _refused(path, "must be a whole tar without compression", error) from error


def _checked(path: Path, member: tarfile.TarInfo) -> tarfile.TarInfo:
    refuse_name_outside(member.name, field=str(path))
    if not member.isreg() or member.issparse():
        raise _refused(path, "must hold plain files only", f"{member.name}, a link, device or sparse file")
    return member


def _about(path: Path, members: list[tarfile.TarInfo]) -> Mapping[str, Any]:
    first = members[:1]
    about = _json(path, first[0]) if first and first[0].name == ABOUT_NAME else {}
    if about is None:
        raise _refused(path, f"{ABOUT_NAME} must be JSON as `faceverif data export` writes it", "other bytes")
    return about


def _photos(path: Path, members: list[tarfile.TarInfo]) -> Iterator[ShardPhoto]:
    named = [(*_split(member.name), member) for member in members if member.name != ABOUT_NAME]
    for key, files in groupby(named, key=itemgetter(0)):
        sample = {ending: member for _, ending, member in files}
        picture = next((sample[ending] for ending in _PICTURES if ending in sample), None)
        if picture is not None:
            yield _photo(path, key, picture, sample)


def _photo(
    path: Path, key: str, picture: tarfile.TarInfo, sample: Mapping[str, tarfile.TarInfo]
) -> ShardPhoto:
    about = _json(path, sample["json"]) if "json" in sample else {}
    if about is not None and _overflow(about.get("landmarks")):
        about = None
    refused = "damaged_json" if about is None else None
    about = about or {}
    name = str(about.get("photo") or f"{path.stem}/{picture.name}")
    sha256, landmarks = about.get("sha256"), about.get("landmarks")
    return ShardPhoto(
        key=refuse_name_outside(name, field=f"{path}, {key}.json"),
        identity=_identity(path, key, about, sample),
        refused=refused,
        path=path,
        offset=picture.offset_data,
        size=picture.size,
        sha256=sha256 if isinstance(sha256, str) else None,
        landmarks=list(map(float, landmarks)) if _are_landmarks(landmarks) else None,
    )


def _are_landmarks(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 10 and all(type(each) in (int, float) for each in value)


def _overflow(landmarks: object) -> bool:
    """Whether they are landmarks, but infinite, no numbers, or more than a manifest's float32 holds."""
    return _are_landmarks(landmarks) and not all(abs(each) <= _LARGEST_FLOAT32 for each in landmarks)


def _identity(
    path: Path, key: str, about: Mapping[str, Any], sample: Mapping[str, tarfile.TarInfo]
) -> str | None:
    if "identity" in about:
        identity = about["identity"]
        return None if identity is None else str(identity)
    if "cls" in sample:
        number = _text(path, sample["cls"]).strip()
        return f"{int(number):06d}" if number.isdigit() and len(number) < 10 else None
    folder, slash, _ = key.partition("/")
    return folder if slash else None


def _split(name: str) -> tuple[str, str]:
    """Key and ending, parted at the first dot of the name, as the format wants it."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower()


def _json(path: Path, member: tarfile.TarInfo) -> dict[str, Any] | None:
    try:
        content = json.loads(_text(path, member))
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is JSON, but no text
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _text(path: Path, member: tarfile.TarInfo) -> bytes:
    return read_span(path, member.offset_data, min(member.size, _LARGEST_TEXT))


def _refuse_other_sets(source: Path, abouts: list[Mapping[str, Any]], photos: int) -> None:
    if not photos:
        raise _refused(source, f"must hold samples with a picture ({', '.join(_PICTURES)})", "none")
    if any(about != abouts[0] for about in abouts):
        raise _refused(source, "must hold the shards of one export", "those of several")
    announced = abouts[0].get("photos", photos)
    if announced != photos:
        raise _refused(source, f"must hold the {announced} crops that its shards announce", photos)


def _refused(path: Path, rule: str, got: object) -> InputError:
    return InputError(str(path), rule, got=got, fix="Fetch or export the shards again.")


def _recognises(source: Path) -> bool:
    if source.is_file():
        return source.suffix == ".tar" or read_span(source, _TAR_MAGIC_AT, len(_TAR_MAGIC)) == _TAR_MAGIC
    # A folder of photos per identity may hold a tar too.
    return (
        source.is_dir()
        and any(source.glob("*.tar"))
        and not any(entry.is_dir() and not entry.name.startswith(".") for entry in source.iterdir())
    )


FORMAT = SourceFormat("WebDataset shards, a .tar or a folder of them", _recognises, list_photos)
