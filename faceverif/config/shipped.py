"""The configs that come with the project: in a checkout, or in the installed package."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from data_prep.errors import InputError
from faceverif.config.paths import near_names

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
    folder = next(iter(known.values())).parents[1]
    near = near_names(folder / f"{wanted}.yaml", pattern="*.yaml").replace(f"{folder}/", "")
    fix = near.replace(".yaml", "") or "`faceverif config list` names them all."
    raise InputError("NAME", "must be a shipped config", got=name, fix=fix)


def shipped_in_place_of(path: Path) -> Path:
    """The shipped config where a path names one and the user's folder has no such file; else the path.

    README's commands name `configs/...`; after `pip install` there is no such folder.
    """
    if path.parts[:1] != ("configs",) or path.exists():
        return path
    shipped = (place / Path(*path.parts[1:]) for place in _PLACES)
    return next((file for file in shipped if file.is_file()), path)


def opening_of(config: Path) -> tuple[str, str]:
    """What a config's opening comment says: the command that takes it, and the first sentence about it."""
    opening = config.read_text(encoding="utf-8").partition("\n\n")[0]
    first, *others = [line.removeprefix("#").strip() for line in opening.splitlines()]
    command = first.removeprefix("faceverif ").partition(" ")[0]
    sentence = _SENTENCE.match(" ".join(filter(None, others)))
    return command, textwrap.shorten(sentence[1], _WIDTH, placeholder=" ...") if sentence else ""
