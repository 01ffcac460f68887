"""Progress of long jobs: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from data_prep.errors import printable

_LOG_EVERY_S = 10.0


def say(text: str) -> None:
    """One line to the user, on stderr, so that stdout stays for results."""
    print(printable(text), file=sys.stderr, flush=True)


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
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, rate="", note="")
        done = 0

        def advance(count: int, note: str = "") -> None:
            nonlocal done
            done += count
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, advance=count, rate=f"{rate:.0f} {unit}/s", note=printable(note))

        yield advance


@contextmanager
def _log(what: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
    start = last = time.monotonic()
    done = 0

    def advance(count: int, note: str = "") -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= _LOG_EVERY_S or done == total:
            last = now
            rate = done / max(now - start, 1e-9)
            left = duration((total - done) / rate) if rate else "?"
            say(f"{what}: {done:,}/{total:,}, {rate:.0f} {unit}/s, {left} left  {note}".rstrip())

    yield advance
