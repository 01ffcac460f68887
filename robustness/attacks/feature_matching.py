"""Feature matching: to look, in the space of embeddings, like a clean image of another class."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.perturbation.ascent import ascend, step_lengths
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack, worst_of
from robustness.attacks.goal import Goal
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import FeatureMatchingConfig
from robustness.features import Features


class FeatureMatching(Attack):
    """Lowers |embedding - embedding of a guide|^2, Sabour et al., "Adversarial Manipulation" (2016), Eq. 1.

    The guide is the nearest clean image of the target class, or of any class but the true one. The
    model sees it as clean, so an embedding close to it is hard to reject.

    Args:
        guides: features of clean images by the attacked model; those classified wrongly are left out.
        steps: for each restart.
        restarts: the first begins at the image, the others anywhere in the ball; of each image the version
            with the smallest margin is kept.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    section = FeatureMatchingConfig
    traits = Traits(follows_gradients=True, many_steps=True)

    def __init__(self, guides: Features, *, steps: int, restarts: int, samples: int = 1) -> None:
        self.guides = guides.take(guides.correct)
        self.steps, self.restarts, self.samples = steps, restarts, samples

    @classmethod
    def configured(cls, section: AttackSection, known: Knowledge) -> Self:
        """With clean training images as guides."""
        assert known.guides is not None  # the experiment has them
        return cls(known.guides, **section.own_settings())

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The version with the smallest margin.

        Raises:
            InputError: an image has no guide of another class, or of its target class.
        """
        with torch.no_grad():
            wanted = self._nearest_guides(model.embed(images), goal)

        def nearness(pixels: Tensor) -> Tensor:
            return -(model.embed(pixels) - wanted).square().sum(dim=1)

        starts = (threat.random_start(images) if restart else images for restart in range(self.restarts))
        lengths = step_lengths(threat, self.steps)
        runs = (
            ascend(nearness, start, images, threat=threat, lengths=lengths, samples=self.samples)
            for start in starts
        )
        return worst_of(runs, model, goal)

    def _nearest_guides(self, embeddings: Tensor, goal: Goal) -> Tensor:
        guides, classes = (
            part.to(embeddings.device) for part in (self.guides.embeddings, self.guides.labels)
        )
        named = goal.named[:, None] == classes
        distances = torch.cdist(embeddings, guides).masked_fill(~named if goal.targeted else named, torch.inf)
        nearest, which = distances.min(dim=1) if len(guides) else (embeddings.new_full((1,), torch.inf), None)
        if which is None or nearest.isinf().any():
            raise InputError(
                "guides",
                "must hold a clean image of another class, or of the target class, for every attacked one",
                got=f"{len(guides)} guides the model gets right",
                fix="Give more guides.",
            )
        return guides[which]
