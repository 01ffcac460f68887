"""benchmarks/papers_on_gpu.sh: its commands are valid, it ends in time, and the same call continues.

A stand-in for `faceverif` trains: what is tested is the script. The real code plans the script's commands.
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faceverif.classification.config import ClassificationConfig
from faceverif.experiment.config import load_experiment
from faceverif.experiment.plan import plan_runs

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "papers_on_gpu.sh"
NAMES = [
    "lgm-softmax",
    "lgm-softmax+center",
    "lgm-l-softmax",
    "lgm-l-gm-0.3",
    "wsoftmax",
    "gsc",
    "snr",
    "improved",
]
# It "trains" until it is stopped; a second call finds its checkpoint and ends at once.
STAND_IN = """#!/usr/bin/env bash
place=$(dirname "$CALLS")/checkpoint-$(echo "$@" | cksum | cut -d ' ' -f 1)
trap 'touch "$place"; exit 130' TERM
echo "table: row/seed0, 1 of 3" >&2
echo "warning: the steps run as written" >&2
echo "epoch 7/300: 4,000/50,000" >&2
echo "$@" >> "$CALLS"
[ -e "$place" ] && exit 0
[ "${BROKEN:-}" ] && { echo "data.path: must hold cifar10" >&2; exit 2; }
while true; do sleep 0.05; done
"""

Begin = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a bash script")


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    stand_in = tmp_path / "faceverif"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    (tmp_path / "data").mkdir()

    def run(part: str, **environment: str) -> subprocess.Popen[str]:
        settings = {"FACEVERIF": str(stand_in), "CALLS": str(tmp_path / "calls"), "LIMIT_S": "600"}
        command = [str(SCRIPT), str(tmp_path / "out"), str(tmp_path / "data"), part]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=os.environ | settings | environment, stdout=pipe, stderr=pipe, text=True
        )

    return run


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def listed() -> dict[str, list[str]]:
    listing = subprocess.run([str(SCRIPT), "--list"], capture_output=True, text=True, check=True).stdout
    lines = (line.split(": ", 1) for line in listing.splitlines())
    return {name: shlex.split(command) for name, command in lines}


def test_each_part_is_a_plan_of_its_table_on_the_gpu() -> None:
    rows = 0
    assert list(listed()) == NAMES
    for command in listed().values():
        options = list(itertools.pairwise(command))
        config = Path(command[command.index("experiment") + 1])
        overrides = [value for option, value in options if option == "--set"]
        only = [value for option, value in options if option == "--only"]
        for run in plan_runs(load_experiment(config, overrides), source=str(config), only=only):
            rows += 1
            assert isinstance(run.config, ClassificationConfig)
            assert run.config.seed == 0
            assert run.config.training.compile
            assert run.config.training.precision == "bf16-mixed"
    assert rows == 4 + 6 + 7 + 3 + 6


def test_stopped_it_saves_and_the_same_call_continues(begin: Begin, tmp_path: Path) -> None:
    with begin("lgm-s", TOGETHER="2") as first:
        while not (tmp_path / "calls").is_file() or len(calls(tmp_path)) < 2:
            time.sleep(0.05)
        first.terminate()
        said, _ = first.communicate()
    assert first.returncode == 75
    assert said.count("stopped, the next call continues it") == 2
    standing = said.partition("where the parts are after")[2].splitlines()[1:]
    assert standing == [
        "  lgm-softmax: row/seed0, 1 of 3 that were left; epoch 7/300: 4,000/50,000",
        "    warning: the steps run as written",
        "  lgm-softmax+center: row/seed0, 1 of 3 that were left; epoch 7/300: 4,000/50,000",
        "    warning: the steps run as written",
        "not all has finished: the same call continues",
    ]
    for number, part in ((4, "finished"), (4, "finished before")):
        with begin("lgm-s", TOGETHER="1") as later:
            said, _ = later.communicate()
        assert (later.returncode, len(calls(tmp_path))) == (0, number)
        assert said.partition("where the parts are")[0].count(f": {part}\n") == 2
        assert said.count("  lgm-softmax: finished\n") == 1
        assert said.splitlines()[-1].startswith("all has finished")


def test_no_part_begins_when_the_time_is_up(begin: Begin) -> None:
    """However slow the machine is: the first part never ends by itself."""
    with begin("lgm-s", TOGETHER="1", LIMIT_S="1") as process:
        said, _ = process.communicate()
    assert process.returncode == 75
    assert "lgm-softmax+center: no time is left" in said
    assert "  lgm-softmax+center: not begun" in said
    assert said.splitlines()[-1] == "not all has finished: the same call continues"


def test_a_part_that_fails_is_named_with_its_reason(begin: Begin, tmp_path: Path) -> None:
    with begin("snr", BROKEN="1") as process:
        said, _ = process.communicate()
    assert process.returncode == 1
    assert said.splitlines()[1] == (
        f"snr: failed: data.path: must hold cifar10 (all of it: {tmp_path}/out/logs/snr.log)"
    )


def test_unknown_parts_and_missing_data_are_refused(begin: Begin, tmp_path: Path) -> None:
    with begin("lgn") as unknown:
        _, complaint = unknown.communicate()
    assert (unknown.returncode, complaint.count("\n")) == (2, 1)
    assert "got lgn. Known: lgm-softmax, " in complaint
    (tmp_path / "data").rmdir()
    with begin("lgm") as missing:
        _, complaint = missing.communicate()
    assert (missing.returncode, complaint.count("\n")) == (2, 1)
    assert "which is not there" in complaint
    assert not (tmp_path / "out").exists()
