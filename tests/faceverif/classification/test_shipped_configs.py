"""The example configs of `faceverif classify` load, with what their openings suggest."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from faceverif.classification.config import ClassificationConfig
from faceverif.config.reading import load_config

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "configs" / "classification").glob("*.yaml"))


def test_there_is_an_example() -> None:
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_opens_with_its_command_and_loads(path: Path) -> None:
    opening = path.read_text(encoding="utf-8")
    assert opening.startswith(f"# faceverif classify {path.relative_to(ROOT)} --run runs/")
    load_config(ClassificationConfig, path, [])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_its_opening_suggests_loads_too(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        overrides = [shlex.split(text)[0] for text in re.findall(r"--set ('[^']+'|\S+)", line)]
        if line.startswith("#") and overrides:
            load_config(ClassificationConfig, path, overrides)
