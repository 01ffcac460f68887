"""A count agrees with its noun."""

from __future__ import annotations

import pytest

from data_prep.counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "pair", "0 pairs"),
        (1, "impostor pair", "1 impostor pair"),
        (1_234, "impostor pair", "1,234 impostor pairs"),
        (1, "person", "1 person"),
        (2, "person", "2 people"),
        (2, "identity", "2 identities"),
        (2, "class", "2 classes"),
        (2, "search", "2 searches"),
    ],
)
def test_count_agrees_with_its_noun(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
