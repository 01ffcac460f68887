"""How a check looks at pictures: at how many, and where that work runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from data_prep.progress import progress
from data_prep.work.here import ThisProcess
from data_prep.work.job import Engine, Job

_SAMPLED = 200
_PER_SHARD = 64

Item = TypeVar("Item")


class Broken(NamedTuple):
    """A picture that is not as it should be.

    Attributes:
        item: the photo's key, or the manifest row.
        reason: why, in one word.
    """

    item: Any
    reason: str


@dataclass(frozen=True)
class Look:
    """How a check looks.

    Attributes:
        every: at every picture, not at a sample.
        engine: where that work runs.
    """

    every: bool = False
    engine: Engine = field(default_factory=ThisProcess)

    def sample(self, items: Sequence[Item]) -> list[Item]:
        """All, or some, evenly spread."""
        if self.every or len(items) <= _SAMPLED:
            return list(items)
        return [items[place] for place in np.linspace(0, len(items) - 1, _SAMPLED).astype(int)]

    def broken(
        self, what: str, items: Sequence[Item], job: Job[list[Item], tuple[int, list[Broken]]]
    ) -> list[Broken]:
        """What is broken among some pictures, sorted.

        Args:
            what: is done with them, for the progress.
            items: the pictures.
            job: takes some of them, says how many these were and what is broken.
        """
        if not items:
            return []
        shards = [list(items[start : start + _PER_SHARD]) for start in range(0, len(items), _PER_SHARD)]
        found: list[Broken] = []
        with (
            self.engine.workers(job, shards=len(shards)) as work,
            progress(what, total=len(items)) as advance,
        ):
            for count, broken in work(shards):
                found += broken
                advance(count, "")
        return sorted(found)
