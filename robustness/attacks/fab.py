"""FAB: the smallest change that crosses the border to a class, found by projections onto it."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.perturbation.ascent import gradient_and_notes
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel, expand, sizes
from robustness.attacked_model import Watched
from robustness.attacks.apgd import on_those_left
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.attacks.traits import Traits
from robustness.config.attacks import FABConfig

# Croce & Hein (2020), Sec. 3.5: overshoot across the border, weight of the clean image at most, way back.
_OVERSHOOT = 1.05
_CLEAN_AT_MOST = 0.1
_BACKWARDS = 0.9
_DOUBLINGS = 14
_BISECTIONS = 20


class FAB(Attack):
    """Croce & Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack" (2020).

    The targeted form that AutoAttack uses: for each class it linearises that class's lead, projects the image
    and the clean image onto the border, and mixes the two. foolbox has none.

    Args:
        steps: for each class, >= 1.
        targets: classes that are tried one by one.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    section = FABConfig
    traits = Traits(follows_gradients=True, many_steps=True)
    goals = frozenset({"untargeted"})

    def __init__(self, *, steps: int, targets: int, samples: int = 1) -> None:
        self.steps, self.targets, self.samples = steps, targets, samples

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The nearest version that reaches the goal; the clean image where none lies in the ball."""

        def run(left: Tensor, named: Goal, own: Goal) -> Tensor:
            nearest = cross_border(
                model, images[left], named, norm=threat.norm, steps=self.steps, samples=self.samples
            )
            inside = threat.sizes(images[left], nearest) <= threat.epsilon
            return torch.where(expand(inside, nearest), nearest, images[left])

        return on_those_left(run, model, images, goal, targets=self.targets)


def cross_border(
    model: Watched, clean: Tensor, goal: Goal, *, norm: Norm, steps: int, samples: int
) -> Tensor:
    """Algorithm 1, for one target class per image.

    Args:
        model: what is attacked.
        clean: (batch, C, H, W) in [0, 1].
        goal: with targets.
        norm: of a change.
        steps: how many.
        samples: gradients, and leads, that are averaged at each step.

    Returns:
        The nearest version found that is no longer of its class; the clean image where none was found.
    """

    def lead(pixels: Tensor) -> tuple[Tensor, Tensor]:
        values = goal.lead(model(pixels))
        return values, values.detach()

    own, now, nearest = Goal(goal.labels), clean, clean
    smallest = clean.new_full((len(clean),), torch.inf)
    for _ in range(steps):
        slope, leads = gradient_and_notes(lead, now, samples=samples)
        now = towards_border(now, clean, slope, torch.stack(leads).mean(dim=0), norm=norm)
        with torch.no_grad():
            crossed = own.reached(model(now))
        size = sizes(now - clean, norm)
        closer = crossed & (size < smallest)
        nearest = torch.where(expand(closer, now), now, nearest)
        smallest = torch.where(closer, size, smallest)
        now = torch.where(expand(crossed, now), clean + _BACKWARDS * (now - clean), now)
    return nearest


def towards_border(now: Tensor, clean: Tensor, slope: Tensor, leads: Tensor, *, norm: Norm) -> Tensor:
    """Both points projected onto the linearised border, with an overshoot, and mixed; Eq. 9.

    Args:
        now: (batch, C, H, W), where the lead was linearised.
        clean: (batch, C, H, W).
        slope: (batch, C, H, W), gradient of the lead.
        leads: (batch,), at `now`; the border is where it is 0.
        norm: of a change.
    """
    height = _product(slope, now) - leads
    steps = [onto_plane(point, slope, height, norm=norm) - point for point in (now, clean)]
    here, there = (sizes(step, norm) for step in steps)
    share = expand((here / (here + there).clamp_min(1e-12)).clamp_max(_CLEAN_AT_MOST), now)
    moved, pulled = (point + _OVERSHOOT * step for point, step in zip((now, clean), steps, strict=True))
    return ((1 - share) * moved + share * pulled).clamp(*ThreatModel.bounds)


def onto_plane(point: Tensor, slope: Tensor, height: Tensor, *, norm: Norm) -> Tensor:
    """The nearest point of the box with slope . z = height; where there is none, the one that comes closest.

    Along z(t) = clip(point + t direction) the product grows with t, so doubling and bisection find it.

    Args:
        point: (batch, C, H, W), in the box.
        slope: (batch, C, H, W).
        height: (batch,).
        norm: in which it is the nearest.
    """
    missing = height - _product(slope, point)
    direction = expand(missing.sign(), point) * (slope.sign() if norm == "linf" else slope)
    needed = missing.abs()

    def at(lengths: Tensor) -> Tensor:
        return (point + expand(lengths, point) * direction).clamp(*ThreatModel.bounds)

    def enough(lengths: Tensor) -> Tensor:
        return _product(slope, at(lengths) - point).abs() >= needed

    low = needed / _product(slope, direction).abs().clamp_min(1e-12)  # right where no pixel meets the box
    high = low * (1 + 1e-5)
    for _ in range(_DOUBLINGS):
        high = torch.where(enough(high), high, 2 * high)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        reaches = enough(middle)
        low, high = torch.where(reaches, low, middle), torch.where(reaches, middle, high)
    return at(high)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """(batch,) inner products."""
    return (one * other).flatten(1).sum(dim=1)
