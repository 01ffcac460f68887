"""Which folder on a photo's path names the person: the first, unless everything lies in one folder above.

Sets come nested twice (`lfw/lfw/Ann/1.jpg`), and with splits or groups above the people (`train/Ann/1.jpg`).
The first is understood. The second is refused, or a model would be trained on the test photos too.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from data_prep.progress import say

_SPLITS = {
    *("train", "training", "trainval", "test", "testing", "val", "valid", "validation", "dev", "eval"),
    *("evaluation", "probe", "gallery", "query"),
}
_CONTAINERS = {
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pic", "pics", "face"),
    *("faces", "crop", "crops", "cropped", "aligned", "data", "dataset", "datasets", "set", "sets", "split"),
    *("splits", "people", "persons", "identities"),
}
_SHORTEST_NUMBER = 4  # digits of a number that names a person and the person's photos

_ALIGNED = "SOURCE"  # the argument of `faceverif align`

_Folders = Sequence[tuple[str, ...]]


class NamedByFolders(NamedTuple):
    """Who is on photos, by their folders.

    Attributes:
        identities: (photos,) None for a photo that lies in no person's folder.
        shared: the folders above the people's, such as `lfw/`, where every photo lies in them; else empty.
    """

    identities: list[str | None]
    shared: str


def named_by_folders(names: Sequence[str], source: Path, *, option: str = _ALIGNED) -> NamedByFolders:
    """Who is on each photo; that folders above the people's were passed over is said.

    Args, Raises: see `people_level`.
    """
    level = people_level(names, source, option=option)
    folders = [name.split("/")[:-1] for name in names]
    above = "/".join(max(folders, key=len, default=[])[:level]) + "/"
    shared = level > 0 and all(name.startswith(above) for name in names)
    if level:
        much = "everything" if shared else "almost everything"
        say(f"{source}: {much} lies in {above}, so the folders in it name the people")
    identities = [path[level] if len(path) > level else None for path in folders]
    return NamedByFolders(identities, above if shared else "")


def people_level(names: Sequence[str], source: Path, *, option: str = _ALIGNED) -> int:
    """How many folders lie above the one that names the person.

    Args:
        names: the photos' paths below `source`, with forward slashes.
        source: a folder, or a file that holds them, for the message.
        option: what the user named it with, for the message: of what is not aligned, one of several folders
            is to be named.

    Returns:
        the index of the person's folder among the folders of a path. A photo with no more folders than that
        shows nobody by name.

    Raises:
        InputError: splits or groups of people lie above the people.
    """
    folders = [tuple(name.split("/")[:-1]) for name in names]
    level = 0
    while _all_in_one(folders, level):
        level += 1
    wrong = _splits(folders, level) or _groups(names, folders, level)
    if wrong is not None:
        raise _above_people(folders, level, source, wrong, option=option)
    return level


def _all_in_one(folders: _Folders, level: int) -> bool:
    """Whether all lies in one folder at that level, and that is no person's: most photos lie deeper."""
    tops = {path[level] for path in folders if len(path) > level}
    if len(tops) != 1 or 2 * sum(len(path) <= level for path in folders) > len(folders):
        return False
    direct = sum(len(path) == level + 1 for path in folders)
    return 2 * direct < len(folders) or _words(*tops) <= _SPLITS | _CONTAINERS


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", name.lower())) or {name}


def _is_split(name: str) -> bool:
    """`train`, `test_images`, `val2`."""
    words = _words(name)
    return bool(words & _SPLITS) and words <= _SPLITS | _CONTAINERS


def _last_word(name: str) -> str:
    return (re.findall(r"[^\W\d_]+", name.lower()) or [""])[-1]


class _Above(NamedTuple):
    """Folders above those of the people, and what is said of them."""

    tops: Sequence[str]
    got: str


def _splits(folders: _Folders, level: int) -> _Above | None:
    """Folders that are no people's by their name: splits, and folders of folders such as `data`."""
    tops = {path[level] for path in folders if len(path) > level}
    splits = {top for top in tops if _is_split(top)}
    if all(_last_word(top) in _SPLITS for top in tops):  # `vggface2_train`; one alone may be `Kapil_Dev`
        splits = tops
    direct = {path[level] for path in folders if len(path) == level + 1}  # with photos of their own
    nobody = {top for top in tops - direct if top in splits or _words(top) <= _CONTAINERS}
    if nobody or (splits and splits == tops):
        above = sorted(nobody | splits)
        return _Above(above, f"{', '.join(above)} above the people")
    return None


def _groups(names: Sequence[str], folders: _Folders, level: int) -> _Above | None:
    """Folders of people, where the second folder names the person, as far as names can tell.

    It does when photos are called after it, when few folders hold many others, each of them once, or when
    the first is the letter that all in it begin with.
    """
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for path in folders:
        if len(path) < level + 2:
            return None
        inner[path[level]].add(path[level + 1])
    if len(inner) < 2:
        return None
    called = Counter(
        "first" if _begins(name, path[level]) else "second" if _begins(name, path[level + 1]) else "neither"
        for name, path in zip(names, folders, strict=True)
    )
    each_once = len(set().union(*inner.values())) == sum(map(len, inner.values()))
    few = len(inner) <= max(map(len, inner.values()))
    by_letter = all(len(top) == 1 and all(_begins(name, top) for name in each) for top, each in inner.items())
    if 2 * called["second"] > len(names) or by_letter or (each_once and few and not called["first"]):
        people = sorted(next(iter(sorted(inner.items())))[1])[:2]
        return _Above(sorted(inner), f"people ({', '.join(people)}, ...) in groups")
    return None


def _begins(name: str, folder: str) -> bool:
    """Whether a photo is called after a folder; a short number is rather that of a video and its frames."""
    is_person = len(folder) >= _SHORTEST_NUMBER or not folder.isdecimal()
    return is_person and name.rpartition("/")[2].lower().startswith(folder.lower())


def _above_people(folders: _Folders, level: int, source: Path, wrong: _Above, *, option: str) -> InputError:
    one_folder = "put each person's photos into one folder directly"
    above = next(path for path in folders if len(path) > level)[:level]
    places = [source.joinpath(*above, top) for top in wrong.tops[:2]]
    more = ", and so on" if len(wrong.tops) > 2 else ""
    if option != _ALIGNED:
        fix = f"Name one of them, such as {shlex.quote(str(places[0]))}; or {one_folder}."
    elif source.is_dir():
        commands = (printed_command("align", place, f"OUT-{index}") for index, place in enumerate(places, 1))
        fix = f"Align each on its own: {' and '.join(commands)}{more}; or {one_folder}."
    else:
        unpack = f"tar xf {shlex.quote(str(source))}"
        fix = f"Unpack it, {unpack}, and align each of {', '.join(wrong.tops[:2])} on its own."
    got = f"{source} with {wrong.got}"
    return InputError(option, "must have a folder per person on top", got=got, fix=fix)
