"""A head fitted to a finished model, as settings: `faceverif fit-head`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from faceverif.config.reading import override_settings, validate_config
from faceverif.config.run import ClassifierConfig
from faceverif.config.section import Count, Positive, Section, broken_rule

# People with 20 photos: 16 to fit, 4 to attack or to calibrate on.
_DATA = {"min_photos_per_identity": 16, "held_out_per_identity": 4}
_OF_HEADS: dict[str, dict[str, Any]] = {"lgm": {"alpha": 0.0, "covariance": "shared"}}


class FitConfig(Section):
    """How a head is fitted; AdamW, the rate falling to zero along half a cosine.

    Attributes:
        epochs: passes over the embeddings, from centres at the class means. null: 0 for lgm, whose class
            means and covariance are the fit (maximum likelihood), 50 for other heads.
        batch_size: embeddings per step.
        learning_rate: of the first step.
    """

    epochs: Annotated[int, Field(ge=0)] | None = None
    batch_size: Count = 128
    learning_rate: Positive = 0.01


class FittedHeadConfig(ClassifierConfig):
    """A head and the people that it is fitted to."""

    embeddings_learn: ClassVar[bool] = False
    fit: FitConfig = FitConfig()

    @model_validator(mode="after")
    def _every_part_is_used(self) -> FittedHeadConfig:
        if not self.epochs and (unused := self._of_epochs):
            rule = "has no effect without epochs: the class means, and lgm's covariance, are the whole fit"
            epochs = "0, the default of lgm" if self.fit.epochs is None else "0"
            raise broken_rule(unused[0], rule, got=f"{unused[0]} beside fit.epochs of {epochs}")
        return self

    @property
    def _of_epochs(self) -> list[str]:
        """The keys that were set and that nothing but epochs reads."""
        rates = [f"fit.{key}" for key in ("learning_rate", "batch_size") if key in self.fit.model_fields_set]
        criterion = ["criterion"] if "criterion" in self.model_fields_set else []
        return [*(["penalties"] if self.penalties else []), *criterion, *rates]

    @property
    def epochs(self) -> int:
        """How many there are."""
        if self.fit.epochs is not None:
            return self.fit.epochs
        return 0 if self.head.name == "lgm" else 50


def fitted_head_config(head: str, *, data: str, overrides: list[str]) -> FittedHeadConfig:
    """The settings that the command line gives.

    Args:
        head: its name.
        data: an aligned data set.
        overrides: `a.b=c`; see `load_config`.

    Raises:
        InputError: an unknown head or key, or a value that breaks a rule.
    """
    settings: dict[str, Any] = {
        "head": {"name": head} | _OF_HEADS.get(head, {}),
        "data": {"path": data} | _DATA,
    }
    for override in overrides:
        settings = override_settings(settings, override)
    return validate_config(FittedHeadConfig, settings, source="fit-head")
