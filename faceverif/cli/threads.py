"""How PyTorch's threads wait for each other, where the user has set nothing."""

from __future__ import annotations

import os

_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait: on a shared machine, spinning takes the core from others.

    OpenMP reads its variables when PyTorch is imported, so this must be called before. The figures are in
    docs/results/shared_machines.md.
    """
    if not any(name in os.environ for name in _VARIABLES):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
