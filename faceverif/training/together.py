"""Several processes of one training: they must run the same, and all must stay."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import distributed

from data_prep.errors import InputError
from data_prep.work.code import code_identity
from faceverif.config.run import RunConfig
from faceverif.config.section import Change, changed_settings, may_change
from faceverif.sharding.collectives import processes

# What gloo says of a process that it no longer reaches; NCCL's errors have a type of their own.
_LOST = ("connection closed by peer", "connection reset by peer", "broken pipe", "gloo", "nccl", "tcpstore")
# May differ from an earlier sitting, but not within one: processes would wait for each other.
_MUST_AGREE = {"training.shard_classes"}
_FIELD = "torchrun"


def refuse_differences(config: RunConfig, *, data_sha256: str) -> None:
    """Stop all processes where one of them runs other code, settings or data than the first.

    Args:
        config: of this process.
        data_sha256: of its photos.

    Raises:
        InputError: another process differs; all of them raise it.
    """
    if processes() == 1:
        return
    everybody: list[Any] = [None] * processes()
    distributed.all_gather_object(everybody, _described(config, data_sha256=data_sha256))
    free = may_change(RunConfig, Change.FREE)
    for rank, other in enumerate(everybody):
        difference = _difference(everybody[0], other, free)
        if difference:
            raise InputError(
                _FIELD,
                "all processes must run the same code with the same config and data",
                got=f"process {rank} on {other['host']} with {difference}",
                fix=f"Make {other['host']} like {everybody[0]['host']}, and start again.",
            )


def _described(config: RunConfig, *, data_sha256: str) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "software": code_identity(),
        "data": {"sha256": data_sha256[:12]},
        "config": config.model_dump(mode="json"),
    }


def _difference(first: dict[str, Any], other: dict[str, Any], free: set[str]) -> str:
    """What differs, as `a.b old -> new`."""
    parts = (
        changed_settings(first["software"], other["software"], may_change=()),
        changed_settings(first["data"], other["data"], may_change=()),
        changed_settings(first["config"], other["config"], may_change=free - _MUST_AGREE),
    )
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
