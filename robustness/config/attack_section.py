"""What the config sections of all attacks share."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from faceverif.config.section import Count, NotNegative, Section, Share
from faceverif.perturbation.norm import Norm

# Names become folders.
Name = Annotated[str, Field(pattern=r"^\w[\w.+=-]*$")]
Rate = Annotated[float, Field(gt=0, lt=1)]
Loss = Literal["cross_entropy", "margin"]
Weights = Annotated[tuple[NotNegative, ...], Field(min_length=1)]


class AttackSection(Section):
    """An attack, its sizes, and the images that it is made on.

    A section holds the defaults and the bounds of an attack's settings; the class takes the settings as
    required arguments. The first line of a section's docstring describes the attack on the report's page.

    Attributes:
        label: in tables and file names, where an attack is listed twice; null: its name.
        norm: of the perturbation.
        epsilons: sizes, for pixels in [0, 1]; the first attack is also made with 0.
        images: attack only the first of the evaluated images, for slow attacks; null: all.
        trainings: attack only the first of each model's trainings; null: all.
    """

    name: str  # each section narrows it to one literal
    label: Name | None = None
    norm: Norm = "linf"
    epsilons: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    images: Count | None = None
    trainings: Count | None = None

    def own_settings(self) -> dict[str, Any]:
        """The settings of this attack alone: arguments of its class."""
        return self.model_dump(exclude=set(AttackSection.model_fields))

    @property
    def called(self) -> str:
        """The attack's name in tables and files."""
        return self.label or self.name

    @property
    def source_models(self) -> tuple[str, ...]:
        """The names of other models that the attack knows; none for most attacks. They are not attacked."""
        return ()

    @property
    def known_rate(self) -> float | None:
        """The false-rejection rate whose threshold the attack knows; None where it knows no detector."""
        return None

    @property
    def averaged(self) -> int:
        """Gradients that are averaged at each step; 1 for attacks without the setting `samples`."""
        return int(getattr(self, "samples", 1))

    def attacks(self, model: str) -> bool:
        """Whether the attack is made on the model of that name."""
        return model not in self.source_models

    @classmethod
    def norms(cls) -> frozenset[Norm]:
        """The norms that the section allows."""
        return frozenset(get_args(cls.model_fields["norm"].annotation))


class MomentumSettings(Section):
    """Steps with momentum, and what makes their changes deceive other models.

    Attributes:
        momentum: of MI-FGSM, the weight of earlier gradients; 0: I-FGSM.
        diversity: of DI, the chance that the images of a batch, all alike, are shrunk and padded before a
            gradient.
        smoothing_px: of TI, the radius of the Gaussian that the gradient is convolved with; 0: not.
        nesterov: of NI, take the gradient where the momentum leads.
        scales: of SI, average the gradients of the image divided by 1, 2, 4, ...; 1: the image alone.
        samples: gradients that are averaged at each step (EOT), for `diversity` or a random model.
    """

    momentum: NotNegative = 1.0
    diversity: Share = 0.0
    smoothing_px: Annotated[int, Field(ge=0, le=50)] = 0
    nesterov: bool = False
    scales: Annotated[int, Field(ge=1, le=10)] = 1
    samples: Count = 1


class AdaptiveSection(AttackSection):
    """An attack that knows the model's detector.

    Attributes:
        rate: the false-rejection rate whose threshold is known, one of `rates`.
        weights: the values of c that are swept.
        steps: for each c.
        restarts: of the whole sweep.
        samples: gradients that are averaged at each step (EOT), for a model or a detector whose output is
            random.
    """

    rate: Rate
    weights: Weights = (0.0, 0.1, 1.0, 10.0, 100.0)
    steps: Count = 40
    restarts: Count = 2
    samples: Count = 1

    @property
    def known_rate(self) -> float | None:
        """The rate."""
        return self.rate


def includes(trainings: int | None, training: int) -> bool:
    """Whether a training is among the first `trainings`; None: all are."""
    return trainings is None or training < trainings
