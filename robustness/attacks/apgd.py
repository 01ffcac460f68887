"""APGD: gradient ascent that chooses its own step lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from faceverif.perturbation.ascent import gradient_and_notes
from faceverif.perturbation.threat_model import ThreatModel, expand
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal, cross_entropy_gain
from robustness.attacks.traits import Traits
from robustness.config.attacks import APGDConfig, APGDLoss

# Croce & Hein (2020), Sec. 3: share of the new direction; share of steps that must rise.
_NEW_DIRECTION = 0.75
_RISING = 0.75


class APGD(Attack):
    """Croce & Hein, "Reliable Evaluation of Adversarial Robustness" (2020), Algorithm 1. foolbox has none.

    A step mixes the new direction with the last change. At checkpoints the length is halved, and the search
    restarts at the best point, for images whose loss rose too rarely or whose best loss did not change.

    Args:
        steps: >= 1.
        restarts: how often; images whose goal is reached are left alone afterwards.
        loss: what is raised.
        targets: classes that are named one by one; 0 for none. A targeted threat model names its own.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    section = APGDConfig
    traits = Traits(follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"fgsm"}))

    def __init__(self, *, steps: int, restarts: int, loss: APGDLoss, targets: int, samples: int = 1) -> None:
        self.steps, self.restarts, self.loss, self.targets = steps, restarts, loss, targets
        self.samples = samples

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The first version that reaches the goal; else the one with the highest loss of the last run."""

        def run(left: Tensor, named: Goal, own: Goal) -> Tensor:
            def look(pixels: Tensor) -> tuple[Tensor, Tensor]:
                logits = model(pixels)
                return LOSSES[self.loss](logits, named), own.reached(logits)

            clean = images[left]
            start = threat.random_start(clean)
            return ascend_adaptively(
                look, start, clean, threat=threat, steps=self.steps, samples=self.samples
            )

        return on_those_left(run, model, images, goal, targets=self.targets, repeats=self.restarts)


def on_those_left(
    run: Callable[[Tensor, Goal, Goal], Tensor],
    model: Watched,
    images: Tensor,
    goal: Goal,
    *,
    targets: int,
    repeats: int = 1,
) -> Tensor:
    """Run an attack, once for each class that it aims at, on the images whose goal is not reached yet.

    Args:
        run: indices of images, the goal that names the class to aim at, the images' own goal -> their new
            versions.
        model: what is attacked.
        images: (batch, C, H, W), the versions to begin with.
        goal: of the batch.
        targets: classes that are named one by one; 0 for none.
        repeats: of the whole.
    """
    changed = images.clone()
    with torch.no_grad():
        logits = model(images)
    left = (~goal.reached(logits)).nonzero().squeeze(1)
    for named in (each for _ in range(repeats) for each in _aims(logits, goal, targets)):
        if not len(left):
            break
        own = goal.take(left)
        with model.gradients.of(left):
            changed[left] = run(left, named.take(left), own)
        with torch.no_grad():
            left = left[~own.reached(model(changed[left]))]
    return changed


def _aims(logits: Tensor, goal: Goal, targets: int) -> Iterator[Goal]:
    """The goal itself, or the most likely other classes one by one."""
    if goal.targeted or not targets:
        yield goal
        return
    others = logits.scatter(1, goal.labels[:, None], -torch.inf)
    for wanted in others.topk(min(targets, logits.shape[1] - 1), dim=1).indices.T:
        yield Goal(goal.labels, wanted)


def ascend_adaptively(
    look: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: Tensor,
    clean: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    samples: int = 1,
) -> Tensor:
    """Algorithm 1 of Croce & Hein (2020).

    Args:
        look: (batch, C, H, W) -> the value to raise, and whether the goal is reached; (batch,) each.
        start: (batch, C, H, W), in the ball and in the box.
        clean: (batch, C, H, W).
        threat: ball, box and norm of a step.
        steps: how many, >= 1.
        samples: gradients that are averaged at each step.

    Returns:
        Of each image the first version that reaches the goal; else the one with the highest value.
    """
    gradient, (value, reached) = _looked(look, start, samples)
    now = before = best = start
    best_value, best_gradient, found = value, gradient, start
    lengths = torch.full_like(value, 2 * threat.epsilon)
    rises, halved, value_then = torch.zeros_like(value), torch.zeros_like(reached), value
    marks, last_mark = checkpoints(steps), 0
    for step in range(1, steps + 1):
        direct = threat.project(now + expand(lengths, now) * threat.step(gradient), clean)
        share = 1.0 if step == 1 else _NEW_DIRECTION
        mixed = now + share * (direct - now) + (1 - share) * (now - before)
        before, now = now, threat.project(mixed, clean)
        value_before = value
        gradient, (value, hit) = _looked(look, now, samples)
        found = torch.where(expand(hit & ~reached, now), now, found)
        reached = reached | hit
        rises = rises + (value > value_before)
        better = value > best_value
        best, best_gradient = (
            torch.where(expand(better, now), new, old)
            for new, old in ((now, best), (gradient, best_gradient))
        )
        best_value = torch.maximum(value, best_value)
        if step in marks:
            stuck = ~halved & (best_value == value_then)
            halved = (rises < _RISING * (step - last_mark)) | stuck
            lengths = torch.where(halved, lengths / 2, lengths)
            restart = expand(halved, now)
            now, gradient = torch.where(restart, best, now), torch.where(restart, best_gradient, gradient)
            value = torch.where(halved, best_value, value)
            rises, value_then, last_mark = torch.zeros_like(rises), best_value, step
    return torch.where(expand(reached, now), found, best)


def _looked(
    look: Callable[[Tensor], tuple[Tensor, Tensor]], pixels: Tensor, samples: int
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    def value(asked: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        raised, reached = look(asked)
        return raised, (raised.detach(), reached)

    gradient, notes = gradient_and_notes(value, pixels, samples=samples)
    return gradient, notes[-1]


def checkpoints(steps: int) -> frozenset[int]:
    """The steps after which lengths are reconsidered; the periods between them become shorter."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Rounding first: 0.22 * 100 is above 22 in floating point.
    return frozenset(math.ceil(round(share * steps, 9)) for share in shares[1:])


def dlr_gain(logits: Tensor, goal: Goal) -> Tensor:
    """(batch,) difference of logits ratio, Eqs. 6 and 7: a wrong class's lead over the spread of logits.

    With three classes the targeted form takes the third logit for the fourth; with two it is the lead.
    """
    ordered = logits.sort(dim=1, descending=True).values
    lead = goal.lead(logits)
    classes = logits.shape[1]
    if classes < 3:
        return lead
    lowest = ordered[:, 2]
    if goal.targeted:
        lowest = (lowest + ordered[:, min(3, classes - 1)]) / 2
    return lead / (ordered[:, 0] - lowest).clamp_min(1e-12)


LOSSES: dict[APGDLoss, Callable[[Tensor, Goal], Tensor]] = {
    "cross_entropy": cross_entropy_gain,
    "dlr": dlr_gain,
}
