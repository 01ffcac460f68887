"""The Dockerfile passes its linter, and holds what its page promises."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from faceverif.cli.app import command_line

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [
    tuple(step.split(maxsplit=1))
    for step in re.sub(r"\\\n\s*", " ", TEXT).splitlines()
    if step and not step.startswith("#")
]


def test_the_linter_has_nothing_to_say() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("no hadolint for this machine: it is in the extra dev")
    finished = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, "")


def test_it_runs_as_a_user_without_rights_and_checks_its_health() -> None:
    users = [words for instruction, words in STEPS if instruction == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert any(instruction == "HEALTHCHECK" and "/health" in words for instruction, words in STEPS)


def test_its_image_has_a_plain_name_and_a_version() -> None:
    (image,) = [words for instruction, words in STEPS if instruction == "FROM"]
    assert "/" not in image
    assert re.search(r":\d+\.\d+", image)


def test_its_command_is_one_that_the_parser_takes() -> None:
    (words,) = [words for instruction, words in STEPS if instruction == "ENTRYPOINT"]
    program, name, *arguments = shlex.split(words.strip("[]").replace(",", " "))
    assert program == "faceverif"
    command = command_line().commands[name]
    assert command.make_context(name, arguments).params["host"] == "0.0.0.0"


def test_what_it_copies_is_what_the_installation_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert [name for name in kept if not (ROOT / name).exists()] == []
    needed = {"pyproject.toml", "setup.py", "README.md", "LICENSE", "constraints.txt", "configs"}
    assert needed | {"faceverif", "robustness", "data_prep"} <= kept
    assert not [name for name in kept if fnmatch(name, "*test*")]
