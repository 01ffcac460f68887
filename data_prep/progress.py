"""Progress of long jobs: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from data_prep.errors import printable

_LOG_EVERY_S = 10.0
_SHORTEST_S = 2.0  # that a rate is measured over


def say(text: str) -> None:
    """One line to the user, on stderr, so that stdout stays for results."""
    print(printable(text), file=sys.stderr, flush=True)


def open_closed_streams() -> None:
    """Give a process that was started without stdout or stderr (`2>&-`, some daemons) one that goes nowhere.

    Python has None there: what is said on stderr would go to stdout, and asking for a terminal would fail.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- as long as the process


def let_console_take_any_text() -> None:
    """Write `\\u674e` for a letter that the console's encoding lacks, where Python would raise.

    The encoding is the console's (cp1252, ASCII); a name in another script must not cost a finished result.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def duration(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


@contextmanager
def progress(what: str, *, total: int, unit: str = "images") -> Iterator[Callable[[int, str], None]]:
    """Show how far a job is, with its rate and the time left.

    Yields:
        `advance(count, note)`: call it after every batch; the note (a loss, a count) stands behind the rate.
    """
    shown = _terminal(what, total, unit) if sys.stderr.isatty() else _log(what, total, unit)
    with shown as advance:
        yield advance


@contextmanager
def _terminal(what: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(printable(what), total=total, rate="", note="")
        pace = _Pace()

        def advance(count: int, note: str = "") -> None:
            pace.add(count)
            rate = pace.rate
            bar.update(
                task, advance=count, rate=_per_second(rate, unit) if rate else "", note=printable(note)
            )

        yield advance


@contextmanager
def _log(what: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
    last = time.monotonic()
    pace = _Pace()

    def advance(count: int, note: str = "") -> None:
        nonlocal last
        pace.add(count)
        now = time.monotonic()
        if now - last < _LOG_EVERY_S and pace.done != total:
            return
        last = now
        parts = [f"{pace.done:,}/{total:,}"]
        rate = pace.overall if pace.done == total else pace.rate
        if rate:
            parts += [_per_second(rate, unit), f"{duration((total - pace.done) / rate)} left"]
        say(f"{what}: {', '.join(parts)}  {note}".rstrip())

    yield advance


def _per_second(rate: float, unit: str) -> str:
    return f"{rate:.{0 if rate >= 10 else 1}f} {unit}/s"


class _Pace:
    """How fast a job is, once there is something to base it on.

    Until the first units are done, worker processes start and models load: that says nothing about the rest.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._first_s = 0.0  # when the first units were done
        self._first = 0
        self.done = 0

    def add(self, count: int) -> None:
        """Units that are done now."""
        self.done += count
        if not self._first and self.done:
            self._first_s, self._first = time.monotonic(), self.done

    @property
    def rate(self) -> float | None:
        """Units per second since the first were done; None while that is too short ago."""
        elapsed_s = time.monotonic() - self._first_s
        if self.done == self._first or elapsed_s < _SHORTEST_S:
            return None
        return (self.done - self._first) / elapsed_s

    @property
    def overall(self) -> float:
        """Units per second since the job began."""
        return self.done / max(time.monotonic() - self._start, 1e-9)
