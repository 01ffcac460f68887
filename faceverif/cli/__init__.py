"""The command line: one file per group of commands. What a command needs is imported when it runs."""

from __future__ import annotations

from faceverif.cli import preparation, rejection, synthetic, training, verification  # noqa: F401 - adds them
from faceverif.cli.entry import main

__all__ = ["main"]
