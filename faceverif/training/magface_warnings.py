"""MagFace settings under which the length of an embedding says little: what a training warns of."""

from __future__ import annotations

from faceverif.config.heads import MagFaceConfig
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.penalties import MagnitudeConfig


def warnings_of_lengths(config: ObjectiveConfig, *, mean_square: int | None = None) -> list[str]:
    """What speaks against a MagFace objective; empty where nothing does, or with another head.

    Args:
        config: what is minimised.
        mean_square: of the embeddings' lengths, where the network's last layer fixes it.
    """
    head = config.head
    if not isinstance(head, MagFaceConfig):
        return []
    warnings = []
    weight = next((each.weight for each in config.penalties if isinstance(each, MagnitudeConfig)), None)
    least = _least_weight(head)
    if weight is None:
        warnings.append(
            "warning: the magface head without the penalty magnitude makes embeddings shorter and none "
            f"longer. Add it to penalties with a weight of {least:.3g} or more."
        )
    elif weight < least:
        warnings.append(
            f"warning: the weight {weight:g} of the penalty magnitude is below {least:.3g}. MagFace's proof "
            "that better photos get longer embeddings needs that with these margins, norms and this scale. "
            "Raise it."
        )
    if mean_square is not None:
        warnings.append(
            "warning: the last batch normalisation of this backbone fixes the root mean square of the "
            f"lengths at {mean_square**0.5:.3g}, so the penalty magnitude cannot move it. "
            "Set backbone.last_norm: affine, or backbone.last_layers: prelu_affine_norm, whichever it has."
        )
    return warnings


def _least_weight(head: MagFaceConfig) -> float:
    """s K u_a^2 l_a^2 / (u_a^2 - l_a^2), the bound of MagFace's proof: see `magnitude_penalty`."""
    steepness = (head.upper_margin_rad - head.lower_margin_rad) / (head.upper_norm - head.lower_norm)
    lower, upper = head.lower_norm**2, head.upper_norm**2
    return head.scale * steepness * upper * lower / (upper - lower)
