"""What torchrun says to the processes that it starts; known before torch is imported."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Whether this is the process that speaks and writes; a process that was started alone is."""
    return os.environ.get("RANK", "0") == "0"
