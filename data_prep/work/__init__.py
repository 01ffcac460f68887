"""Where the work of a command runs: in the processes of this machine, or on a cluster.

A command states a `Job` and cuts its input into shards; an `Engine` runs them. Another engine is one more
file, and a line in `CLUSTERS`.
"""

from __future__ import annotations

from importlib import import_module

from data_prep.work.job import Engine

# Name on the command line -> the extra in pyproject.toml, its package, the engine's module and class.
CLUSTERS = {"ray": ("cluster", "ray", "data_prep.work.on_ray", "RayCluster")}


def cluster(name: str, *, workers: int, device: str | None) -> Engine:
    """An engine that runs on several machines.

    Args:
        name: a key of `CLUSTERS`.
        workers: at most that many; 0: as many as fit.
        device: auto, cpu or cuda; None: the job needs no device.

    Raises:
        InputError: the engine cannot give that device.
    """
    _, _, module, kind = CLUSTERS[name]
    engine: Engine = getattr(import_module(module), kind)(workers=workers, device=device)
    return engine
