"""What is read from a list must be what was drawn: a name may begin with a space, or hold a line break."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.errors import InputError


def refuse_other_names(drawn: Sequence[str], found: Sequence[str]) -> None:
    """Refuse names that a list does not keep.

    Args:
        drawn: what was written.
        found: what was read.

    Raises:
        InputError: a name is another one.
    """
    for one, other in zip(drawn, found, strict=True):
        if one != other:
            raise unlistable(f"{one!r}, which would be read as {other!r}")


def unlistable(got: str) -> InputError:
    """The error for such a name."""
    rule = "must have names that a list can hold"
    return InputError("ALIGNED", rule, got=got, fix="Rename the photo or the folder, and align again.")
