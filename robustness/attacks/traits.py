"""What an attack declares about itself, for the checks for masked gradients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties of an attack. `robustness.rejection.masking` compares attacks by them, never by name.

    Attributes:
        follows_gradients: of the attacked model; else it is a black box to the attack.
        many_steps: whether the attack improves its images over many steps.
        knows_detector: whether it tries to stay below the threshold of the model's detector.
        no_weaker_than: names of attacks that reach no more images at the same norm and size, if this attack
            works as it should.
    """

    follows_gradients: bool
    many_steps: bool
    knows_detector: bool = False
    no_weaker_than: frozenset[str] = frozenset()

    @property
    def black_box(self) -> bool:
        """Whether the attack uses no gradient of the attacked model."""
        return not self.follows_gradients

    @property
    def strong(self) -> bool:
        """Whether no black-box attack should reach more images."""
        return self.follows_gradients and self.many_steps
