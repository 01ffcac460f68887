"""WebDataset shards: tars of samples, `KEY.jpg` beside `KEY.json` or `KEY.cls`, read where they lie.

`shard_samples` says which files make a sample. A tar without compression holds its files as they are, so that
an index of offsets is enough to read any of them. A tar of a folder per identity is read the same way.

`faceverif data export` writes for each crop the JSON `{photo, identity, sha256, landmarks}` in the words of
the manifest, and opens every shard with the member `__faceverif__`: how the crops were made, and how many
there are in all shards together. Other programs pass such names over.
"""

from __future__ import annotations

import json
import posixpath
import shlex
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from data_prep.errors import InputError
from data_prep.inside import refuse_name_outside
from data_prep.photos import PhotoError
from data_prep.picture_formats import is_picture_name
from data_prep.sources.base import Listing, Skipped, SourceFormat, SourcePhoto, listing
from data_prep.sources.people_folders import people_level
from data_prep.sources.shard_samples import Sample, samples
from data_prep.walk import left_by_the_system

ABOUT_NAME = "__faceverif__"
_JSON_LABELS = ("identity", "label", "cls", "class")
_LONGEST_LABEL = 200
_LARGEST_TEXT = 2**20
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_COMPRESSED, _OPENING_BYTES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"), 6
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
        skipped: members that are no part of a sample.
    """

    photos: Sequence[ShardPhoto]
    about: Mapping[str, Any]
    skipped: Skipped


class _Described(NamedTuple):
    """A sample of one shard with its JSON: null where that is broken, empty without one."""

    path: Path
    sample: Sample
    about: dict[str, Any] | None


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
    paths = [source] if source.is_file() else _tars_in(source)
    photos: list[ShardPhoto] = []
    names: list[str] = []
    abouts: list[Mapping[str, Any]] = []
    labelled = False
    skipped = Skipped()
    for path in paths:
        members = _members(path, skipped)
        abouts.append(_about(path, members))
        for sample in samples(members, skipped, place=f"{path.name}/"):
            about = {} if sample.about is None else _json(path, sample.about)
            described = _Described(path, sample, about)
            labelled = labelled or _has_label(described)
            photos.append(_photo(described, *_label(described)))
            names.append(sample.name)
    _refuse_other_sets(source, abouts, len(photos))
    found = listing(source, photos if labelled else _by_folder(source, photos, names), skipped)
    return Shards(found.photos, abouts[0], skipped)


def list_photos(source: Path) -> Listing[ShardPhoto]:
    """Every photo; its key is what the JSON calls `photo`, else shard and name.

    `identity` or `label` in the JSON says whom it shows, or else the text in `.cls`. Where no sample has any
    of these, the folder in the tar does, as in a folder of photos per identity.

    Raises:
        InputError: as for `read_shards`.
    """
    shards = read_shards(source)
    return Listing(shards.photos, shards.skipped)


def _members(path: Path, skipped: Skipped) -> dict[str, tarfile.TarInfo]:
    """The files of a shard by name, `./a//b` as `a/b`."""
    members: dict[str, tarfile.TarInfo] = {}
    for member in _plain_members(path):
        name = posixpath.normpath(member.name)
        if any(map(left_by_the_system, name.split("/"))):
            skipped.add(f"{path.name}/{name}", "system_file")
        elif name in members:
            raise _refused(path, "must hold each file once", f"{name} twice")
        else:
            members[name] = member
    return members


def _plain_members(path: Path) -> Iterator[tarfile.TarInfo]:
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
        if read_span(path, 0, _OPENING_BYTES).startswith(_COMPRESSED):
            raise InputError(
                str(path),
                "must be a whole tar without compression",
                got="a compressed one",
                fix=f"Unpack it, tar xf {shlex.quote(str(path))}, and give the folder.",
            ) from error
        raise _refused(path, "must be a whole tar without compression", error) from error


def _checked(path: Path, member: tarfile.TarInfo) -> tarfile.TarInfo:
    refuse_name_outside(member.name, field=str(path))
    if not member.isreg() or member.issparse():
        raise _refused(path, "must hold plain files only", f"{member.name}, a link, device or sparse file")
    return member


def _about(path: Path, members: dict[str, tarfile.TarInfo]) -> Mapping[str, Any]:
    """What the shard says of its export; taken out of the members."""
    member = members.pop(ABOUT_NAME, None)
    about = {} if member is None else _json(path, member)
    if about is None:
        raise _refused(path, f"{ABOUT_NAME} must be JSON as `faceverif data export` writes it", "other bytes")
    return about


def _by_folder(source: Path, photos: Sequence[ShardPhoto], names: Sequence[str]) -> Iterator[ShardPhoto]:
    """Photos without labels, each with the identity that its folder in the shard names."""
    level = people_level(names, source)
    for photo, name in zip(photos, names, strict=True):
        folders = name.split("/")[:-1]
        yield replace(photo, identity=folders[level] if len(folders) > level else None)


def _photo(described: _Described, identity: str | None, refused: str | None) -> ShardPhoto:
    path, sample, about = described
    if about is None or _overflow(about.get("landmarks")):
        about, refused = {}, "damaged_json"
    name = str(about.get("photo") or f"{path.stem}/{sample.name}")
    sha256, landmarks = about.get("sha256"), about.get("landmarks")
    return ShardPhoto(
        key=posixpath.normpath(refuse_name_outside(name, field=f"{path}, {sample.name}")),
        identity=identity,
        refused=refused,
        path=path,
        offset=sample.picture.offset_data,
        size=sample.picture.size,
        sha256=sha256 if isinstance(sha256, str) else None,
        landmarks=list(map(float, landmarks)) if _are_landmarks(landmarks) else None,
    )


def _are_landmarks(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 10 and all(type(each) in (int, float) for each in value)


def _overflow(landmarks: object) -> bool:
    """Whether they are landmarks, but infinite, no numbers, or more than a manifest's float32 holds."""
    return _are_landmarks(landmarks) and not all(abs(each) <= _LARGEST_FLOAT32 for each in landmarks)


# --- labels


def _has_label(described: _Described) -> bool:
    """Whether a sample says whom it shows, or that it shows nobody, or fails to say it."""
    about = described.about
    return described.sample.label is not None or about is None or any(key in about for key in _JSON_LABELS)


def _label(described: _Described) -> tuple[str | None, str | None]:
    """The identity, null for nobody; and `damaged_label` for what names nobody."""
    path, sample, about = described
    key = next((key for key in _JSON_LABELS if key in (about or {})), None)
    if about is not None and key is not None:
        value = about[key]
        if key == "identity" and isinstance(value, str):  # a name, as our exports write it
            return value, None
        if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
            return None, "damaged_label"
        return (None, None) if value is None else _identity(str(value))
    if sample.label is None:
        return None, None
    return _identity(_text(path, sample.label).decode("utf-8", "replace"))


def _identity(label: str) -> tuple[str | None, str | None]:
    """What `_label` returns for a label as other programs write it: a number, a name, or -1 for nobody."""
    label = label.strip()
    if label.startswith("-") and label[1:].isdigit():
        return None, None
    if not label.isprintable() or "\ufffd" in label or not 0 < len(label) <= _LONGEST_LABEL:
        return None, "damaged_label"
    return (f"{int(label):06d}" if label.isdecimal() and len(label) < 10 else label), None


# --- members


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
        raise _refused(source, "must hold samples with a picture", "none")
    if any(about != abouts[0] for about in abouts):
        raise _refused(source, "must hold the shards of one export", "those of several")
    announced = abouts[0].get("photos", photos)
    if announced != photos:
        raise _refused(source, f"must hold the {announced} crops that its shards announce", photos)


def _refused(path: Path, rule: str, got: object) -> InputError:
    return InputError(str(path), rule, got=got, fix="Fetch or export the shards again.")


def _tars_in(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.glob("*.tar") if path.is_file() and not left_by_the_system(path.name)
    )


def _recognises(source: Path) -> bool:
    if source.is_file():
        return source.suffix == ".tar" or read_span(source, _TAR_MAGIC_AT, len(_TAR_MAGIC)) == _TAR_MAGIC
    if not source.is_dir() or not _tars_in(source):
        return False
    # A folder of photos, per identity or flat, may hold a tar too.
    entries = [entry for entry in source.iterdir() if not left_by_the_system(entry.name)]
    return not any(entry.is_dir() or is_picture_name(entry.name) for entry in entries)


FORMAT = SourceFormat(
    "WebDataset shards or a tar of photos, a .tar or a folder of them", _recognises, list_photos
)
