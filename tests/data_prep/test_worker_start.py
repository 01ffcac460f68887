"""What fails while a worker process starts is reported in its own words; only a dead one is called dead."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_prep.errors import InputError
from data_prep.work import here
from data_prep.work.here import Processes
from data_prep.work.job import Job, WorkStopped


class OfALibrary(Exception):
    """As some libraries have it: it cannot be unpickled."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")


@dataclass(frozen=True)
class Failing(Job[int, int]):
    """A job that fails while a worker starts."""

    how: str

    def start(self) -> Callable[[int], int]:
        if self.how == "input":
            raise InputError("--detector", "must be another", got=Path("net.onnx"), fix="Leave it out.")
        if self.how == "library":
            raise OfALibrary("session", "no such operator")
        os.kill(os.getpid(), signal.SIGKILL)
        return abs


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("input", InputError, r"^--detector: must be another; got net\.onnx"),
        ("library", RuntimeError, r"in start\n(.|\n)*OfALibrary: session: no such operator"),
        ("dies", WorkStopped, r"a worker process died\. Run the same command again, with --workers 1"),
    ],
)
def test_trouble_while_workers_start(
    how: str, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "chosen_name", lambda: None)  # the job computes nothing: torch is not loaded
    with Processes(2).workers(Failing(how), shards=2) as work, pytest.raises(kind, match=said):
        list(work([1, 2]))
