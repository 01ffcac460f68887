"""Which trials an experiment has, and what each one's numbers depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from faceverif.perturbation.norm import Norm
from robustness.config.attack_section import AttackSection, includes
from robustness.config.names import LIKE
from robustness.loaded_run import run_sha256
from robustness.rejection.config import RejectionConfig
from robustness.rejection.image_trial import ImageTrial
from robustness.rejection.models import source_keys
from robustness.rejection.pair_trial import PairTrial
from robustness.rejection.trial import Key, Trial


@dataclass(frozen=True)
class Plan:
    """The trials of an experiment.

    Attributes:
        config: the experiment.
        runs: the folder of every training.
        trials: in the order of the tables.
        about: trial -> settings and hashes that its numbers depend on, as plain values.
    """

    config: RejectionConfig
    runs: Mapping[Key, Path]
    trials: Sequence[Trial[Any]]
    about: Mapping[Trial[Any], dict[str, Any]]

    @classmethod
    def of(cls, config: RejectionConfig, runs: Mapping[Key, Path]) -> Plan:
        """Every trial of every training.

        Raises:
            InputError: a run is not there.
        """
        trials = [trial for model, training in runs for trial in plan_trials(config, model, training)]
        hashes = {key: run_sha256(run) for key, run in runs.items()}
        return cls(config, runs, trials, {trial: _about(config, trial, hashes) for trial in trials})

    def by_training(self) -> Iterator[tuple[Key, list[Trial[Any]]]]:
        """The trials of each training; the first training of every model comes before the second of any."""
        for key in sorted(self.runs, key=lambda key: key[1]):
            yield key, [trial for trial in self.trials if trial.key == key]


def plan_trials(config: RejectionConfig, model: str, training: int) -> list[Trial[Any]]:
    """Every attack at every size, and the controls at the sizes of the attacks, for one training.

    A control comes twice at each epsilon of an attack in linf: with that epsilon, and with the l2 norms that
    the changes of the first such attack have, image by image.

    The first attack is also made with size 0, which leaves the images as they are: a detector must not see
    a difference there. Pairs get the same trials for each goal.
    """
    planned: list[Trial[Any]] = [*_planned(config, config.attacks, model, training, ImageTrial)]
    for goal in () if config.pairs is None else config.pairs.goals:
        planned += _planned(config, config.pair_attacks, model, training, partial(PairTrial, goal=goal))
    return planned


def _planned(
    config: RejectionConfig,
    attacks: Sequence[AttackSection],
    model: str,
    training: int,
    trial: Callable[..., Trial[Any]],
) -> list[Trial[Any]]:
    attacks = [attack for attack in attacks if attack.attacks(model)]
    of_training = partial(trial, model=model, training=training)
    trials = [
        of_training(
            label=attack.called, norm=attack.norm, epsilon=epsilon, attack=attack, images=attack.images
        )
        for attack in attacks
        if includes(attack.trainings, training)
        for epsilon in sorted({*attack.epsilons, *((0.0,) if attack is attacks[0] else ())})
    ]
    # The first attack of each size: the controls take its norm and epsilon, or the l2 norms of its changes.
    first: dict[tuple[Norm, float], Trial[Any]] = {}
    for each in sorted(trials, key=lambda trial: trial.local):
        if each.epsilon > 0:
            first.setdefault((each.norm, each.epsilon), each)
    controls = partial(of_training, attack=None, images=config.controls.images)
    for control in config.controls.names(training):
        for (norm, epsilon), attack in sorted(first.items(), key=lambda item: item[0]):
            trials.append(controls(control=control, label=control, norm=norm, epsilon=epsilon))
            if norm == "linf" and attack.limited and not attack.local:
                label = f"{control}{LIKE}{attack.label}"
                trials.append(controls(control=control, label=label, norm="l2", epsilon=epsilon, like=attack))
    return trials


def _about(config: RejectionConfig, trial: Trial[Any], hashes: Mapping[Key, str]) -> dict[str, Any]:
    model = config.model(trial.model)
    sources = [hashes[key] for key in source_keys(config, trial)]
    return trial.depends_on(config) | {
        "trial": trial.settings(),
        "detectors": [model.detector, *(name for name in config.detectors if name != model.detector)],
        "model_sha256": hashes[trial.key],
        "source_sha256": sources if len(sources) > 1 else next(iter(sources), None),
    }
