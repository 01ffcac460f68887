"""Shards, results and errors on their way to other machines, as bytes."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from data_prep.errors import InputError
from data_prep.work.job import Job
from data_prep.work.storage import Storage
from data_prep.work.worker import work_on_one_core

Answer = tuple[str, Any]  # what it is, and its content: plain values only
READY, DONE, STOPPED, FOREIGN = "ready", "done", "stopped", "foreign"


class Order(NamedTuple):
    """What workers on other machines are started with.

    Attributes:
        job: what to do.
        storage: what they must see.
        device: for `choose_device`; None: the job needs none.
    """

    job: Job[Any, Any]
    storage: Storage
    device: str | None


class RemoteWorker:
    """A worker on another machine.

    Args:
        node: its name, for messages.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._work: Callable[[Any], Any]

    def begin(self, order: bytes) -> Answer:
        """Take a pickled `Order`: look at the storage, load the networks."""
        try:
            job, storage, device = pickle.loads(order)
            storage.enter(self._node)
            self._work = work_on_one_core(job, device)
        except Exception as error:
            return STOPPED, packed_error(error)
        return READY, self._node

    def do(self, shard: bytes) -> Answer:
        """Do a pickled shard."""
        try:
            return DONE, pickle.dumps(self._work(pickle.loads(shard)))
        except Exception as error:
            return STOPPED, packed_error(error)


def packed_error(error: Exception) -> bytes:
    """An error for the other side to raise, as `portable_error` gives it."""
    return pickle.dumps(portable_error(error))


def portable_error(error: Exception) -> Exception:
    """The error of a user or of the system as it is; a bug as its traceback, which always travels."""
    if isinstance(error, InputError | OSError | MemoryError):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))
