"""The config sections of all attacks: defaults and bounds of their settings.

They stand apart from the classes so that a config is read without PyTorch. `robustness.attacks` refuses to
load where a section has no class, or a class no section.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from faceverif.config.section import Count, NotNegative, Positive
from robustness.config.attack_section import AdaptiveSection, AttackSection, Loss, Weights

PairGoal = Literal["impersonation", "dodging"]
APGDLoss = Literal["cross_entropy", "dlr"]


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


class APGDConfig(AttackSection):
    """Projected steps whose lengths adapt to the progress.

    Attributes:
        steps: of each restart and target.
        restarts: from anywhere in the ball.
        loss: dlr, the difference of logits ratio, does not change when logits are scaled or shifted.
        targets: how many classes are tried one by one, the most likely first; 0: no class is named.
    """

    name: Literal["apgd"]
    steps: Count = 100
    restarts: Count = 1
    loss: APGDLoss = "dlr"
    targets: Annotated[int, Field(ge=0)] = 0


class FABConfig(AttackSection):
    """The smallest change that crosses the border to a class.

    Attributes:
        steps: for each class.
        targets: how many classes are tried one by one, the most likely first.
    """

    name: Literal["fab"]
    steps: Count = 100
    targets: Annotated[int, Field(ge=1)] = 9


class AutoAttackConfig(AttackSection):
    """APGD on two losses and towards named classes, FAB, and Square (linf), each on what is left.

    Attributes:
        steps: of APGD and of FAB, for each class that is named.
        targets: classes that are named one by one, the most likely first.
        queries: of Square.
    """

    name: Literal["autoattack"]
    steps: Count = 100
    targets: Annotated[int, Field(ge=1)] = 9
    queries: Count = 5000


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
        price: that the search begins at. The paper begins at 1e-3 with 9 steps of the search, most of which
            are spent on prices that are too low.
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
        queries: per image, at most.
    """

    name: Literal["square"]
    norm: Literal["linf"] = "linf"
    queries: Count = 1000


class TransferConfig(AttackSection):
    """PGD on another model; the attacked model is not asked.

    Attributes:
        source: name of the other model, whose training of the same number is used. It is not attacked itself.
        steps: of the PGD.
    """

    name: Literal["transfer"]
    source: str
    steps: Count = 40

    @property
    def source_model(self) -> str | None:
        """The source."""
        return self.source


class FeatureMatchingConfig(AttackSection):
    """Towards the embedding of a clean image of another class.

    Attributes:
        steps: of each restart.
        restarts: the first begins at the image.
    """

    name: Literal["feature_matching"]
    steps: Count = 100
    restarts: Count = 1


class AdaptiveConfig(AdaptiveSection):
    """The attack knows the model's detector and its threshold."""

    name: Literal["adaptive"]


class PairPGDConfig(AttackSection):
    """Many projected steps along the gradient of the cosine.

    Attributes:
        steps: of each restart.
        restarts: from anywhere in the ball.
    """

    name: Literal["pgd"]
    steps: Count = 40
    restarts: Count = 1


class PairFGSMConfig(AttackSection):
    """One step along the sign of the gradient of the cosine, from a random start."""

    name: Literal["fgsm"]


class PairAdaptiveConfig(AdaptiveSection):
    """The attack knows the model's detector and its threshold, and that of the verification."""

    name: Literal["adaptive"]
    weights: Weights = (0.0, 0.001, 0.01, 0.1, 1.0)
    steps: Count = 20
    restarts: Count = 1


AttackConfig = Annotated[
    FGSMConfig
    | TargetedFGSMConfig
    | PGDConfig
    | APGDConfig
    | FABConfig
    | AutoAttackConfig
    | DeepFoolConfig
    | CarliniWagnerConfig
    | SquareConfig
    | TransferConfig
    | FeatureMatchingConfig
    | AdaptiveConfig,
    Field(discriminator="name"),
]

PairAttackConfig = Annotated[
    PairFGSMConfig | PairPGDConfig | TransferConfig | PairAdaptiveConfig, Field(discriminator="name")
]
