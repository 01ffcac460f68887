"""What a logger does, and how a run finds its place in a service again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from data_prep.json_object import read_json, write_json

PROJECT = "faceverif"
_PLACES = "logger.json"


class Logger(Protocol):
    """Shows the figures of a run elsewhere."""

    def write(self, figures: Mapping[str, float], *, step: int) -> None:
        """Show figures at a step; their names have a group, as in training/loss."""

    def close(self) -> None:
        """Send what is left."""


def place_of(run: Path, service: str) -> str:
    """The id of a run in a service, made up when it is first asked for; empty folders of runs have none."""
    return remembered(run).get(service) or remember(run, service, uuid.uuid4().hex[:16])


def remembered(run: Path) -> dict[str, Any]:
    """Service -> id, of the services that a run was shown in."""
    return read_json(run / _PLACES)


def remember(run: Path, service: str, place: str) -> str:
    """Write down the id of a run in a service, and return it."""
    write_json(run / _PLACES, remembered(run) | {service: place})
    return place
