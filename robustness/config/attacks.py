"""The config sections of all attacks: defaults and bounds of their settings.

They stand apart from the classes so that a config is read without PyTorch. `robustness.attacks` refuses to
load where a section has no class, or a class no section.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceverif.config.section import Count, NotNegative, Positive, Share, broken_rule
from robustness.config.attack_section import (
    AdaptiveSection,
    AttackSection,
    Loss,
    MomentumSettings,
    Name,
    Weights,
)

PairGoal = Literal["impersonation", "dodging"]
APGDLoss = Literal["cross_entropy", "dlr"]
Region = Literal["glasses", "forehead", "mouth_nose"]


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
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    name: Literal["pgd"]
    steps: Count = 40
    restarts: Count = 1
    loss: Loss = "margin"
    samples: Count = 1


class APGDConfig(AttackSection):
    """Projected steps whose lengths adapt to the progress.

    Attributes:
        steps: of each restart and target.
        restarts: from anywhere in the ball.
        loss: dlr, the difference of logits ratio, does not change when logits are scaled or shifted.
        targets: how many classes are tried one by one, the most likely first; 0: no class is named.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    name: Literal["apgd"]
    steps: Count = 100
    restarts: Count = 1
    loss: APGDLoss = "dlr"
    targets: Annotated[int, Field(ge=0)] = 0
    samples: Count = 1


class FABConfig(AttackSection):
    """The smallest change that crosses the border to a class.

    Attributes:
        steps: for each class.
        targets: how many classes are tried one by one, the most likely first.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    name: Literal["fab"]
    steps: Count = 100
    targets: Annotated[int, Field(ge=1)] = 9
    samples: Count = 1


class AutoAttackConfig(AttackSection):
    """APGD on two losses and towards named classes, FAB, and Square (linf), each on what is left.

    Attributes:
        steps: of APGD and of FAB, for each class that is named.
        targets: classes that are named one by one, the most likely first.
        queries: of Square.
        samples: gradients that are averaged at each step (EOT). With more than one the bundle is that for
            random models: APGD on two losses.
    """

    name: Literal["autoattack"]
    steps: Count = 100
    targets: Annotated[int, Field(ge=1)] = 9
    queries: Count = 5000
    samples: Count = 1


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
    """Random squares; sees logits, or the similarity of a pair, and no gradients.

    Attributes:
        queries: per image, at most.
    """

    name: Literal["square"]
    norm: Literal["linf"] = "linf"
    queries: Count = 1000


class MIFGSMConfig(AttackSection, MomentumSettings):
    """Steps with momentum, from the image itself.

    Attributes:
        steps: of epsilon / steps each.
        loss: margin does not saturate where the softmax does.
    """

    name: Literal["mi_fgsm"]
    steps: Count = 10
    loss: Loss = "margin"


class TransferConfig(AttackSection):
    """An attack on other models; the attacked model is not asked.

    Attributes:
        source: name of the other model, or of several that are attacked as one; their trainings of the same
            number are used. They are not attacked themselves.
        steps: of the attack on the source.
        by: MI-FGSM with these settings; null: PGD.
    """

    name: Literal["transfer"]
    source: Name | Annotated[tuple[Name, ...], Field(min_length=1)]
    steps: Count = 40
    by: MomentumSettings | None = None

    @property
    def source_models(self) -> tuple[str, ...]:
        """The sources."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def averaged(self) -> int:
        """Of MI-FGSM's gradients."""
        return 1 if self.by is None else self.by.samples


class FeatureMatchingConfig(AttackSection):
    """Towards the embedding of a clean image of another class.

    Attributes:
        steps: of each restart.
        restarts: the first begins at the image.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    name: Literal["feature_matching"]
    steps: Count = 100
    restarts: Count = 1
    samples: Count = 1


class AdaptiveConfig(AdaptiveSection):
    """The attack knows the model's detector and its threshold."""

    name: Literal["adaptive"]


class PairPGDConfig(AttackSection):
    """Many projected steps along the gradient of the cosine.

    Attributes:
        steps: of each restart.
        restarts: from anywhere in the ball.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    name: Literal["pgd"]
    steps: Count = 40
    restarts: Count = 1
    samples: Count = 1


class PairAPGDConfig(AttackSection):
    """Steps along the gradient of the cosine with momentum and lengths that it chooses itself (APGD).

    Attributes:
        steps: of each restart.
        restarts: from anywhere in the ball.
        samples: gradients that are averaged at each step (EOT), for models whose output is random.
    """

    name: Literal["apgd"]
    steps: Count = 100
    restarts: Count = 1
    samples: Count = 1


class PairFGSMConfig(AttackSection):
    """One step along the sign of the gradient of the cosine, from a random start."""

    name: Literal["fgsm"]


class PairMIFGSMConfig(AttackSection, MomentumSettings):
    """Steps with momentum along the gradient of the cosine, from the image itself.

    Attributes:
        steps: of epsilon / steps each.
    """

    name: Literal["mi_fgsm"]
    steps: Count = 10


class EvolutionaryConfig(AttackSection):
    """Comes closer to the photo from a picture that is decided as wanted; sees decisions only.

    Attributes:
        queries: per pair, at most.
    """

    name: Literal["evolutionary"]
    norm: Literal["l2"] = "l2"
    queries: Count = 5000


class PatchConfig(AttackSection):
    """Any colours within a region of the face; a digital simulation of something worn.

    Attributes:
        region: glasses (a frame), forehead, or mouth_nose (what a mask covers).
        epsilons: 1 allows any colour.
        steps: how many.
        samples: ways of wearing the patch whose gradients are averaged at each step (EOT).
        shift: of the patch at each sample, at most, in distances of the eyes.
        scale: how much larger or smaller it is, at most, as a share.
        rotation_deg: how far it is turned, at most.
        brightness: how much brighter or darker it is, at most, as a share.
        colours: levels of red, green and blue that can be printed; null: any colour.
    """

    name: Literal["patch"]
    norm: Literal["linf"] = "linf"
    epsilons: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (1.0,)
    region: Region = "glasses"
    steps: Count = 50
    samples: Count = 2
    shift: Share = 0.05
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 5.0
    brightness: Share = 0.1
    colours: Annotated[int, Field(ge=2, le=256)] | None = None

    @model_validator(mode="after")
    def _colours_fit(self) -> PatchConfig:
        between = [epsilon for epsilon in self.epsilons if 0 < epsilon < 1]
        if self.colours is not None and between:
            raise broken_rule("epsilons", "must be 1 where colours are printable ones", got=between[0])
        return self


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
    | MIFGSMConfig
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
    PairFGSMConfig
    | PairPGDConfig
    | PairAPGDConfig
    | PairMIFGSMConfig
    | SquareConfig
    | EvolutionaryConfig
    | PatchConfig
    | TransferConfig
    | PairAdaptiveConfig,
    Field(discriminator="name"),
]
