"""What the page says where it has no result: one sentence that the visitor can act on."""

from __future__ import annotations

import traceback

from data_prep.errors import InputError, printable


class Refusal(Exception):
    """A visitor's mistake, as the sentence that the page shows."""


def spoken(error: Exception) -> str:
    """The sentence for an error; of a bug, the stack trace goes to the terminal, never to the page."""
    if isinstance(error, Refusal):
        return printable(str(error))
    if isinstance(error, InputError):
        return printable(f"{error.field} {error.rule}; got {error.got}. {error.fix}")
    traceback.print_exception(error)
    return "Something went wrong in faceverif. The terminal that runs it shows what; please report it."
