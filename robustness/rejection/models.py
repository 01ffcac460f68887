"""The calibrated models of an experiment, loaded when a trial first needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from data_prep.errors import InputError
from faceverif.models.location import MODEL_OPTION
from faceverif.option_names import renamed_options
from robustness.attacked_model import AttackedModel
from robustness.fitted_model import FittedModel
from robustness.joint_model import joint_classifier, joint_verifier
from robustness.loaded_run import LoadedRun, load_run
from robustness.rejection.calibrated_model import CalibratedModel, fit_model
from robustness.rejection.config import RejectionConfig
from robustness.rejection.trial import Key, Trial

_Model = TypeVar("_Model", bound=CalibratedModel)


class CalibratedModels:
    """Models as trials need them; each is loaded, fitted and calibrated once.

    Args:
        config: the experiment.
        runs: the folder of every training.
    """

    def __init__(self, config: RejectionConfig, runs: Mapping[Key, Path]) -> None:
        self._config, self._runs = config, runs
        self._loaded: dict[Key, LoadedRun] = {}
        self._fitted: dict[Key, FittedModel] = {}
        # Images of the classes and pairs have calibrations of their own.
        self._calibrated: dict[tuple[Key, type[Trial[Any]]], CalibratedModel] = {}

    def prepare(self, trials: Sequence[Trial[Any]]) -> None:
        """Load what these trials need, so that the user learns of missing things before the first trial."""
        for trial in trials:
            trial.configured(self.of(trial), self.source_of(trial))

    def of(self, trial: Trial[_Model]) -> _Model:
        """The model that a trial attacks, with the images or pairs of its kind."""
        kind = trial.key, type(trial)
        if kind not in self._calibrated:
            self._calibrated[kind] = trial.calibrated(self._config, self._fit(trial.key), self.run(trial.key))
        return cast(_Model, self._calibrated[kind])

    def source_of(self, trial: Trial[Any]) -> AttackedModel | None:
        """The other model that an attack knows, or several as one; None for most attacks.

        Raises:
            InputError: one takes other images, or knows other classes where classes are attacked.
        """
        keys = source_keys(self._config, trial)
        attacked = self.run(trial.key)
        for key in keys:
            if not self.run(key).sees_as(attacked, classes=trial.needs_classes):
                raise InputError(
                    f"{trial.label}.source",
                    f"must take the images that {trial.model} takes"
                    + (", and know its classes" if trial.needs_classes else ""),
                    got=f"{key[0]}, which does not",
                    fix="Name a model that was trained on the same data.",
                )
        sources = [self.run(key).model for key in keys]
        join = joint_classifier if trial.needs_classes else joint_verifier
        return join(sources) if sources else None

    def run(self, key: Key) -> LoadedRun:
        """A finished training with its images."""
        if key not in self._loaded:
            with renamed_options({MODEL_OPTION: "models.runs"}):
                self._loaded[key] = load_run(
                    self._runs[key],
                    data_path=self._config.data_path,
                    fit_data=self._config.fit_data,
                    otherwise="attack pairs, for which fit_data names photos of other people",
                )
        return self._loaded[key]

    def _fit(self, key: Key) -> FittedModel:
        if key not in self._fitted:
            self._fitted[key] = fit_model(self._config, self._config.model(key[0]), self.run(key))
        return self._fitted[key]


def source_keys(config: RejectionConfig, trial: Trial[Any]) -> tuple[Key, ...]:
    """The trainings of other models that an attack knows; none for most attacks."""
    names = () if trial.attack is None else trial.attack.source_models
    return tuple((name, trial.training % config.model(name).trainings) for name in names)
