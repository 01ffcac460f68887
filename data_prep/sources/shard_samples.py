"""Which members of a shard make a sample: a picture, its JSON and its label, recognised by their names.

WebDataset splits a name at the first dot of its last part: `1.jpg`, `1.cls` and `1.seg.png` are one sample.
But photos are also called `m.0abc_0001.jpg`, and picture and label `1.input.jpg` and `1.target.cls`. So where
no picture of a sample has a plain ending (`.jpg` right after the key), each picture counts. It has the label
of its own name, or the one label that belongs to no other picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from tarfile import TarInfo
from typing import NamedTuple

from data_prep.picture_formats import is_picture_name
from data_prep.sources.base import Skipped

_PREFERRED = ("jpg", "jpeg", "png", "webp")  # where one sample has several pictures
_LABELS = ("cls", "label", "class", "identity")


class Sample(NamedTuple):
    """The members of a sample.

    Attributes:
        name: of the picture, in the shard.
        picture: its member.
        about: the JSON; None without one.
        label: a text that names the identity; None without one.
    """

    name: str
    picture: TarInfo
    about: TarInfo | None
    label: TarInfo | None


class _Part(NamedTuple):
    """A member of a group: `1.input.jpg` has the prefix `input` and the kind `jpg`."""

    name: str
    prefix: str
    kind: str

    @property
    def is_picture(self) -> bool:
        """Whether it ends as the photos of a folder do."""
        return is_picture_name(f".{self.kind}")


def samples(members: Mapping[str, TarInfo], skipped: Skipped, *, place: str) -> Iterator[Sample]:
    """The samples among a shard's members, wherever in it they lie.

    Args:
        members: by name.
        skipped: takes the names of those that belong to no sample.
        place: stands before such a name, as `shard.tar/`.
    """
    groups: defaultdict[str, list[_Part]] = defaultdict(list)
    for name in members:
        folder, slash, base = name.rpartition("/")
        key, _, ending = base.partition(".")
        prefix, _, kind = ending.lower().rpartition(".")
        groups[folder + slash + key].append(_Part(name, prefix, kind))
    for group in groups.values():
        used = set()
        for sample in _of_group(group, members):
            yield sample
            used |= {each.name for each in (sample.picture, sample.about, sample.label) if each is not None}
        for part in group:
            if members[part.name].name not in used:
                reason = "further_picture" if part.is_picture else "no_picture"
                skipped.add(place + part.name, reason)


def _of_group(group: list[_Part], members: Mapping[str, TarInfo]) -> Iterator[Sample]:
    pictures = [part for part in group if part.is_picture]
    plain = sorted((part for part in pictures if not part.prefix), key=_rank)
    for picture in plain[:1] or pictures:
        found = (_beside(picture, kinds, group, pictures) for kinds in (("json",), _LABELS))
        about, label = (None if part is None else members[part.name] for part in found)
        yield Sample(picture.name, members[picture.name], about, label)


def _rank(picture: _Part) -> int:
    return _PREFERRED.index(picture.kind) if picture.kind in _PREFERRED else len(_PREFERRED)


def _beside(
    picture: _Part, kinds: tuple[str, ...], group: list[_Part], pictures: list[_Part]
) -> _Part | None:
    """The part of such a kind with the picture's prefix, else the only one that is no other picture's."""
    fitting = [part for part in group if part.kind in kinds]
    own = [part for part in fitting if part.prefix == picture.prefix]
    if own:
        return own[0]
    others = {part.prefix for part in pictures}
    shared = [part for part in fitting if part.prefix not in others]
    return shared[0] if len(shared) == 1 else None
