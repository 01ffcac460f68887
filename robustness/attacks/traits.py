"""What an attack declares about itself, for the checks for masked gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from data_prep.errors import InputError
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Properties of an attack. `robustness.rejection.masking` compares attacks by them, never by name.

    Attributes:
        follows_gradients: of the attacked model; else it is a black box to the attack.
        many_steps: whether the attack improves its images over many steps.
        knows_detector: whether it tries to stay below the threshold of the model's detector.
        local: whether it changes only a region. Then an epsilon without bounds need not reach all images.
        no_weaker_than: names of attacks that reach no more images at the same norm and size, if this attack
            works as it should.
    """

    follows_gradients: bool
    many_steps: bool
    knows_detector: bool = False
    local: bool = False
    no_weaker_than: frozenset[str] = frozenset()

    @property
    def black_box(self) -> bool:
        """Whether the attack uses no gradient of the attacked model."""
        return not self.follows_gradients

    @property
    def strong(self) -> bool:
        """Whether no black-box attack should reach more images."""
        return self.follows_gradients and self.many_steps and not self.local


class KnowsNorms(Protocol):
    """An attack on classes or on pairs.

    Attributes:
        norms: those that it knows.
    """

    norms: ClassVar[frozenset[Norm]]


def refuse_unknown_norm(attack: KnowsNorms, threat: ThreatModel) -> None:
    """Stop where an attack is asked for another norm than it knows.

    Raises:
        InputError: it is.
    """
    if threat.norm not in attack.norms:
        raise InputError(
            "norm",
            f"must be one that {type(attack).__name__} knows: {', '.join(sorted(attack.norms))}",
            got=threat.norm,
            fix="Change the norm or the attack.",
        )
