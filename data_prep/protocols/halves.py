"""Lists published in two files, by kind: Kaggle's matchpairsDevTest.csv and mismatchpairsDevTest.csv."""

from __future__ import annotations

from pathlib import Path

from data_prep.protocols.labels import WORDS

_SHORTEST_WORD = 3  # shorter ones begin many names


def other_half(path: Path, *, genuine: bool) -> Path | None:
    """The file beside it with the pairs of the other kind; None where the name tells of none that is there.

    Args:
        path: of one half.
        genuine: whether its pairs are genuine.
    """
    for words in WORDS:
        own, other = words if genuine else reversed(words)
        named = all(word.isalpha() and len(word) >= _SHORTEST_WORD for word in words)
        if named and path.name.lower().startswith(own):
            for beginning in (other, other.capitalize(), other.upper()):
                found = path.with_name(beginning + path.name[len(own) :])
                if found.is_file():
                    return found
    return None


def is_second_half(path: Path) -> bool:
    """Whether a list is read together with the one of genuine pairs beside it."""
    return other_half(path, genuine=False) is not None


def training_half(path: Path) -> Path | None:
    """The list beside it that chooses the threshold where this one is scored, as in View 1; else None."""
    return _beside(path, "DevTest", "DevTrain")


def is_training_half(path: Path) -> bool:
    """Whether a list chooses the threshold for one beside it."""
    return _beside(path, "DevTrain", "DevTest") is not None


def _beside(path: Path, own: str, other: str) -> Path | None:
    found = path.with_name(path.name.replace(own, other))
    return found if found != path and found.is_file() else None
