"""Progress tells the time left once there is something to base it on."""

from __future__ import annotations

import sys

import pytest

from data_prep import progress as module
from data_prep.progress import progress, say
from faceverif.cli import main


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_starting_up_says_nothing_about_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with progress("align", total=100) as advance:
        for seconds, count in ((50, 20), (1, 20), (9, 10), (10, 50)):
            clock.now += seconds
            advance(count, "")
    assert capsys.readouterr().err.splitlines() == [
        "align: 20/100",  # after 50 s of loading
        "align: 50/100, 3.0 images/s, 0:17 left",
        "align: 100/100, 1.4 images/s, 0:00 left",
    ]


def test_a_command_without_stderr_says_nothing_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["faceverif", "--version"])
    monkeypatch.setattr(sys, "stderr", None)  # as `2>&-` leaves it
    with pytest.raises(SystemExit):
        main()
    version = capsys.readouterr().out
    with progress("align", total=1) as advance:
        say("a note")
        advance(1, "")
    sys.stderr.close()
    assert (len(version.splitlines()), capsys.readouterr().out) == (1, "")
