"""What a photo counts within its IJB template; the command line knows it before NumPy is imported."""

from __future__ import annotations

from enum import StrEnum


class Pooling(StrEnum):
    """What an embedding counts within its IJB template."""

    MEAN = "mean"
    SCORE = "score"
    NORM = "norm"
    NORM_SCORE = "norm-score"

    @property
    def by_score(self) -> bool:
        """Whether the detector's score is a part of the weight."""
        return self in (Pooling.SCORE, Pooling.NORM_SCORE)

    @property
    def by_norm(self) -> bool:
        """Whether the length of the raw embedding is a part of the weight."""
        return self in (Pooling.NORM, Pooling.NORM_SCORE)

    @property
    def rule(self) -> str:
        """The whole way from photos to an IJB template, in words."""
        return (
            f"unit embeddings {_WEIGHTED[self]} are averaged within a medium, the media of an IJB template "
            "are averaged, and the result is L2-normalised"
        )


DEFAULT_POOLING = Pooling.NORM_SCORE  # of InsightFace's evaluation: N1 and D1 of its ijb_11.py

_WEIGHTED = {
    Pooling.MEAN: "of equal weight",
    Pooling.SCORE: "times the detector's score",
    Pooling.NORM: "times the norm of the raw embedding",
    Pooling.NORM_SCORE: "times the norm of the raw embedding and the detector's score",
}
