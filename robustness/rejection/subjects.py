"""Models with their detectors, loaded when first asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.errors import InputError
from robustness.attacked_model import AttackedModel
from robustness.fitted_model import FittedModel
from robustness.loaded_run import FinishedRun, load_run
from robustness.rejection.config import RejectionConfig
from robustness.rejection.pair_subject import PairSubject, load_pair_subject
from robustness.rejection.subject import Subject, fit_model, fits, load_subject
from robustness.rejection.trials import Trial

Key = tuple[str, int]


class Subjects:
    """Models with their detectors, loaded when first asked for."""

    def __init__(self, config: RejectionConfig, runs: dict[Key, Path]) -> None:
        self._config, self._runs = config, runs
        self._loaded: dict[Key, FinishedRun] = {}
        self._fitted: dict[Key, FittedModel] = {}
        self._closed: dict[Key, Subject] = {}
        self._open: dict[Key, PairSubject] = {}

    def refuse_needless_detectors(self) -> None:
        """Stop where a detector asked for would be in no table.

        Raises:
            InputError: it fits none of the models.
        """
        for name in self._config.detectors:
            if not any(fits(name, self._run(key).model) for key in self._runs):
                raise InputError(
                    "detectors",
                    "must each fit one of the models",
                    got=f"{name}, which fits none",
                    fix="Leave it out, or add a model that has what it needs.",
                )

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Load what these trials need, so that what is missing is said before the first of them."""
        for trial in trials:
            if trial.goal is None:
                self.closed(key_of(trial))
            else:
                self.of_pairs(key_of(trial))
            self.source_of(trial)

    def facts_beside(self, trial: Trial, missing: Sequence[Trial]) -> Mapping[str, Any]:
        """What a finished trial must agree with: those of missing ones on the same images; else none."""
        if not any((other.goal is None) == (trial.goal is None) for other in missing):
            return {}
        key = key_of(trial)
        return self.closed(key).facts if trial.goal is None else self.of_pairs(key).facts

    def closed(self, key: Key) -> Subject:
        """As attacks on its classes see it."""
        if key not in self._closed:
            self._closed[key] = load_subject(self._config, *self._fit(key))
        return self._closed[key]

    def of_pairs(self, key: Key) -> PairSubject:
        """As attacks on its verification see it."""
        if key not in self._open:
            self._open[key] = load_pair_subject(self._config, *self._fit(key))
        return self._open[key]

    def source_of(self, trial: Trial) -> AttackedModel | None:
        """The model that a transfer attack knows.

        Raises:
            InputError: it takes other images, or knows other classes where classes are attacked.
        """
        if (key := source_of(self._config, trial)) is None:
            return None
        source, attacked = self._run(key), self._run(key_of(trial))
        if not source.sees_as(attacked, classes=trial.goal is None):
            raise InputError(
                "transfer.source",
                f"must take the images that {trial.model} takes"
                + (", and know its classes" if trial.goal is None else ""),
                got=f"{key[0]}, which does not",
                fix="Name a model that was trained on the same data.",
            )
        return source.model

    def _run(self, key: Key) -> FinishedRun:
        if key not in self._loaded:
            self._loaded[key] = load_run(self._runs[key], data_path=self._config.data_path)
        return self._loaded[key]

    def _fit(self, key: Key) -> tuple[FittedModel, FinishedRun]:
        if key not in self._fitted:
            self._fitted[key] = fit_model(self._config, self._config.model(key[0]), self._run(key))
        return self._fitted[key], self._run(key)


def key_of(trial: Trial) -> Key:
    """Which training of which model a trial attacks."""
    return trial.model, trial.training


def source_of(config: RejectionConfig, trial: Trial) -> Key | None:
    """The training that a transfer attack knows; None for other attacks."""
    if trial.attack is None or (name := trial.attack.source_model) is None:
        return None
    return name, trial.training % config.model(name).trainings
