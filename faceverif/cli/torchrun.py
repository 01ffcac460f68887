"""Errors under torchrun: of its processes on one machine, the first that fails says why, once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

# torchrun names a file for each process, in which it looks for the reason of a failure. The file lies in a
# folder of the process, and all of these in one folder of the attempt, which torchrun removes afterwards.
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
_FIRST = "first-failure"


def launched() -> bool:
    """Whether torchrun started this process."""
    return _ERROR_FILE in os.environ


def report_failure(reason: str) -> bool:
    """Hand the reason to torchrun, which repeats it in its summary.

    Args:
        reason: one line.

    Returns:
        whether no other process failed before this one; True without torchrun.
    """
    if not launched():
        return True
    error_file = Path(os.environ[_ERROR_FILE])
    try:
        error_file.parent.mkdir(parents=True, exist_ok=True)
        about = {"message": reason, "extraInfo": {"timestamp": str(int(time.time()))}}
        error_file.write_text(json.dumps({"message": about}), encoding="utf-8")
        (error_file.parent.parent / _FIRST).open("x").close()
    except FileExistsError:
        return False
    except OSError:  # no folder to agree in: better twice than never
        return True
    return True


def another_process_failed() -> bool:
    """Whether another process of the same torchrun, on this machine, has said why it failed."""
    return launched() and (Path(os.environ[_ERROR_FILE]).parent.parent / _FIRST).exists()
