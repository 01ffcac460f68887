"""Several processes of one training: they must run the same, and all must stay."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import distributed

from data_prep.errors import InputError
from data_prep.work.code import code_identity
from faceverif.config.section import Change, Section, changed_settings, may_change
from faceverif.sharding.collectives import processes

# What gloo says of a process that it no longer reaches; NCCL's errors have a type of their own.
_LOST = ("connection closed by peer", "connection reset by peer", "broken pipe", "gloo", "nccl", "tcpstore")
# May differ from an earlier sitting, but not within one: processes would wait for each other.
_MUST_AGREE = {"training.shard_classes"}
_FIELD = "torchrun"


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


@contextmanager
def lost_processes_named(run: Path) -> Iterator[None]:
    """A block in which processes compute together: if one vanishes, the others say so in one line.

    Args:
        run: the run's folder, which has the last checkpoint.

    Raises:
        InputError: another process ended, or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if processes() == 1 or not _is_loss(error):
            raise
        raise InputError(
            _FIELD,
            "all processes of a training must stay alive and in reach of each other",
            got="one that ended or cannot be reached",
            fix=f"The last checkpoint in {run} is whole: the same command continues from it. "
            "torchrun --max-restarts=3 does that by itself.",
        ) from error


def _is_loss(error: RuntimeError) -> bool:
    known = (distributed.DistBackendError, distributed.DistNetworkError)
    return isinstance(error, known) or any(words in str(error).lower() for words in _LOST)
