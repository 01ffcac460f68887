"""The entry point: runs the command tree and turns errors into one line and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from data_prep.errors import InputError
from data_prep.progress import let_console_take_any_text
from data_prep.system_errors import system_trouble
from faceverif.cli.app import app

_INTERRUPTED = 130


def main() -> None:
    """Entry point: what the user can mend is one line and exit code 2, never a traceback."""
    let_console_take_any_text()
    try:
        code = app(standalone_mode=False)
        if code == _INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except typer.TyperException as error:  # an option or argument that the parser refuses
        _refuse_usage(error.format_message())
    except InputError as error:
        print(f"faceverif: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("faceverif: interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except Exception as error:
        trouble = system_trouble(error)
        if trouble is None:
            raise
        print(f"faceverif: {trouble}", file=sys.stderr)
        sys.exit(2)


def _refuse_usage(message: str) -> NoReturn:
    """End with 2, on one line; the message is empty where the whole help was printed already."""
    if message:
        line = " ".join(message.split()).removesuffix(".")
        print(f"faceverif: {line}. Add --help to see what the command takes.", file=sys.stderr)
    sys.exit(2)
