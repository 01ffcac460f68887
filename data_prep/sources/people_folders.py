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

from data_prep.errors import InputError

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

_Folders = Sequence[tuple[str, ...]]


def people_level(names: Sequence[str], source: Path) -> int:
    """How many folders lie above the one that names the person.

    Args:
        names: the photos' paths below `source`, with forward slashes.
        source: a folder, or a file that holds them, for the message.

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
    _refuse_splits(folders, level, source)
    _refuse_groups(names, folders, level, source)
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


def _refuse_splits(folders: _Folders, level: int, source: Path) -> None:
    """Refuse folders that are no people's by their name: splits, and folders of folders such as `data`."""
    tops = {path[level] for path in folders if len(path) > level}
    splits = {top for top in tops if _is_split(top)}
    if all(_last_word(top) in _SPLITS for top in tops):  # `vggface2_train`; one alone may be `Kapil_Dev`
        splits = tops
    direct = {path[level] for path in folders if len(path) == level + 1}  # with photos of their own
    nobody = {top for top in tops - direct if top in splits or _words(top) <= _CONTAINERS}
    if nobody or (splits and splits == tops):
        above = sorted(nobody | splits)
        raise _above_people(folders, level, source, above, f"{', '.join(above)} above the people")


def _refuse_groups(names: Sequence[str], folders: _Folders, level: int, source: Path) -> None:
    """Refuse where the second folder names the person, as far as names can tell.

    It does when photos are called after it, when few folders hold many others, each of them once, or when
    the first is the letter that all in it begin with.
    """
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for path in folders:
        if len(path) < level + 2:
            return
        inner[path[level]].add(path[level + 1])
    if len(inner) < 2:
        return
    called = Counter(
        "first" if _begins(name, path[level]) else "second" if _begins(name, path[level + 1]) else "neither"
        for name, path in zip(names, folders, strict=True)
    )
    each_once = len(set().union(*inner.values())) == sum(map(len, inner.values()))
    few = len(inner) <= max(map(len, inner.values()))
    by_letter = all(len(top) == 1 and all(_begins(name, top) for name in each) for top, each in inner.items())
    if 2 * called["second"] > len(names) or by_letter or (each_once and few and not called["first"]):
        people = sorted(next(iter(sorted(inner.items())))[1])[:2]
        raise _above_people(
            folders, level, source, sorted(inner), f"people ({', '.join(people)}, ...) in groups"
        )


def _begins(name: str, folder: str) -> bool:
    """Whether a photo is called after a folder; a short number is rather that of a video and its frames."""
    is_person = len(folder) >= _SHORTEST_NUMBER or not folder.isdecimal()
    return is_person and name.rpartition("/")[2].lower().startswith(folder.lower())


def _above_people(folders: _Folders, level: int, source: Path, tops: Sequence[str], got: str) -> InputError:
    if source.is_dir():
        above = next(path for path in folders if len(path) > level)[:level]
        commands = " and ".join(
            f"faceverif align {shlex.quote(str(source.joinpath(*above, top)))} OUT-{index}"
            for index, top in enumerate(tops[:2], start=1)
        )
        more = ", and so on" if len(tops) > 2 else ""
        fix = (
            f"Align each on its own: {commands}{more}; or put each person's photos into one folder directly."
        )
    else:
        unpack = f"tar xf {shlex.quote(str(source))}"
        fix = f"Unpack it, {unpack}, and align each of {', '.join(tops[:2])} on its own."
    return InputError("SRC", "must have a folder per person on top", got=f"{source} with {got}", fix=fix)
