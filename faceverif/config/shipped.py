"""The configs that come with the project: in a checkout, or in the installed package."""

from __future__ import annotations

import difflib
import re
import textwrap
from pathlib import Path

from data_prep.errors import InputError, few
from faceverif.config.paths import ALIKE

# A checkout has them at its top; an installed package has them as a folder of its own.
_PACKAGE = Path(__file__).resolve().parents[1]
_WIDTH = 90
_SENTENCE = re.compile(r"(.*?(?<!Fig)(?<!Figs)(?<!Sec)(?<! al))\.(?: |$)")
_PLACES = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def shipped_configs() -> dict[str, Path]:
    """Name -> file, such as `faces/celeba_cosface`, in the order of the names.

    Raises:
        InputError: this installation has none.
    """
    for place in _PLACES:
        found = sorted(place.rglob("*.yaml")) if place.is_dir() else []
        if found:
            return {path.relative_to(place).with_suffix("").as_posix(): path for path in found}
    raise InputError(
        "config",
        "must be among the files of this installation",
        got="no folder of configs",
        fix="Install faceverif again.",
    )


def find_shipped_config(name: str) -> Path:
    """The file of a shipped config.

    Args:
        name: with or without `configs/` before it and `.yaml` behind it.

    Raises:
        InputError: there is none of that name.
    """
    known = shipped_configs()
    wanted = name.removeprefix("configs/").removesuffix(".yaml")
    if wanted in known:
        return known[wanted]
    fix = near_shipped(Path(name)) or "`faceverif config list` names them all."
    raise InputError("NAME", "must be a shipped config", got=name, fix=fix)


def shipped_in_place_of(path: Path) -> Path:
    """The shipped config where a path names one and the user's folder has no such file; else the path.

    README's commands name `configs/...`; after `pip install` there is no such folder. `faceverif config list`
    names the same config without folder and ending.
    """
    in_folder = path.parts[:1] == ("configs",)
    if path.is_absolute() or path.exists() or not (in_folder or path.suffix != ".yaml"):
        return path
    below = Path(*path.parts[1:]) if in_folder else path
    name = below.name.removesuffix(".yaml")
    shipped = (place / below.with_name(f"{name}.yaml") for place in _PLACES if name)
    return next((file for file in shipped if file.is_file()), path)


def near_shipped(path: Path) -> str:
    """A sentence with the shipped configs whose names look like that of a path; empty where none does.

    The folder may be missing: `celeba_cosface` is like `faces/celeba_cosface`. One that is like the whole
    path is named alone.
    """
    wanted = path.as_posix().removeprefix("configs/").removesuffix(".yaml")
    known = {name: name.rpartition("/")[2] for name in shipped_configs()}
    alike = difflib.get_close_matches(wanted.rpartition("/")[2], set(known.values()), n=1, cutoff=ALIKE)
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=ALIKE) or [
        name for name, last in known.items() if last in alike
    ]
    return f"`faceverif config list` has {few(near)}." if near else ""


def opening_of(config: Path) -> tuple[str, str]:
    """What a config's opening comment says: the command that takes it, and the first sentence about it."""
    opening = config.read_text(encoding="utf-8").partition("\n\n")[0]
    first, *others = [line.removeprefix("#").strip() for line in opening.splitlines()]
    command = first.removeprefix("faceverif ").partition(" ")[0]
    sentence = _SENTENCE.match(" ".join(filter(None, others)))
    return command, textwrap.shorten(sentence[1], _WIDTH, placeholder=" ...") if sentence else ""
