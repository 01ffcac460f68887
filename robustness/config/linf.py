"""The sizes of `faceverif certify --norm linf`, checked before PyTorch is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.errors import InputError


@dataclass(frozen=True)
class Box:
    """How far every pixel may move.

    Attributes:
        epsilons: for pixels in [0, 1].

    Raises:
        InputError: there is none, or one is out of range.
    """

    epsilons: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.epsilons:
            raise InputError("--epsilon", "must be given", got="none", fix="Use --epsilon 0.1.")
        for epsilon in self.epsilons:
            if not 0 < epsilon <= 1:
                raise InputError(
                    "--epsilon",
                    "must be above 0 and at most 1, for pixels in [0, 1]",
                    got=epsilon,
                    fix="Use --epsilon 0.1; steps of 8-bit pixels are divided by 255.",
                )
