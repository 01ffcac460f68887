"""The words by which published lists say whether a pair shows the same person."""

from __future__ import annotations

from collections.abc import Sequence

# Same, different. A list uses one of these pairs throughout.
WORDS = (
    ("1", "0"),
    ("1", "-1"),
    ("+1", "-1"),
    ("1.0", "0.0"),
    ("1.0", "-1.0"),
    ("true", "false"),
    ("t", "f"),
    ("yes", "no"),
    ("y", "n"),
    ("same", "diff"),
    ("same", "different"),
    ("genuine", "impostor"),
    ("genuine", "imposter"),
    ("match", "mismatch"),
    ("match", "nonmatch"),
    ("match", "non-match"),
    ("matched", "mismatched"),
    ("positive", "negative"),
    ("pos", "neg"),
)


def are_labels(words: Sequence[str]) -> bool:
    """Whether these may be labels of one list."""
    return any(all(word.lower() in pair for word in words) for pair in WORDS)


def words_of(labels: Sequence[str]) -> tuple[tuple[str, str], int | None]:
    """The pair of words that the labels use, and the first label that is neither of the two.

    Args:
        labels: (pairs,), at least one.

    Returns:
        the words for same and for different that fit the longest run of labels from the first one on, and the
        position of the first label that does not fit; None where all fit.
    """
    lowered = [label.lower() for label in labels]

    def first_other(words: tuple[str, str]) -> int:
        return next((i for i, label in enumerate(lowered) if label not in words), len(lowered))

    best = max(WORDS, key=first_other)
    position = first_other(best)
    return best, None if position == len(lowered) else position
