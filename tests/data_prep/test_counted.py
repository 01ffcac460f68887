"""Counts with their nouns."""

from __future__ import annotations

import pytest

from data_prep.counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "photo", "0 photos"),
        (1, "impostor pair", "1 impostor pair"),
        (1234, "epoch", "1,234 epochs"),
        (2, "search", "2 searches"),
        (2, "batch", "2 batches"),
        (2, "process", "2 processes"),
        (2, "identity", "2 identities"),
        (2, "person", "2 people"),
    ],
)
def test_the_noun_agrees_with_the_number(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said
