"""The trainings that an experiment makes itself, checked before the first one begins."""

from __future__ import annotations

from faceverif.classification.config import ClassificationConfig
from faceverif.config.reading import validate_config
from faceverif.config.section import merged
from robustness.rejection.config import ModelConfig, RejectionConfig


def own_trainings(config: RejectionConfig, model: ModelConfig) -> tuple[ClassificationConfig, ...]:
    """One for each seed of a model that is trained here; none where it names finished runs.

    Raises:
        InputError: its settings, over those of `training`, break a rule.
    """
    if model.settings is None:
        return ()
    settings = merged(config.training or {}, model.settings)
    return tuple(
        validate_config(ClassificationConfig, settings | {"seed": seed}, source=f"model {model.name}")
        for seed in model.seeds
    )
