"""Every key of every config is explained, and the pages made from the sections are current."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from test_cli import run_main

from docs.from_code.config_pages import ROOT, pages
from faceverif.cli.configs import all_parts, config_models
from faceverif.config.reading import read_yaml
from faceverif.config.reference import parts_of
from faceverif.config.section import Count, Section, Share
from faceverif.config.shipped import shipped_configs

PAGES = list(pages())


class SmallConfig(Section):
    """Small.

    Attributes:
        size: how large,
            in a second line.
    """

    name: Literal["small"]
    size: Count


class LargeConfig(SmallConfig):
    """Large.

    Attributes:
        left, right: a side each.
    """

    name: Literal["large"]
    left: Annotated[float, Field(ge=0, lt=1)] = 0.5
    right: Share | None = None


class WholeConfig(Section):
    """A config.

    Attributes:
        shape: what is drawn.
        others: what is drawn around it.
        colours: of all.
    """

    shape: Annotated[SmallConfig | LargeConfig, Field(discriminator="name")]
    others: tuple[SmallConfig, ...] = ()
    colours: dict[str, Any] = Field(default_factory=dict)


def test_sections_and_keys_in_words() -> None:
    parts = {part.path: part for part in parts_of(WholeConfig)}
    assert list(parts) == ["", "shape", "shape.small", "shape.large", "others"]
    assert parts["shape"].choices == (("small", "Small."), ("large", "Large."))
    keys = [(key.name, key.kind, key.default) for part in ("", "shape.large") for key in parts[part].keys]
    assert keys == [
        ("shape", "section", ""),
        ("others", "list of sections", "[]"),
        ("colours", "mapping", "{}"),
        ("size", "whole number >= 1", ""),
        ("left", "number >= 0 and < 1", "0.5"),
        ("right", "number from 0 to 1 or null", "null"),
    ]
    meanings = [key.meaning for key in parts["shape.large"].keys]
    assert meanings == ["how large, in a second line.", "a side each.", "a side each."]


def test_every_key_has_a_meaning() -> None:
    assert [
        (path, key.name) for path, part in all_parts().items() for key in part.keys if not key.meaning
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[0].name)
def test_generated_pages_are_current(page: tuple[Path, str]) -> None:
    path, text = page
    assert (ROOT / path).read_text(encoding="utf-8") == text, "run: make reference"


def test_every_key_of_the_shipped_configs_is_in_the_reference() -> None:
    """Of the configs whose keys are all fixed; tables and rejections take settings of other configs."""
    parts = all_parts()
    known = {path: {"name", *(key.name for key in part.keys)} for path, part in parts.items()}
    unknown, checked = [], 0
    for path in shipped_configs().values():
        settings = read_yaml(path)
        if "network" in settings or "backbone" in settings:
            command = "classify" if "network" in settings else "train"
            for section, keys in sections_of(settings, command, known):
                unknown += [(path.name, section, key) for key in keys - known[section]]
                checked += 1
    assert unknown == []
    assert checked > 50


FREE = {"train.teacher.layers"}  # whose keys are the user's own names


def sections_of(settings: dict[str, Any], place: str, known: Collection[str]) -> list[tuple[str, set[str]]]:
    """Place and keys of a mapping and of all mappings below it."""
    named = f"{place}.{settings.get('name')}"
    found = [(named if named in known else place, set(settings))]
    for key, value in settings.items():
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict) and f"{place}.{key}" not in FREE:
                found += sections_of(entry, f"{place}.{key}", known)
    return found


def test_list_show_and_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, "config", "list") == 0
    listed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["faces/celeba_cosface", "train"] in listed
    assert {command for _, command in listed} == set(config_models())
    assert len(listed) == len(shipped_configs())
    assert run_main(monkeypatch, "config", "show", "configs/mnist/lgm.yaml") == 0
    assert capsys.readouterr().out == (ROOT / "configs/mnist/lgm.yaml").read_text(encoding="utf-8")
    assert run_main(monkeypatch, "config", "keys", "head.cosface") == 0
    shown = capsys.readouterr().out
    assert f"{'margin':24}number from 0 to 2; default 0.35\n    what the true class's" in shown
    assert shown.startswith("train.head.cosface: Scaled cosines, a margin on the true class's cosine.\n")
    assert (
        "margin                  number from 0 to 2; default 0.35\n    what the true class's cosine" in shown
    )
    assert run_main(monkeypatch, "config", "keys") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(all_parts())
