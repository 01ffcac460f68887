"""PGD: many small steps, each projected back, from several places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from faceverif.perturbation.ascent import gradient_and_notes
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack, worst_of
from robustness.attacks.goal import Goal
from robustness.attacks.through_foolbox import foolbox_attacks, run_foolbox
from robustness.attacks.traits import Traits
from robustness.config.attack_section import Loss
from robustness.config.attacks import PGDConfig


class _OurSteps:
    """foolbox's gradient descent with our steps and projections, along the mean of several gradients (EOT).

    foolbox divides by an l2 norm of at least 1e-12. The cross entropy of a confident model has a smaller
    gradient, and its steps would be too short.
    """

    threat: ThreatModel
    samples = 1

    def normalize(self, gradients: Any, *, x: Any, bounds: Any) -> Any:
        return type(x)(self.threat.step(gradients.raw))

    def project(self, x: Any, x0: Any, epsilon: float) -> Any:
        return type(x)(self.threat.project(x.raw, x0.raw))

    def get_random_start(self, x0: Any, epsilon: float) -> Any:
        # Drawn on the CPU, so that the numbers do not depend on the device.
        start = super().get_random_start(type(x0)(x0.raw.cpu()), epsilon)  # type: ignore[misc]
        return type(x0)(start.raw.to(x0.raw.device))

    def value_and_grad(self, loss_fn: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
        gradient, values = gradient_and_notes(
            lambda pixels: _twice(loss_fn(type(x)(pixels)).raw), x.raw, samples=self.samples
        )
        return type(x)(values[-1]), type(x)(gradient)


def _twice(loss: Tensor) -> tuple[Tensor, Tensor]:
    return loss, loss.detach()


class _MarginLoss(_OurSteps):
    """The same on the margin in logits, which does not saturate as a probability does."""

    def get_loss_fn(self, model: Any, labels: Any) -> Callable[[Any], Any]:
        # foolbox raises the loss of a label and lowers that of a target: both are the others' lead.
        goal = Goal(labels.raw)
        return lambda inputs: type(inputs)(-goal.margin(model(inputs).raw).sum())


class _LinfOnCrossEntropy(_OurSteps, foolbox_attacks.LinfProjectedGradientDescentAttack):
    pass


class _L2OnCrossEntropy(_OurSteps, foolbox_attacks.L2ProjectedGradientDescentAttack):
    pass


class _LinfOnMargin(_MarginLoss, foolbox_attacks.LinfProjectedGradientDescentAttack):
    pass


class _L2OnMargin(_MarginLoss, foolbox_attacks.L2ProjectedGradientDescentAttack):
    pass


_METHODS: dict[tuple[Norm, Loss], Callable[..., Any]] = {
    ("linf", "cross_entropy"): _LinfOnCrossEntropy,
    ("l2", "cross_entropy"): _L2OnCrossEntropy,
    ("linf", "margin"): _LinfOnMargin,
    ("l2", "margin"): _L2OnMargin,
}


class PGD(Attack):
    """x <- project(x + step sign(grad loss)), Madry et al. (2018), Eq. 6 f. Through foolbox.

    Args:
        steps: >= 1.
        restarts: how often; of each image the version with the smallest margin is kept.
        loss: cross_entropy as in the paper, or margin where the softmax is saturated.
        step: length of one, in shares of epsilon; None: 2.5 / steps, so that it can cross the ball.
        random_start: begin anywhere in the ball, not at the image.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    section = PGDConfig
    traits = Traits(
        follows_gradients=True, many_steps=True, no_weaker_than=frozenset({"fgsm", "targeted_fgsm"})
    )

    def __init__(
        self,
        *,
        steps: int,
        restarts: int,
        loss: Loss,
        step: float | None = None,
        random_start: bool = True,
        samples: int = 1,
    ) -> None:
        self.steps, self.restarts, self.random_start, self.loss = steps, restarts, random_start, loss
        self.step = 2.5 / steps if step is None else step
        self.samples = samples

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The worst of all restarts."""
        attack = _METHODS[threat.norm, self.loss](
            rel_stepsize=self.step, steps=self.steps, random_start=self.random_start
        )
        attack.threat, attack.samples = threat, self.samples
        runs = (
            run_foolbox(attack, model, images, goal, epsilon=threat.epsilon) for _ in range(self.restarts)
        )
        return worst_of(runs, model, goal)
