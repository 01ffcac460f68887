"""Sub-center ArcFace: several centres for a class, of which the nearest one counts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.checked_tensors import require_positive
from faceverif.heads.angular import directions
from faceverif.heads.arcface import require_margin_rad, turned_cosine
from faceverif.heads.base import Head, HeadOutput
from faceverif.heads.moments import ClassMoments
from faceverif.heads.products import unit_weight_products
from faceverif.sharding.collectives import gathered
from faceverif.sharding.own_class import OwnClass


def subcenter_products(embeddings: Tensor, weight: Tensor, *, scale: float) -> Tensor:
    """s cos(theta_jk) with every centre k of every class j.

    Args:
        embeddings: (batch, dim), any norm.
        weight: (classes, centres, dim), any norm.
        scale: s > 0.

    Returns:
        (batch, classes, centres).
    """
    products = unit_weight_products(directions(embeddings, length=scale), weight.flatten(0, 1))
    return products.unflatten(1, weight.shape[:2])


def _nearest(products: Tensor) -> Tensor:
    """(batch, classes), the largest of (batch, classes, centres)."""
    # The backward pass of `amax` would share a gradient among equal centres, which then never part.
    return products.max(dim=2).values if products.shape[2] > 1 else products.squeeze(2)


class SubcenterArcFaceHead(Head):
    """ArcFace on theta_j = arccos(max_k cos(theta_jk)), the angle with the nearest centre of each class.

    Deng et al., "Sub-center ArcFace" (2020), Sec. 3.2. Samples with a wrong label, or unlike the others of
    their class, may gather at a centre of their own, and pull less at the dominant one. With one centre for a
    class this is ArcFace. Only the nearest centre of a class gets a gradient from a sample.

    The dominant centre of a class is the one that was nearest for most of its samples in the last whole epoch
    of training (in the first epoch: so far). It stands for the class where one centre is asked for. The
    authors count once, under the finished model. Dropping the samples of the other centres, the paper's
    second step, is left to the user: `faceverif data audit` finds wrong labels.

    Args:
        classes: how many identities.
        embedding_dim: length of an embedding.
        scale: s.
        margin_rad: m in [0, pi / 2], in radians; it may grow in training.
        centres_per_class: K >= 1; 3 in the paper.

    Raises:
        InputError: a scale, a margin or a number of centres out of range.

    Attributes:
        visits: (classes, K), for how many samples of the class a centre was the nearest one in this epoch.
        visits_before: the same, of the last whole epoch that had samples of the class.
    """

    visits: Tensor
    visits_before: Tensor
    by_class = frozenset({"weight", "visits", "visits_before"})

    def __init__(
        self, *, classes: int, embedding_dim: int, scale: float, margin_rad: float, centres_per_class: int
    ) -> None:
        require_margin_rad(margin_rad)
        require_positive("scale", scale)
        if centres_per_class < 1:
            fix = "The paper's is 3; with 1 it is ArcFace."
            raise InputError("centres_per_class", "must be at least 1", got=centres_per_class, fix=fix)
        super().__init__(classes=classes, embedding_dim=embedding_dim)
        self.scale = scale
        self.centres_per_class = centres_per_class
        self.margin_rad = self.margin_now = margin_rad
        drawn = torch.randn(classes, centres_per_class, embedding_dim) * embedding_dim**-0.5
        self.weight = nn.Parameter(drawn)
        self.register_buffer("visits", torch.zeros(classes, centres_per_class))
        self.register_buffer("visits_before", torch.zeros(classes, centres_per_class))

    @property
    def precision(self) -> torch.dtype:
        """That of all centres; the dominant ones need not be looked up for it."""
        return self.weight.dtype

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Scaled cosines with the nearest centres, without and with the margin."""
        products = subcenter_products(embeddings, self.weight, scale=self.scale)
        if self.training:
            self._count(products.detach(), labels)
        nearest = _nearest(products)
        at = OwnClass.among(labels, nearest.shape[1])
        lowered = self.scale * turned_cosine(at.of(nearest) / self.scale, margin_rad=self.margin_now)
        return HeadOutput(at.replaced(nearest, lowered), nearest.detach)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """Scaled cosines with the nearest centres, (batch, classes)."""
        return _nearest(subcenter_products(embeddings, self.weight, scale=self.scale))

    def centres(self) -> Tensor:
        """The dominant centres; only their direction counts."""
        return self.weight[torch.arange(len(self.weight), device=self.weight.device), self.dominant()]

    def dominant(self) -> Tensor:
        """(classes,), which centre of each class is the dominant one; 0 before any was visited."""
        known = self.visits_before.any(dim=1, keepdim=True)
        return torch.where(known, self.visits_before, self.visits).argmax(dim=1)

    def can_continue(self, trained: Mapping[str, Tensor]) -> bool:
        """Also from the class weights of a head with one centre for a class."""
        weight = trained.get("weight")
        single = weight is not None and weight.shape == (self.classes, self.embedding_dim)
        return single or super().can_continue(trained)

    @torch.no_grad()
    def continue_from(self, trained: Mapping[str, Tensor]) -> None:
        """From its own kind with what is dominant; a single centre becomes the first, the others stay random.

        At one place they would never part: the nearest of equal centres is always the first.
        """
        if trained["weight"].ndim == 2:
            self.weight[:, 0] = trained["weight"]
            return
        for name in self.by_class & trained.keys():
            getattr(self, name).copy_(trained[name])

    @torch.no_grad()
    def start_at(self, moments: ClassMoments) -> None:
        """The first centre of a class at its mean, the others as far from it as the class's samples are.

        At one place they would never part: the nearest of equal centres is always the first.
        """
        means = moments.means[:, None].expand(-1, self.weight.shape[1], -1).clone()
        deviations = moments.within.diagonal().sqrt()
        means[:, 1:] += deviations * torch.randn(means[:, 1:].shape, dtype=means.dtype)
        self.weight.copy_(self.held(F.normalize(means, dim=2)))

    def set_margin_progress(self, progress: float) -> None:
        """Put that share of the margin in force."""
        self.margin_now = progress * self.margin_rad

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Keep what was counted, and count anew: early in training other centres were the nearest."""
        seen = self.visits.any(dim=1, keepdim=True)
        self.visits_before.copy_(torch.where(seen, self.visits, self.visits_before))
        self.visits.zero_()

    def _count(self, products: Tensor, labels: Tensor) -> None:
        """Note which centre of its own class was the nearest for each sample of all processes."""
        at = OwnClass.among(labels, len(self.weight))
        nearest = products[torch.arange(len(labels), device=labels.device), at.place].argmax(dim=1)
        place, here = at.place, at.here.to(self.visits)
        if self.sharding is None:
            place, nearest, here = gathered(place), gathered(nearest), gathered(here)
        self.visits.index_put_((place, nearest), here, accumulate=True)
