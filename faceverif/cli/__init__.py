"""The command line: one file per group of commands. What a command needs is imported when it runs.

A command checks its options, paths and config first, and only then imports torch and what needs it.
"""

from __future__ import annotations

from faceverif.cli.entry import main

__all__ = ["main"]
