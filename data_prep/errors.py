"""The one exception for what a user can mend."""

from __future__ import annotations


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
        super().__init__(f"{field}: {rule}; got {got}. {fix}")


def first_line(error: Exception) -> str:
    """What another library's error says first, for a message of one line; its type where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
