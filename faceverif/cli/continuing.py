"""Whether an interrupted command continues when it is given again: always, never, or by its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from data_prep.errors import InputError
from data_prep.work import CLUSTERS

# Of the arguments on the command line: whether what was finished is kept, and not done again.
Continues = Callable[[Sequence[str]], bool]


def always(_: Sequence[str]) -> bool:
    """Whatever the arguments are."""
    return True


def never(_: Sequence[str]) -> bool:
    """It starts again."""
    return False


def on_a_cluster(arguments: Sequence[str]) -> bool:
    """Workers on a cluster keep portions on disk; this process alone keeps nothing."""
    return _value_of("--on", arguments) in CLUSTERS


def by_ijb_lists(arguments: Sequence[str]) -> bool:
    """The millions of embeddings for IJB are kept in portions; those for other lists are not."""
    from data_prep.ijb import find_ijb_files  # not above: it brings NumPy, which --help must not wait for

    protocol = _value_of("--protocol", arguments)
    try:
        return protocol is not None and find_ijb_files(Path(protocol)) is not None
    except (InputError, OSError):  # refused before anything was done
        return False


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """The last value that an option was given, as `--option value` or `--option=value`."""
    value = None
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word == option:
            value = following
        elif word.startswith(f"{option}="):
            value = word.removeprefix(f"{option}=")
    return value
