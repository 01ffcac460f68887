"""The config sections of the attacks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from faceverif.config.section import Count, NotNegative, Positive, Section
from robustness.attacks.goal import Loss
from robustness.threat_model import Norm

# Names become folders.
Name = Annotated[str, Field(pattern=r"^\w[\w.+=-]*$")]
Rate = Annotated[float, Field(gt=0, lt=1)]
Weights = Annotated[tuple[NotNegative, ...], Field(min_length=1)]


class AttackSection(Section):
    """An attack and how far it goes.

    Attributes:
        label: of its rows and files, where an attack stands twice; null: its name.
        norm: of the perturbation.
        epsilons: sizes, for pixels in [0, 1]; the first attack is also made with 0, which costs nothing.
        images: only so many of the evaluated images, for attacks that take long; null: all.
        trainings: only the first so many of each model's trainings; null: all.
    """

    label: Name | None = None
    norm: Norm = "linf"
    epsilons: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    images: Count | None = None
    trainings: Count | None = None

    def own_settings(self) -> dict[str, Any]:
        """What this attack has beyond what all have: arguments of its class."""
        return self.model_dump(exclude={"name", *AttackSection.model_fields})


class _AdaptiveSection(AttackSection):
    """An attacker who knows the model's detector.

    Attributes:
        rate: the false-rejection rate whose threshold is known, one of `rates`.
        weights: the values of c that are swept.
        steps: for each c.
        restarts: of the whole sweep.
    """

    rate: Rate
    weights: Weights = (0.0, 0.1, 1.0, 10.0, 100.0)
    steps: Count = 40
    restarts: Count = 2


class FGSMConfig(AttackSection):
    """One step along the gradient's sign."""

    name: Literal["fgsm"]


class TargetedFGSMConfig(AttackSection):
    """One step down the training loss of the second most likely class."""

    name: Literal["targeted_fgsm"]


class PGDConfig(AttackSection):
    """Many projected steps.

    Attributes:
        steps: of each restart.
        restarts: from anywhere in the ball.
        loss: margin does not saturate where the softmax does.
    """

    name: Literal["pgd"]
    steps: Count = 40
    restarts: Count = 1
    loss: Loss = "margin"


class DeepFoolConfig(AttackSection):
    """The shortest way over a linearised boundary.

    Attributes:
        steps: at most.
    """

    name: Literal["deepfool"]
    steps: Count = 50


class CarliniWagnerConfig(AttackSection):
    """The smallest change that an optimiser finds.

    Attributes:
        steps: of the optimiser, at each price.
        search_steps: of the search for the price.
        step: of the optimiser.
        price: that the search begins at.
        confidence: margin in logits by which the goal must be reached.
    """

    name: Literal["carlini_wagner"]
    norm: Literal["l2"] = "l2"
    steps: Count = 100
    search_steps: Count = 6
    step: Positive = 0.1
    price: Positive = 1.0
    confidence: NotNegative = 0.0


class SquareConfig(AttackSection):
    """Random squares; sees logits only.

    Attributes:
        queries: at most, an image.
    """

    name: Literal["square"]
    norm: Literal["linf"] = "linf"
    queries: Count = 1000


class TransferConfig(AttackSection):
    """PGD on another model; this one is asked for nothing.

    Attributes:
        source: name of that model; its training of the same number is attacked. It is not attacked itself.
        steps: of the PGD.
    """

    name: Literal["transfer"]
    source: str
    steps: Count = 40


class FeatureMatchingConfig(AttackSection):
    """Towards the embedding of a clean image of another class.

    Attributes:
        steps: of each restart.
        restarts: the first begins at the image.
    """

    name: Literal["feature_matching"]
    steps: Count = 100
    restarts: Count = 1


class AdaptiveConfig(_AdaptiveSection):
    """The attacker who knows the model's detector and its threshold."""

    name: Literal["adaptive"]


AttackConfig = Annotated[
    FGSMConfig
    | TargetedFGSMConfig
    | PGDConfig
    | DeepFoolConfig
    | CarliniWagnerConfig
    | SquareConfig
    | TransferConfig
    | FeatureMatchingConfig
    | AdaptiveConfig,
    Field(discriminator="name"),
]


class PairFGSMConfig(AttackSection):
    """One step along the sign of the gradient of the cosine, from a random start."""

    name: Literal["fgsm"]


class PairPGDConfig(AttackSection):
    """Many projected steps along the gradient of the cosine.

    Attributes:
        steps: of each restart.
        restarts: from anywhere in the ball.
    """

    name: Literal["pgd"]
    steps: Count = 40
    restarts: Count = 1


class PairAdaptiveConfig(_AdaptiveSection):
    """The attacker who knows the model's detector and its threshold, and the verification's."""

    name: Literal["adaptive"]
    weights: Weights = (0.0, 0.001, 0.01, 0.1, 1.0)
    steps: Count = 20
    restarts: Count = 1


PairAttackConfig = Annotated[
    PairFGSMConfig | PairPGDConfig | TransferConfig | PairAdaptiveConfig, Field(discriminator="name")
]


def includes(trainings: int | None, training: int) -> bool:
    """Whether a training is among the first so many; None: all are."""
    return trainings is None or training < trainings


def tries(attack: AttackConfig | PairAttackConfig, model: str) -> bool:
    """Whether an attack is made on the model of that name: a transfer is not made on its source."""
    return not (isinstance(attack, TransferConfig) and attack.source == model)


def label_of(attack: AttackConfig | PairAttackConfig) -> str:
    """What an attack is called in tables and files."""
    return attack.label or attack.name
