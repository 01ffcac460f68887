"""benchmarks/papers_on_gpu.sh: its commands are valid, it ends in time, and the same call continues.

A stand-in for `faceverif` trains: what is tested is the script. The real code plans the script's commands.
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from faceverif.classification.config import ClassificationConfig
from faceverif.experiment.config import load_experiment, plan_runs

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
echo "$@" >> "$CALLS"
place=$(dirname "$CALLS")/checkpoint-$(echo "$@" | cksum | cut -d ' ' -f 1)
[ -e "$place" ] && exit 0
[ "${BROKEN:-}" ] && { echo "data.path: must hold cifar10" >&2; exit 2; }
trap 'touch "$place"; exit 130' TERM
while true; do sleep 0.05; done
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a bash script")


@pytest.fixture
def call(tmp_path: Path):
    stand_in = tmp_path / "faceverif"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    (tmp_path / "data").mkdir()

    def run(part: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "FACEVERIF": str(stand_in),
            "CALLS": str(tmp_path / "calls"),
            "LIMIT_S": "1",
        } | environment
        command = [str(SCRIPT), str(tmp_path / "out"), str(tmp_path / "data"), part]
        return subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, check=False
        )

    return run


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def listed() -> dict[str, list[str]]:
    told = subprocess.run([str(SCRIPT), "--list"], capture_output=True, text=True, check=True).stdout
    lines = (line.split(": ", 1) for line in told.splitlines())
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


def test_it_stops_in_time_and_the_same_call_continues(call, tmp_path: Path) -> None:
    first = call("lgm-s", TOGETHER="2")
    assert (first.returncode, len(calls(tmp_path))) == (75, 2)
    assert first.stdout.count("stopped, the next call continues it") == 2
    second = call("lgm-s", TOGETHER="1", LIMIT_S="30")
    assert (second.returncode, len(calls(tmp_path))) == (0, 4)
    assert second.stdout.splitlines()[-1].startswith("all has finished")
    third = call("lgm-s", TOGETHER="1")
    assert (third.returncode, len(calls(tmp_path))) == (0, 4)
    assert third.stdout.count("finished before") == 2


def test_no_more_parts_train_together_than_asked_for(call, tmp_path: Path) -> None:
    told = call("lgm-s", TOGETHER="1")
    assert (told.returncode, len(calls(tmp_path))) == (75, 1)
    assert "lgm-softmax+center: no time is left" in told.stdout


def test_a_part_that_fails_is_named_with_its_reason(call, tmp_path: Path) -> None:
    told = call("snr", BROKEN="1")
    assert told.returncode == 1
    assert told.stdout.splitlines()[1] == (
        f"snr: failed: data.path: must hold cifar10 (all of it: {tmp_path}/out/logs/snr.log)"
    )


def test_unknown_parts_and_missing_data_are_refused(call, tmp_path: Path) -> None:
    unknown = call("lgn")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "got lgn. Known: lgm-softmax, " in unknown.stderr
    (tmp_path / "data").rmdir()
    missing = call("lgm")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "which is not there" in missing.stderr
    assert not (tmp_path / "out").exists()
