"""The entry point: runs the command tree and turns errors into one line and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from data_prep.errors import InputError, printable
from data_prep.printed_command import printed_command
from data_prep.progress import let_console_take_any_text, open_closed_streams
from data_prep.system_errors import system_trouble
from faceverif.cli.app import command_line, continues
from faceverif.cli.threads import let_threads_sleep
from faceverif.cli.torchrun import another_process_failed, launched, report_failure
from faceverif.own_packages import refuse_foreign_robustness

_REFUSED, _INTERRUPTED = 2, 130


def main() -> None:
    """Entry point: an error that the user can fix is one line and exit code 2, never a traceback."""
    open_closed_streams()
    let_console_take_any_text()
    let_threads_sleep()
    try:
        _refuse_empty_arguments()
        refuse_foreign_robustness()
        with _stopped_as_by_ctrl_c():
            code = command_line()(standalone_mode=False)
        if code == _INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except typer.TyperException as error:  # an option or argument that the parser refuses
        _refuse_usage(error.format_message())
    except InputError as error:
        _end(str(error), _REFUSED)
    except KeyboardInterrupt:
        _end(f"interrupted. {_again()}", _INTERRUPTED)
    except Exception as error:
        trouble = system_trouble(error)
        if trouble is not None:
            _end(f"{trouble}. {_again()}", _REFUSED)
        if another_process_failed():
            sys.exit(1)  # its error is the cause, and says more
        report_failure(f"{type(error).__name__}: {error}")
        raise


@contextmanager
def _stopped_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, with which batch systems, containers and `timeout` stop a command, does what Ctrl-C does.

    By itself it would end the process in the middle of a line, with temporary files left behind.
    """

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends it twice
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_empty_arguments() -> None:
    """As a path, empty text would be the folder that the user is in."""
    if "" in sys.argv[1:]:
        fix = "Is a shell variable without a value?"
        raise InputError("arguments", "must not be empty", got='""', fix=fix)


def _again() -> str:
    """What the same command does after it was interrupted."""
    purpose = "continue" if continues(sys.argv[1:]) else "start again"
    if launched():
        return f"To {purpose}: the same torchrun command"
    return f"To {purpose}: {printed_command(*sys.argv[1:])}"


def _end(line: str, code: int) -> NoReturn:
    """Say one line, of several processes of a torchrun only the first that fails, and exit."""
    if report_failure(line):
        print(f"faceverif: {printable(line)}", file=sys.stderr)
    sys.exit(code)


def _refuse_usage(message: str) -> NoReturn:
    """Exit with 2 and one line; the message is empty where the whole help was printed already."""
    if message:
        line = " ".join(message.split()).removesuffix(".")
        _end(f"{line}. Add --help to see what the command takes.", _REFUSED)
    sys.exit(_REFUSED)
