"""What a command asks of workers, and the contract of the engines that run them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, TypeVar

from data_prep.errors import InputError

Shard = TypeVar("Shard")
Result = TypeVar("Result")


class WorkStopped(InputError):
    """The work cannot go on where it runs: a cluster, a node or its storage is at fault, not the data."""


class Job(ABC, Generic[Shard, Result]):
    """What every worker does, one shard after the other; it is pickled to other processes and machines."""

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files and folders that every worker must see."""
        return ()

    @property
    def writes(self) -> Path | None:
        """The folder that results go to; None where they only come back."""
        return None

    @abstractmethod
    def start(self) -> Callable[[Shard], Result]:
        """What does one shard; called once per worker, so that networks are loaded once."""


class Engine(ABC):
    """Where the shards of a job are done.

    Attributes:
        outlasts: whether a worker may finish its shard after the process that asked for it has died.
    """

    outlasts = False

    @abstractmethod
    def workers(
        self, job: Job[Shard, Result], *, shards: int
    ) -> AbstractContextManager[Callable[[Iterable[Shard]], Iterator[Result]]]:
        """Workers for a job, which end with the block.

        Args:
            job: what they do.
            shards: how many there will be, so that no worker starts for nothing.

        Yields:
            `work(shards)`: a result per shard, as they come; the order is no promise.
        """
