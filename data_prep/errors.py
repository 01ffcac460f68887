"""The one exception for what a user can fix, and words that are safe to print."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

_LONGEST_QUOTE = 200  # characters of another library's message
_ADDRESS = re.compile(r"\b(s3|gs):/(?!/)")  # as pathlib writes one: see `storage`
# Control characters, invisible ones, those that turn the writing direction, and bytes that are no UTF-8.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
# What reading and building from a damaged file raise, besides the reader's own errors; others are bugs.
DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


class InputError(ValueError):
    """Something the user gave breaks a rule.

    The command line prints it as one line and exits with code 2; nothing has been written by then.

    Args:
        field: what is wrong, in the user's words: an option, a key path, a file.
        rule: what it must be.
        got: the value that came.
        fix: the way out, as an instruction.
    """

    def __init__(self, field: str, rule: str, *, got: object, fix: str) -> None:
        self.field, self.rule, self.got, self.fix = field, rule, got, fix
        super().__init__(printable(f"{field}: {rule}; got {got}. {fix}"))

    def __reduce__(self) -> tuple[Callable[..., InputError], tuple[object, ...]]:
        """How a worker hands it to the process that asked; one with other arguments arrives as its base."""
        kind = type(self) if type(self).__init__ is InputError.__init__ else InputError
        return _again, (kind, self.field, self.rule, str(self.got), self.fix)


def _again(kind: type[InputError], field: str, rule: str, got: str, fix: str) -> InputError:
    return kind(field, rule, got=got, fix=fix)


def printable(text: str) -> str:
    r"""One line as it may go to a console: a line break is written `\n`, an escape sequence `\x1b[2J`.

    Names come from archives and other people's folders. Printed as they are, one could forge a line of ours.
    """
    text = _ADDRESS.sub(r"\1://", text)
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def is_printable(text: str) -> bool:
    """Whether a text may go to a console as it is."""
    return _UNPRINTABLE.search(text) is None


def printable_lines(lines: Iterable[str]) -> str:
    """Lines for the console, each of them `printable`."""
    return "\n".join(map(printable, lines))


def few(names: Sequence[str], *, most: int = 5) -> str:
    """The first of some names, and how many more there are.

    Args:
        names: in the order in which they are shown.
        most: how many are named.
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def first_line(error: BaseException) -> str:
    """What another library's error says first, for a message of one line; its type where it says nothing.

    A long line is cut.
    """
    text = str(error).strip()
    return text.splitlines()[0][:_LONGEST_QUOTE] if text else type(error).__name__
