"""Penalties: what is added to the criterion, with a weight. A new one is a file, a line here and a config."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING

from faceverif.penalties.base import EmbeddedBatch, Lesson, Penalty
from faceverif.penalties.center import Center
from faceverif.penalties.distill import Distill
from faceverif.penalties.entropy import Entropy
from faceverif.penalties.gsc import GSC
from faceverif.penalties.likelihood import Likelihood
from faceverif.penalties.magnitude import Magnitude
from faceverif.penalties.mhe import MHE
from faceverif.penalties.pairs import Contrastive, Margin, NPair, ProxyNCA, Triplet
from faceverif.penalties.snr import SNR

if TYPE_CHECKING:
    from faceverif.config.penalties import PenaltyConfig

PENALTIES: dict[str, Callable[..., Penalty]] = {
    "gsc": GSC,
    "entropy": Entropy,
    "center": Center,
    "snr": SNR,
    "likelihood": Likelihood,
    "magnitude": Magnitude,
    "mhe": MHE,
    "triplet": Triplet,
    "margin": Margin,
    "n_pair": NPair,
    "proxy_nca": ProxyNCA,
    "contrastive": Contrastive,
    "distill": Distill,
}


def build_penalty(config: PenaltyConfig, *, classes: int, embedding_dim: int) -> Penalty:
    """The penalty that a config describes."""
    build = PENALTIES[config.name]
    sizes = {"classes": classes, "embedding_dim": embedding_dim}
    asked = {name: size for name, size in sizes.items() if name in signature(build).parameters}
    return build(**asked, **config.model_dump(exclude={"name", "weight"}))


__all__ = ["PENALTIES", "EmbeddedBatch", "Lesson", "Penalty", "build_penalty"]
