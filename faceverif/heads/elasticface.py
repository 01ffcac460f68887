"""ElasticFace: a margin drawn anew for every sample, on the angle or on the cosine."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.checked_tensors import require_not_negative
from faceverif.heads.angular import AngularHead
from faceverif.heads.arcface import LARGEST_MARGIN_RAD, require_margin_rad, turned_cosine
from faceverif.sharding.collectives import gathered, own_rank, processes

Assignment = Literal["random", "by_angle"]

_LARGEST_MARGIN = 2.0  # in cosine


def drawn_margins(normal: Tensor, *, margin: float, spread: float, largest: float) -> Tensor:
    """m + sigma e, held in [0, largest].

    Boutros et al., "ElasticFace" (2022), Sec. 3. The authors' code does not hold them; at the paper's
    settings the bounds are seven standard deviations away or more.

    Args:
        normal: e, standard normal, (batch,).
        margin: m >= 0.
        spread: sigma >= 0.
        largest: the upper bound.
    """
    return (margin + spread * normal).clamp(0.0, largest)


def by_angle(margins: Tensor, cosines: Tensor) -> Tensor:
    """The margins of a batch, given out anew: the farther a sample is from its own class, the larger.

    ElasticFace+ of Boutros et al. (2022), Sec. 3. The authors' code indexes the sorted margins with the order
    of the cosines, where the rank of each cosine is meant, so its margins do not follow the angles. The
    published numbers of ElasticFace+ presumably come from that code.

    Args:
        margins: (batch,).
        cosines: with the own classes, (batch,).
    """
    farthest_last = cosines.argsort(descending=True, stable=True)
    return torch.empty_like(margins).scatter(0, farthest_last, margins.sort().values)


class _ElasticHead(AngularHead):
    """Angular head that draws a margin for every sample.

    The draws of a batch follow from the seed that `start_draws` was given and from each sample's place in the
    batch of all processes. So a resumed run draws the same, on any number of processes, and a batch that
    passes twice within a step has the same margins twice. With training.accumulate above 1 each part of a
    batch has a seed and an order by angle of its own, and another number of processes puts other photos into
    the parts. In evaluation mode every margin is the mean.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
        margin: the mean; mean and spread may grow in training.
        spread: standard deviation, >= 0, in the margin's unit.
        assign: whether margins go to the samples at random, or the larger ones to those that are farther from
            their class (ElasticFace+), among the batch of all processes.

    Raises:
        InputError: a negative spread, or another assignment.
    """

    largest: float

    def __init__(
        self,
        *,
        classes: int,
        embedding_dim: int,
        scale: float,
        margin: float,
        spread: float,
        assign: Assignment,
    ) -> None:
        super().__init__(classes=classes, embedding_dim=embedding_dim, scale=scale, margin=margin)
        require_not_negative("spread", spread)
        if assign not in get_args(Assignment):
            known = ", ".join(get_args(Assignment))
            raise InputError("assign", f"must be one of {known}", got=assign, fix="Take one of them.")
        self.assign = assign
        self.spread = self.spread_now = spread
        self._seed = 0

    def start_draws(self, seed: int) -> None:
        """Draw the next margins from that seed."""
        self._seed = seed

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of mean and spread in force."""
        super().set_margin_progress(progress)
        self.spread_now = progress * self.spread

    def margins(self, own_cosines: Tensor) -> Tensor:
        """(batch,), of the samples whose cosines with their own class these are, (batch,)."""
        if not self.training:
            return own_cosines.new_full(own_cosines.shape, self.margin_now)
        # Where classes are spread, every process already has the whole batch, and cosines of its own classes.
        shares = processes() if self.sharding is None else 1
        generator = torch.Generator().manual_seed(self._seed)
        normal = torch.randn(shares * len(own_cosines), generator=generator, dtype=torch.float64)
        margins = drawn_margins(
            normal.to(own_cosines), margin=self.margin_now, spread=self.spread_now, largest=self.largest
        )
        if self.assign == "by_angle":
            cosines = own_cosines.detach()
            whole = gathered(cosines) if self.sharding is None else self.over_processes(cosines)
            margins = by_angle(margins, whole)
        return margins.chunk(shares)[own_rank() if shares > 1 else 0]


class ElasticArcFaceHead(_ElasticHead):
    """s cos(theta_y + m_i) at the true class of sample i, s cos(theta_j) elsewhere.

    Boutros et al., "ElasticFace" (2022), Sec. 3: ElasticFace-Arc. Margins, in radians, are those of
    `drawn_margins`, within [0, pi / 2]. Beyond pi see `turned_cosine`.
    """

    largest = LARGEST_MARGIN_RAD

    def __init__(
        self,
        *,
        classes: int,
        embedding_dim: int,
        scale: float,
        margin_rad: float,
        spread: float,
        assign: Assignment,
    ) -> None:
        require_margin_rad(margin_rad)
        super().__init__(
            classes=classes,
            embedding_dim=embedding_dim,
            scale=scale,
            margin=margin_rad,
            spread=spread,
            assign=assign,
        )

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """cos(theta_y + m_i)."""
        return turned_cosine(cosine, margin_rad=self.margins(cosine))


class ElasticCosFaceHead(_ElasticHead):
    """s (cos(theta_y) - m_i) at the true class of sample i, s cos(theta_j) elsewhere.

    Boutros et al., "ElasticFace" (2022), Sec. 3: ElasticFace-Cos. Margins, in cosine, are those of
    `drawn_margins`, within [0, 2].
    """

    largest = _LARGEST_MARGIN

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        """cos(theta_y) - m_i."""
        return cosine - self.margins(cosine)
