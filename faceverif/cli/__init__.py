"""The command line: one file per group of commands. What a command needs is imported when it runs."""

from __future__ import annotations

from faceverif.cli import (  # noqa: F401 - each adds its commands
    models,
    preparation,
    rejection,
    synthetic,
    training,
    verification,
)
from faceverif.cli.entry import main

__all__ = ["main"]
