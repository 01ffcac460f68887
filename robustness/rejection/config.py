"""The YAML of a rejection experiment: which models, which attacks, which detectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, get_args

from pydantic import Field, model_validator

from data_prep.counted import repeated
from faceverif.config.paths import AlignedPath, InputPath, RunPath
from faceverif.config.section import Count, NotNegative, Section, Seed, broken_rule
from robustness.calibration_size import smallest_calibration, smallest_rate
from robustness.config.attack_section import AttackSection, Name, Rate, includes
from robustness.config.attacks import AttackConfig, PairAttackConfig, PairGoal
from robustness.config.names import CONTROLS, LIKE, ControlName, DetectorName


class ModelConfig(Section):
    """A model, trained once or with several seeds.

    Attributes:
        name: of its rows, and of its folder.
        runs: folders by `faceverif train`, `faceverif classify` or `faceverif experiment`, one per training.
        settings: of trainings that the experiment makes, over those of `training`; instead of runs.
        seeds: of those trainings.
        detector: the model's own, which tables show and adaptive attacks know.
    """

    name: Name
    runs: tuple[RunPath, ...] = ()
    settings: dict[str, Any] | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    detector: DetectorName

    @model_validator(mode="after")
    def _is_taken_or_trained(self) -> ModelConfig:
        if bool(self.runs) == (self.settings is not None):
            raise broken_rule(
                "",
                f"{self.name} needs either existing runs, or settings to train with",
                got="both" if self.runs else "neither",
            )
        return self

    @property
    def trainings(self) -> int:
        """How many there are."""
        return len(self.runs or self.seeds)


class ControlsConfig(Section):
    """Changes that have the sizes of the attacks and are no attacks.

    Attributes:
        changes: their kinds: Gaussian noise, blur, JPEG.
        images: use only the first of the evaluated images or pairs; null: all.
        trainings: use only the first of each model's trainings; null: all.
    """

    changes: tuple[ControlName, ...] = CONTROLS
    images: Count | None = None
    trainings: Count | None = None

    def names(self, training: int) -> tuple[str, ...]:
        """Those that a training gets."""
        return self.changes if includes(self.trainings, training) else ()


class PairsConfig(Section):
    """The open set: verification of people who are no classes.

    Attributes:
        data: a folder made by `faceverif align`.
        protocol: whose scored pairs are attacked; the left photo is changed.
        calibration_protocol: other pairs of the same photos. They set the verification threshold, and their
            clean photos those of the detectors.
        pairs: how many for each goal.
        far: false accept rate of the verification.
        goals: impersonation attacks impostor pairs, dodging genuine ones.
        attacks: what is tried.
    """

    data: AlignedPath
    protocol: InputPath
    calibration_protocol: InputPath
    pairs: Count = 500
    far: Rate = 0.01
    goals: Annotated[tuple[PairGoal, ...], Field(min_length=1)] = get_args(PairGoal)
    attacks: Annotated[tuple[PairAttackConfig, ...], Field(min_length=1)]


class PaperNumbers(Section):
    """A paper's numbers for one model and attack.

    Attributes:
        model: its name.
        attack: its name, or its label where it has one.
        epsilon: the size of the attack.
        error: share of attacked images that are classified wrongly.
        eer: of telling attacked images from clean ones with the model's detector.
    """

    model: str
    attack: str
    epsilon: NotNegative
    error: NotNegative | None = None
    eer: NotNegative | None = None


class RejectionConfig(Section):
    """A rejection experiment.

    Attributes:
        name: for files.
        title: for people.
        source: the paper that it repeats; empty: none.
        seed: of splits, attacks, noise and bootstrap.
        training: settings that the models trained here share, as in a classification run.
        models: what is attacked.
        data_path: where the images are now, if not where the runs were trained from.
        fit: training images that detectors are fitted on.
        fit_data: aligned photos that the detectors of imported models without a head are fitted on; of people
            who are not in the attacked pairs.
        calibration: number of images that set the thresholds, of those that were not trained on. They are
            drawn at random, like the attacked ones, so that the rates hold for images of the same source.
        evaluation: how many of the others are attacked; null: all of them.
        rates: false-rejection rates, each a threshold.
        detectors: compared beside each model's own, wherever a model has what they need.
        controls: changes that have the sizes of the attacks and are no attacks.
        attacks: what is tried on the images of the classes: the closed set.
        pairs: what is tried on pairs of faces: the open set.
        published: the paper's numbers, shown beside ours.
    """

    name: Name
    title: str
    source: str = ""
    seed: Seed = 0
    training: dict[str, Any] | None = None
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)]
    data_path: InputPath | None = None
    fit: Count = 10_000
    fit_data: AlignedPath | None = None
    calibration: Count = 2_000
    evaluation: Count | None = None
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (0.01, 0.05)
    detectors: tuple[DetectorName, ...] = ()
    controls: ControlsConfig = ControlsConfig()
    attacks: tuple[AttackConfig, ...] = ()
    pairs: PairsConfig | None = None
    published: tuple[PaperNumbers, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> RejectionConfig:
        models, attacks = [model.name for model in self.models], [each.called for each in self.attacks]
        pairs = [each.called for each in self.pair_attacks]
        _refuse_twice("models", "must differ in their names", models)
        for key, values in self._counted():
            _refuse_twice(key, "must differ", values)
        for key, labels in (("attacks", attacks), ("pairs.attacks", pairs)):
            _refuse_twice(key, "must differ in their labels; give them some", labels)
            for label in labels:
                if label.partition(LIKE)[0] in self.controls.changes:
                    raise broken_rule(
                        key, "must not be labelled as a control is: they share files", got=label
                    )
        for key, tried in (("attacks", self.attacks), ("pairs.attacks", self.pair_attacks)):
            _refuse_alike(f"{key}.epsilons", [epsilon for attack in tried for epsilon in attack.epsilons])
        for row in self.published:
            if row.model not in models or row.attack not in attacks:
                raise broken_rule(
                    "published",
                    "must be of models and attacks that are run",
                    got=f"{row.model}, {row.attack}",
                )
        return self

    @model_validator(mode="after")
    def _attacks_fit(self) -> RejectionConfig:
        if not self.attacks and self.pairs is None:
            raise broken_rule("", "attacks or pairs must be given", got="neither")
        names = [model.name for model in self.models]
        for key, attack in self._attacks_by_key():
            unknown = [source for source in attack.source_models if source not in names]
            if unknown:
                rule = f"must be one of the models: {', '.join(names)}"
                raise broken_rule(f"{key}.source", rule, got=unknown[0])
            if attack.known_rate not in (None, *self.rates):
                rates = ", ".join(map(str, self.rates))
                raise broken_rule(f"{key}.rate", f"must be one of rates: {rates}", got=attack.known_rate)
            if attack.norm == "linf" and max(attack.epsilons) > 1:
                raise broken_rule(
                    f"{key}.epsilons",
                    "must be at most 1 with linf: pixels lie in [0, 1]",
                    got=max(attack.epsilons),
                )
        return self

    @model_validator(mode="after")
    def _fitted_on_others(self) -> RejectionConfig:
        if self.fit_data and self.pairs and self.fit_data.resolve() == self.pairs.data.resolve():
            rule = "must be another set than pairs.data: detectors are tested on photos that they do not know"
            raise broken_rule("fit_data", rule, got=self.fit_data)
        return self

    @model_validator(mode="after")
    def _every_model_is_attacked(self) -> RejectionConfig:
        for model in self.models:
            tried = (attack for _, attack in self._attacks_by_key() if attack.attacks(model.name))
            if not any(max(attack.epsilons) > 0 for attack in tried):
                rule = f"must hold one with an epsilon above 0 for {model.name}"
                raise broken_rule("attacks", f"{rule}; a transfer does not attack its source", got="none")
        return self

    @model_validator(mode="after")
    def _calibration_suffices(self) -> RejectionConfig:
        rate, needed = min(self.rates), smallest_calibration(min(self.rates))
        if self.attacks and self.calibration < needed:
            raise broken_rule(
                "calibration",
                f"must be at least {needed:,} for a rate of {rate:g}; as it is, rates may be "
                f"{smallest_rate(self.calibration)} or more",
                got=f"{self.calibration:,}",
            )
        return self

    def _counted(self) -> Iterator[tuple[str, Sequence[object]]]:
        """Lists in which what stands twice would count twice, in rows, in files or in a mean.

        The same training twice would be a mean over two, without any spread; the same source twice would
        weigh more than the others.
        """
        yield "rates", self.rates
        yield "controls.changes", self.controls.changes
        yield "pairs.goals", () if self.pairs is None else self.pairs.goals
        for place, model in enumerate(self.models):
            yield f"models.{place}.seeds", model.seeds
            yield f"models.{place}.runs", [run.resolve() for run in model.runs]
        for key, attack in self._attacks_by_key():
            yield f"{key}.source", attack.source_models

    def _attacks_by_key(self) -> Iterator[tuple[str, AttackSection]]:
        """Every attack with its key path."""
        for key, attacks in (("attacks", self.attacks), ("pairs.attacks", self.pair_attacks)):
            yield from ((f"{key}.{number}", attack) for number, attack in enumerate(attacks))

    @property
    def pair_attacks(self) -> tuple[PairAttackConfig, ...]:
        """Those on pairs, if any."""
        return () if self.pairs is None else self.pairs.attacks

    def model(self, name: str) -> ModelConfig:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)


def _refuse_twice(key: str, rule: str, names: Sequence[object]) -> None:
    if twice := repeated(names):
        raise broken_rule(key, rule, got=f"{twice[0]} twice")


def _refuse_alike(key: str, numbers: Sequence[float]) -> None:
    """Files are named by six digits."""
    by_name: dict[str, float] = {}
    for number in numbers:
        if by_name.setdefault(f"{number:g}", number) != number:
            raise broken_rule(key, "must differ in six digits, or not at all", got=f"two that are {number:g}")
