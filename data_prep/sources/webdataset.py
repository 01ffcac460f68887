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
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import pyarrow as pa

from data_prep.inside import refuse_name_outside
from data_prep.picture_formats import is_picture_name
from data_prep.repeated_text import repeated
from data_prep.sources.base import Listing, Skipped, SourceFormat
from data_prep.sources.labels import DAMAGED, NOBODY, Named, by_label, by_name
from data_prep.sources.people_folders import people_level
from data_prep.sources.shard_file import ShardFile, read_span, refused_shard
from data_prep.sources.shard_index import (
    INDEX,
    IndexedShard,
    ShardPhoto,
    ShardPhotos,
    details,
    indexed_in_storage,
    joined,
    shards_in_storage,
)
from data_prep.sources.shard_samples import Sample, samples
from data_prep.storage import RemoteFile, address_of
from data_prep.tar_end import MAGIC, MAGIC_AT
from data_prep.walk import left_by_the_system, packs_in

ABOUT_NAME = "__faceverif__"
_JSON_LABELS = ("identity", "label", "cls", "class")
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class Shards(NamedTuple):
    """The content of a set of shards.

    Attributes:
        photos: sorted by key.
        about: what `__faceverif__` says, the same in all; empty in sets by other programs.
        skipped: members that are no part of a sample.
        files: the shards as they were, where they lie in a storage.
    """

    photos: ShardPhotos
    about: Mapping[str, Any]
    skipped: Skipped
    files: tuple[RemoteFile, ...]


class _Described(NamedTuple):
    """A sample of one shard with its JSON: None where that is broken, empty without one."""

    shard: ShardFile
    sample: Sample
    about: dict[str, Any] | None


def read_shards(source: Path) -> Shards:
    """The index of a set of shards; of its photos nothing is read.

    Args:
        source: a tar, or a folder of them, here or in a storage.

    Raises:
        InputError: a tar that is compressed or cut off, that holds links, devices or names that lead out of
            it, or one sample twice; or shards are missing of a set, or two sets lie together.
    """
    skipped = Skipped()
    paths, files = _shards_of(source)
    abouts, rows = joined(_indexed(paths, files, skipped))
    _refuse_other_sets(source, abouts, len(rows))
    if "name" in rows.column_names:  # no sample has a label
        rows = _by_folder(source, rows).drop_columns("name")
    columns = {name: rows[name] for name in rows.column_names}
    del rows  # so that each column can go when it is sorted
    return Shards(ShardPhotos.of(source, paths, columns), abouts[0], skipped, tuple(files))


def read_details(source: Path) -> pa.Table:
    """What the JSON of each photo says of the photo that it was cut from, in the order of `read_shards`.

    Raises:
        InputError: as for `read_shards`.
    """
    return details(_indexed(*_shards_of(source), Skipped()))


def _shards_of(source: Path) -> tuple[list[Path], list[RemoteFile]]:
    """The shards; and as they are now, where they lie in a storage."""
    if address_of(source) is None:
        return [source] if source.is_file() else packs_in(source, ".tar"), []
    files = shards_in_storage(source)
    return [file.path for file in files], files


def _indexed(paths: list[Path], files: list[RemoteFile], skipped: Skipped) -> Iterator[IndexedShard]:
    if files:
        return indexed_in_storage(files, skipped, index_shard)
    return (index_shard(ShardFile(path), skipped) for path in paths)


def index_shard(shard: ShardFile, skipped: Skipped) -> IndexedShard:
    """What one shard holds.

    Raises:
        InputError: as for `read_shards`.
    """
    members = _members(shard, skipped)
    about, labelled, rows = _about(shard, members), False, []
    for sample in samples(members, skipped, place=f"{shard.path.name}/"):
        described = _Described(shard, sample, {} if sample.about is None else _json(shard, sample.about))
        labelled = labelled or _has_label(described)
        rows.append(_row(described, *_label(described, exported=bool(about))))
    return IndexedShard(dict(about), labelled, pa.Table.from_pylist(rows, schema=INDEX))


def list_photos(source: Path) -> Listing[ShardPhoto]:
    """Every photo; its key is what the JSON calls `photo`, else shard and name.

    `identity` or `label` in the JSON says whom it shows, or else the text in `.cls`. Where no sample has any
    of these, the folder in the tar does, as in a folder of photos per identity.

    Raises:
        InputError: as for `read_shards`.
    """
    shards = read_shards(source)
    return Listing(shards.photos, shards.skipped)


def _members(shard: ShardFile, skipped: Skipped) -> dict[str, tarfile.TarInfo]:
    """The files of a shard by name, `./a//b` as `a/b`."""
    members: dict[str, tarfile.TarInfo] = {}
    path = shard.path
    for member in shard.members():
        name = posixpath.normpath(member.name)
        if any(map(left_by_the_system, name.split("/"))):
            skipped.add(f"{path.name}/{name}", "system_file")
        elif name in members:
            raise refused_shard(path, "must hold each file once", f"{name} twice")
        else:
            members[name] = member
    return members


def _about(shard: ShardFile, members: dict[str, tarfile.TarInfo]) -> Mapping[str, Any]:
    """What the shard says of its export; taken out of the members."""
    member = members.pop(ABOUT_NAME, None)
    about = {} if member is None else _json(shard, member)
    if about is None:
        raise refused_shard(
            shard.path, f"{ABOUT_NAME} must be JSON as `faceverif data export` writes it", "other bytes"
        )
    return about


def _by_folder(source: Path, rows: pa.Table) -> pa.Table:
    """Photos without labels, each with the identity that its folder in the shard names."""
    names = rows["name"].to_pylist()
    level = people_level(names, source)
    folders = (name.split("/")[:-1] for name in names)
    people = pa.array((each[level] if len(each) > level else None for each in folders), pa.string())
    return rows.set_column(rows.schema.get_field_index("identity"), "identity", repeated(people))


def _row(described: _Described, identity: str | None, refused: str | None) -> dict[str, Any]:
    """A photo in the columns of `INDEX`."""
    shard, sample, about = described
    if about is None or _overflow(about.get("landmarks")):
        about, refused = {}, "damaged_json"
    name = str(about.get("photo") or f"{shard.path.stem}/{sample.name}")
    sha256, landmarks = about.get("sha256"), about.get("landmarks")
    return {
        "key": posixpath.normpath(refuse_name_outside(name, field=f"{shard.path}, {sample.name}")),
        "identity": identity,
        "refused": refused,
        "name": sample.name,
        "offset": sample.picture.offset_data,
        "size": sample.picture.size,
        "checksum": shard.checksum(sample.picture),
        "sha256": sha256 if isinstance(sha256, str) else None,
        "landmarks": list(map(float, landmarks)) if _are_landmarks(landmarks) else None,
    }


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


def _label(described: _Described, *, exported: bool) -> Named:
    """Whom a sample shows."""
    shard, sample, about = described
    key = next((key for key in _JSON_LABELS if key in (about or {})), None)
    if about is not None and key is not None:
        value = about[key]
        if key == "identity" and isinstance(value, str):
            # Our exports give back any name that a folder has.
            return Named(value) if exported and value.strip() else by_name(value)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
            return DAMAGED
        return NOBODY if value is None else by_label(str(value))
    if sample.label is None:
        return NOBODY
    return by_label(shard.text(sample.label).decode("utf-8", "replace"))


# --- members


def _json(shard: ShardFile, member: tarfile.TarInfo) -> dict[str, Any] | None:
    try:
        content = json.loads(shard.text(member))
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is JSON, but no text
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _refuse_other_sets(source: Path, abouts: list[Mapping[str, Any]], photos: int) -> None:
    if not photos:
        raise refused_shard(source, "must hold samples with a picture", "none")
    announced = _announced(source, abouts, photos)
    if announced != photos:
        raise refused_shard(source, f"must hold the {announced} crops that its shards announce", photos)


def _announced(source: Path, abouts: list[Mapping[str, Any]], photos: int) -> Any:
    """How many crops an export says it has, or all its parts together."""
    first = abouts[0]
    parts = {json.dumps(about.get("part")): about for about in abouts}
    differ = any(about != parts[json.dumps(about.get("part"))] for about in abouts)
    general = [{**about, "part": 0, "photos": 0} for about in parts.values()]
    if differ or (len(parts) > 1 and any(each != general[0] for each in general)):
        raise refused_shard(source, "must hold the shards of one export", "those of several")
    if first.get("parts", 1) != len(parts):
        rule = f"must hold the shards of all {first['parts']} parts"
        raise refused_shard(source, rule, f"parts {', '.join(sorted(parts))}")
    counts = [about.get("photos", photos) for about in parts.values()]
    return counts[0] if len(counts) == 1 else sum(each for each in counts if isinstance(each, int))


def _recognises(source: Path) -> bool:
    if source.is_file():
        return source.suffix == ".tar" or read_span(source, MAGIC_AT, len(MAGIC)) == MAGIC
    if not source.is_dir() or not packs_in(source, ".tar"):
        return False
    # A folder of photos, per identity or flat, may hold a tar too.
    entries = [entry for entry in source.iterdir() if not left_by_the_system(entry.name)]
    return not any(entry.is_dir() or is_picture_name(entry.name) for entry in entries)


FORMAT = SourceFormat(
    "WebDataset shards or a tar of photos, a .tar or a folder of them", _recognises, list_photos
)
