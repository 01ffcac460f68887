"""Trackio; it logs on this machine unless TRACKIO_SPACE_ID names a Space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trackio

from faceverif.training.logs.loggers.base import PROJECT, place_of


class TrackioLogger:
    """A run of trackio; `trackio show --project faceverif` opens its page."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        name = f"{run.name}-{place_of(run, 'trackio')[:6]}"
        self._run = trackio.init(project=PROJECT, name=name, resume="allow", config=dict(settings))

    def write(self, figures: Mapping[str, float], *, step: int) -> None:
        """See `Logger`."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._run.finish()
