"""MagFace: a margin that grows with the length of the embedding."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from data_prep.errors import InputError
from faceverif.checked_tensors import require_positive
from faceverif.heads.angular import AngularHead
from faceverif.heads.arcface import require_margin_rad, turned_cosine


class MagnitudeRange(NamedTuple):
    """The lengths of embeddings between which MagFace's margin grows.

    Attributes:
        lower: l_a > 0; 10 in the paper.
        upper: u_a > l_a; 110 in the paper.
    """

    lower: float
    upper: float

    def within(self, norms: Tensor) -> Tensor:
        """The lengths, held within the range: outside of it nothing depends on them, nor does a gradient."""
        return norms.clamp(self.lower, self.upper)

    def refuse_empty(self) -> None:
        """Stop where the range holds no two lengths.

        Raises:
            InputError: a lower end of zero or less, or an upper end that is not above it.
        """
        require_positive("lower_norm", self.lower)
        if not self.upper > self.lower:
            raise InputError(
                "upper_norm",
                f"must be above lower_norm, {self.lower:g}",
                got=self.upper,
                fix="The paper's range is 10 to 110.",
            )


def magnitude_margin(
    norms: Tensor, *, magnitudes: MagnitudeRange, lower_margin_rad: float, upper_margin_rad: float
) -> Tensor:
    """m(a) = (u_m - l_m) / (u_a - l_a) (a - l_a) + l_m, the linear margin of the paper's experiments.

    Meng et al., "MagFace" (2021), Sec. 3.2. A length outside of [l_a, u_a] counts as the nearer end, as in
    the authors' code.

    Args:
        norms: a, the lengths of the raw embeddings, any shape.
        magnitudes: l_a and u_a.
        lower_margin_rad: l_m, at l_a.
        upper_margin_rad: u_m, at u_a.
    """
    steepness = (upper_margin_rad - lower_margin_rad) / (magnitudes.upper - magnitudes.lower)
    return lower_margin_rad + steepness * (magnitudes.within(norms) - magnitudes.lower)


def _require_margins(magnitudes: MagnitudeRange, lower_margin_rad: float, upper_margin_rad: float) -> None:
    magnitudes.refuse_empty()
    for name, margin in (("lower_margin_rad", lower_margin_rad), ("upper_margin_rad", upper_margin_rad)):
        require_margin_rad(margin, name=name)
    if upper_margin_rad < lower_margin_rad:
        raise InputError(
            "upper_margin_rad",
            f"must be at least lower_margin_rad, {lower_margin_rad:g}",
            got=upper_margin_rad,
            fix="A margin must not shrink where the embedding grows; the paper's are 0.45 and 0.8.",
        )


class MagFaceHead(AngularHead):
    """s cos(theta_y + m(a)) at the true class, s cos(theta_j) elsewhere; a is the embedding's length.

    Meng et al., "MagFace" (2021), Sec. 3.2; see `magnitude_margin` for m(a). The gradient reaches the length:
    a shorter embedding has the smaller margin, and the penalty `magnitude`, which belongs to this head, pulls
    the other way. Beyond theta + m > pi see `turned_cosine`; the authors' code drops the margin for every
    cosine below 0 instead (easy_margin).

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
        lower_norm: l_a.
        upper_norm: u_a.
        lower_margin_rad: l_m, in [0, pi / 2].
        upper_margin_rad: u_m, in [l_m, pi / 2]; both margins may grow in training.

    Raises:
        InputError: a scale, a range or a margin that breaks its rule.

    Attributes:
        magnitudes: l_a and u_a.
    """

    def __init__(
        self,
        *,
        classes: int,
        embedding_dim: int,
        scale: float,
        lower_norm: float,
        upper_norm: float,
        lower_margin_rad: float,
        upper_margin_rad: float,
    ) -> None:
        self.magnitudes = MagnitudeRange(lower_norm, upper_norm)
        _require_margins(self.magnitudes, lower_margin_rad, upper_margin_rad)
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=upper_margin_rad)
        self.lower_share = lower_margin_rad / upper_margin_rad if upper_margin_rad else 0.0

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """cos(theta_y + m(a))."""
        margin_rad = magnitude_margin(
            norms,
            magnitudes=self.magnitudes,
            lower_margin_rad=self.lower_share * self.margin_now,
            upper_margin_rad=self.margin_now,
        )
        return turned_cosine(cosine, margin_rad=margin_rad)
