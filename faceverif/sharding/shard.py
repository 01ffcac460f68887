"""Which classes a process holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from data_prep.errors import InputError


@dataclass(frozen=True)
class ClassShard:
    """The classes of one of several processes: a range, as long as that of the others, or longer by one.

    Attributes:
        classes: of all processes together.
        processes: how many share them.
        rank: of this process.

    Raises:
        InputError: fewer classes than processes.
    """

    classes: int
    processes: int
    rank: int

    def __post_init__(self) -> None:
        if self.classes < self.processes:
            raise InputError(
                "training.shard_classes",
                f"needs a class or more for each of {self.processes} processes",
                got=f"{self.classes} classes",
                fix=f"Start at most {self.classes} processes, or leave training.shard_classes out.",
            )

    @property
    def start(self) -> int:
        """The first of its classes."""
        each, more = divmod(self.classes, self.processes)
        return self.rank * each + min(self.rank, more)

    @property
    def size(self) -> int:
        """How many it holds."""
        return self.classes // self.processes + (self.rank < self.classes % self.processes)

    @property
    def rows(self) -> slice:
        """Its rows of what has one for every class."""
        return slice(self.start, self.start + self.size)

    def of_rank(self, rank: int) -> ClassShard:
        """The shard of another process."""
        return replace(self, rank=rank)
