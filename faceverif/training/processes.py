"""Several processes of one training: they must run the same, wait for each other, and all must stay."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from data_prep.errors import InputError
from data_prep.work.code import code_identity
from faceverif.config.section import Change, Section, changed_settings, may_change
from faceverif.sharding.collectives import processes
from faceverif.training.checkpoint import checkpoint_path

# What gloo says of a process that it no longer reaches; NCCL's errors have a type of their own.
_LOST = ("connection closed by peer", "connection reset by peer", "broken pipe", "gloo", "nccl", "tcpstore")
_LATE = ("timed out", "timeout")
# For what one process does alone. Steps keep torch's half an hour, after which a process that hangs is found.
_PATIENCE = timedelta(days=7)
# May differ from an earlier sitting, but not within one: processes would wait for each other.
_MUST_AGREE = {"training.shard_classes"}
_FIELD = "torchrun"
_SEE_WHICH = "See which one hangs, or waits for its disk. "


def refuse_differences(config: Section, *, data_sha256: str, checkpoint: Mapping[str, Any] | None) -> None:
    """Stop all processes where one of them runs other code, settings or data than the first.

    Args:
        config: of this process.
        data_sha256: of its photos or images.
        checkpoint: from which it continues; None: it begins.

    Raises:
        InputError: another process differs; all of them raise it.
    """
    if processes() == 1:
        return
    everybody: list[Any] = [None] * processes()
    distributed.all_gather_object(everybody, _described(config, data_sha256, checkpoint))
    free = may_change(type(config), Change.FREE)
    for rank, other in enumerate(everybody):
        difference = _difference(everybody[0], other, free)
        if difference:
            raise InputError(
                _FIELD,
                "all processes must run the same code with the same config, data and checkpoint",
                got=f"process {rank} on {other['host']} with {difference}",
                fix=f"Make {other['host']} like {everybody[0]['host']}, and start again. "
                "The run's folder must be one that all machines share.",
            )


def _described(config: Section, data_sha256: str, checkpoint: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "software": code_identity(),
        "data": {"sha256": data_sha256[:12]},
        "checkpoint": {"checkpoint": "none" if checkpoint is None else f"of step {checkpoint.get('step')}"},
        "config": config.model_dump(mode="json"),
    }


def _difference(first: dict[str, Any], other: dict[str, Any], free: set[str]) -> str:
    """What differs, as `a.b old -> new`."""
    may_differ = {"software": set(), "data": set(), "checkpoint": set(), "config": free - _MUST_AGREE}
    parts = (changed_settings(first[part], other[part], may_change=keys) for part, keys in may_differ.items())
    return ", ".join(part for part in parts if part)


def wait_for_all() -> None:
    """Wait until every process is here: one may store, verify or export alone for hours."""
    if processes() > 1:
        gpus = [torch.cuda.current_device()] if distributed.get_backend() == "nccl" else None
        distributed.barrier(_patient_group(distributed.group.WORLD), device_ids=gpus)


@lru_cache(maxsize=1)
def _patient_group(_: Any) -> Any:
    """All processes of the world once more, with another limit; all make it together."""
    return distributed.new_group(timeout=_PATIENCE)


@contextmanager
def lost_processes_named(run: Path) -> Iterator[None]:
    """A block in which processes compute together: if one vanishes or hangs, the others say so in one line.

    Args:
        run: the run's folder, which has the last checkpoint.

    Raises:
        InputError: another process ended, cannot be reached, or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        if processes() == 1 or not _is_loss(error):
            raise
        late = any(words in str(error).lower() for words in _LATE)
        advice = f"{_standing(run)} torchrun --max-restarts=3 does that by itself."
        raise InputError(
            _FIELD,
            "all processes of a training must stay alive and in reach of each other",
            got="one that did not answer in time" if late else "one that ended or cannot be reached",
            fix=_SEE_WHICH + advice if late else advice,
        ) from error


def _standing(run: Path) -> str:
    if checkpoint_path(run).is_file():
        return f"The last checkpoint in {run} is whole: the same command continues from it."
    return f"There is no checkpoint in {run} yet: the same command begins again."


def _is_loss(error: RuntimeError) -> bool:
    known = (distributed.DistBackendError, distributed.DistNetworkError, distributed.DistStoreError)
    return isinstance(error, known) or any(words in str(error).lower() for words in _LOST)
