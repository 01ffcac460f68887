"""Weights & Biases; offline with WANDB_MODE=offline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from faceverif.training.logs.loggers.base import PROJECT, place_of


class WandbLogger:
    """A run of wandb, whose files lie in RUN/wandb; WANDB_PROJECT names another project than faceverif."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=place_of(run, "wandb"),
            resume="allow",
            dir=str(run),
            config=dict(settings),
        )

    def write(self, figures: Mapping[str, float], *, step: int) -> None:
        """See `Logger`."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._run.finish()
