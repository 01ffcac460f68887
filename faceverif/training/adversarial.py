"""A model that sees each batch under attack while it learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.config.adversarial import AdversarialConfig
from faceverif.heads.base import HeadOutput
from faceverif.images.labelled import as_pixels
from faceverif.models.model_file import evaluating
from faceverif.objective import LearningModel, Objective, ObjectiveOutput
from faceverif.penalties.base import Lesson
from faceverif.perturbation.ascent import ascend
from faceverif.perturbation.threat_model import ThreatModel, normal_like
from faceverif.report.numbers import percent
from faceverif.sharding.collectives import gathered, total
from faceverif.sharding.logits import log_softmax
from faceverif.training.teachers.base import TeacherOutput

# Of the paper: TRADES starts beside the picture, where its divergence has a gradient.
_TRADES_START_SD = 0.001
_CHECK_STEPS = 10
_CHECK_STEP = 2.5 / _CHECK_STEPS  # in shares of epsilon
# Accuracy under one step exceeds that under many by more where a model withstands single steps only.
_OVERFITTED_GAP = 0.3


class AdversarialModel(nn.Module):
    """The loss of a batch that an attack has changed. Its parameters are those of the model inside.

    The attack looks at the model in evaluation mode, in which it will be attacked: running statistics stay
    as they are, and there is no dropout. The pass that the weights learn from is in training mode. Its batch
    statistics are those of the changed pictures; with trades, of clean and changed ones together. A teacher
    has seen the clean batch.

    Args:
        model: what is trained.
        config: the attack.
    """

    def __init__(self, model: LearningModel, config: AdversarialConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self, pictures: Tensor, labels: Tensor, share: float, *teacher: TeacherOutput
    ) -> ObjectiveOutput:
        """Loss, and the logits of the changed pictures; with trades those of the clean ones.

        Args:
            pictures: (batch, C, H, W), uint8, or pixels in [0, 1].
            labels: (batch,) int64.
            share: of epsilon that is in force; 0: a plain step.
            *teacher: the teacher's output for the clean batch, where there is a teacher.
        """
        if share == 0:
            return self.model(pictures, labels, *teacher)
        clean = pixels_of(pictures)
        changed = changed_pixels(self.model, clean, labels, config=self.config, share=share)
        if self.config.attack == "trades":
            return self._compared(clean, changed, labels, *teacher)
        return _output_of(self.model, changed, labels, *teacher)

    def _compared(
        self, clean: Tensor, changed: Tensor, labels: Tensor, *teacher: TeacherOutput
    ) -> ObjectiveOutput:
        """The objective on clean pictures, and how far the changes move the output: TRADES, Eq. 5."""
        own, moved = self.model.embed(torch.cat((clean, changed))).chunk(2)
        output = self.model.objective(own, labels, *(Lesson(each.embeddings) for each in teacher))
        compare = _COMPARISONS[self.config.compare or "probabilities"]
        beta = self.config.beta or 6.0
        moved_by = compare(self.model.objective, own, moved).mean()
        return output._replace(loss=output.loss + beta * moved_by)


class NoisyModel(nn.Module):
    """The loss of a batch under Gaussian noise (Cohen et al., 2019, Sec. 3.3), from torch's generator.

    A teacher has seen the clean batch. Its student learns to give under noise what the teacher gives without.

    Args:
        model: what is trained.
        sd: standard deviation, for pixels in [0, 1]. Nothing is clipped: certificates need whole Gaussians.
    """

    def __init__(self, model: LearningModel, sd: float) -> None:
        super().__init__()
        self.model, self.sd = model, sd

    def forward(
        self, pictures: Tensor, labels: Tensor, share: float, *teacher: TeacherOutput
    ) -> ObjectiveOutput:
        """Loss and logits; arguments as of `AdversarialModel.forward`, whose share makes no difference."""
        clean = pixels_of(pictures)
        noisy = clean + self.sd * normal_like(clean)
        return _output_of(self.model, noisy, labels, *teacher)


def hardening(model: LearningModel, *, attack: AdversarialConfig | None, noise: float) -> nn.Module:
    """What a training calls: the model itself, or the model under an attack, within bounds or under noise.

    Args:
        model: what is trained.
        attack: of the training; None for none.
        noise: its standard deviation; 0 for none.
    """
    if attack is not None and attack.attack == "ibp":
        from faceverif.training.bounded import BoundedModel

        return BoundedModel(model, attack)
    if attack is not None:
        return AdversarialModel(model, attack)
    return NoisyModel(model, noise) if noise else model


def _output_of(
    model: LearningModel, pixels: Tensor, labels: Tensor, *teacher: TeacherOutput
) -> ObjectiveOutput:
    """Loss and logits of pixels in [0, 1]. A model of images takes bytes when called, and has no teacher."""
    if teacher:
        return model(pixels, labels, *teacher)
    return model.objective(model.embed(pixels), labels)


def pixels_of(pictures: Tensor) -> Tensor:
    """Pixels in [0, 1], float32; mixed precision has rounded those of faces already."""
    return as_pixels(pictures) if pictures.dtype == torch.uint8 else pictures.float()


def changed_pixels(
    model: LearningModel, clean: Tensor, labels: Tensor, *, config: AdversarialConfig, share: float = 1.0
) -> Tensor:
    """Pictures as the attack of the training changes them; random starts come from torch's generator.

    Args:
        model: seen in evaluation mode, then in its former mode again. Where its classes are spread, all
            processes call this together. The gradient is then that of all their values, of whose sum each
            has the whole; a step asks for its direction alone.
        clean: (batch, C, H, W) in [0, 1].
        labels: (batch,) int64.
        config: the attack.
        share: of epsilon, above 0.
    """
    threat = ThreatModel(config.norm, config.epsilon * share)
    lengths = [config.step_share * threat.epsilon] * config.inner_steps
    with evaluating(model):
        if config.compare == "embeddings":
            value, start = _distance_from(model, clean, config), threat.random_start(clean)
        elif config.attack != "trades":
            value, start = _loss_of(model, labels), threat.random_start(clean)
        else:
            beside = clean + _TRADES_START_SD * normal_like(clean)
            value, start = _distance_from(model, clean, config), threat.project(beside, clean)
        return ascend(value, start, clean, threat=threat, lengths=lengths)


def _loss_of(model: LearningModel, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Cross entropy with the head's margin, without which confident logits have no gradient in float32."""

    def value(pixels: Tensor) -> Tensor:
        output: HeadOutput = model.objective.head(model.embed(pixels), labels)
        return output.surprise(labels)

    return value


def _distance_from(
    model: LearningModel, clean: Tensor, config: AdversarialConfig
) -> Callable[[Tensor], Tensor]:
    # With a gradient, then cut: autocast would keep weights cast without one for the pass that learns.
    compare, own = _COMPARISONS[config.compare or "probabilities"], model.embed(clean).detach()
    return lambda pixels: compare(model.objective, own, model.embed(pixels))


def divergence(objective: Objective, own: Tensor, moved: Tensor) -> Tensor:
    """(batch,) KL divergence of the classes of changed from those of clean embeddings, margin-free.

    Where classes are spread, it is that of the batch of all processes, as the objective's loss is.
    """
    if objective.head.sharding is not None:
        before, after = (log_softmax(objective.head.logits(gathered(each))) for each in (own, moved))
        return total(F.kl_div(after, before, reduction="none", log_target=True).sum(dim=1))
    before, after = (objective.head.logits(each).log_softmax(dim=1) for each in (own, moved))
    return F.kl_div(after, before, reduction="none", log_target=True).sum(dim=1)


def turned(objective: Objective, own: Tensor, moved: Tensor) -> Tensor:
    """(batch,) 1 - cosine of clean and changed embeddings."""
    return 1.0 - F.cosine_similarity(own.float(), moved.float(), dim=1)


_COMPARISONS: dict[str, Callable[[Objective, Tensor, Tensor], Tensor]] = {
    "probabilities": divergence,
    "embeddings": turned,
}


class Robustness(NamedTuple):
    """Accuracy of a model on some pictures: clean, after one step of epsilon, and after ten shorter ones."""

    clean_accuracy: float
    fgsm_accuracy: float
    robust_accuracy: float

    def warning(self) -> str:
        """What the user should know of a training that learnt the wrong lesson; empty where it did not."""
        if self.fgsm_accuracy - self.robust_accuracy <= _OVERFITTED_GAP:
            return ""
        return (
            f"catastrophic overfitting: {percent(self.fgsm_accuracy, 1)} % of the pictures withstand "
            f"one step, {percent(self.robust_accuracy, 1)} % withstand {_CHECK_STEPS}. "
            "Use attack: pgd, a smaller step, or a longer warmup_epochs."
        )


def measure_robustness(
    model: LearningModel, pictures: Tensor, labels: Tensor, *, config: AdversarialConfig, seed: int
) -> Robustness:
    """How a model in training withstands the training's epsilon; in evaluation mode and float32.

    Args:
        model: stays as it is. Where its classes are spread, all processes call this together.
        pictures: (N, C, H, W), uint8 or in [0, 1].
        labels: (N,) int64.
        config: norm and epsilon.
        seed: of the random start.
    """
    clean, threat = pixels_of(pictures), ThreatModel(config.norm, config.epsilon)
    with torch.random.fork_rng(devices=[clean.device] if clean.is_cuda else []), evaluating(model):
        torch.manual_seed(seed)
        value, start = _loss_of(model, labels), threat.random_start(clean)
        one = ascend(value, clean, clean, threat=threat, lengths=[threat.epsilon])
        several = ascend(
            value, start, clean, threat=threat, lengths=[_CHECK_STEP * threat.epsilon] * _CHECK_STEPS
        )
        return Robustness(*(_accuracy(model, pixels, labels) for pixels in (clean, one, several)))


@torch.no_grad()
def _accuracy(model: LearningModel, pixels: Tensor, labels: Tensor) -> float:
    _, predicted = model.objective.head(model.embed(pixels), labels).highest()
    return (predicted == labels).float().mean().item()
