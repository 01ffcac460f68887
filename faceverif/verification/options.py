"""What decides how a protocol is run, beside model, data and pairs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class VerificationOptions:
    """The choices of a verification, which stand beside its numbers.

    Attributes:
        flip: average each embedding with that of the mirrored crop.
        subtract_mean: subtract, for each fold, the mean embedding of all other folds' photos.
        allow_partial: run the pairs that are there of a protocol that is not whole, and say so everywhere.
    """

    flip: bool
    subtract_mean: bool = False
    allow_partial: bool = False
