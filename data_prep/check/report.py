"""The report of a check, and how much of a data set is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from data_prep.errors import printable_lines
from data_prep.progress import progress
from data_prep.sources.base import some

SAMPLED = 200

Item = TypeVar("Item")


@dataclass
class CheckReport:
    """What was found.

    Attributes:
        path: what was looked over.
        kind: what it is.
        facts: lines that are in order.
        problems: lines that are not.
        named: line of `problems` -> everything that has this problem; the line itself names the first few.
    """

    path: Path
    kind: str
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    named: dict[str, list[str]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing or broken, as far as was looked."""
        return not self.problems

    def text(self) -> str:
        """Some lines for the user."""
        lines = [f"{self.path}: {self.kind}", *(f"  {fact}" for fact in self.facts)]
        lines += [f"  PROBLEM: {problem}" for problem in self.problems]
        return printable_lines([*lines, "whole" if self.whole else "not whole"])

    def count(self, what: str, names: Sequence[str]) -> None:
        """Note a problem that some named things have; nothing where none has it."""
        if names:
            line = f"{len(names):,} {what}: {some(names)}"
            self.problems.append(line)
            self.named[line] = list(names)


def report_looked(looked: int, of: int, broken: int, report: CheckReport) -> None:
    """Note how many pictures were looked at, of how many, and how many of those are broken."""
    rest = "" if looked == of else "; --all looks at every one"
    report.facts.append(f"looked at {looked:,} of {of:,} pictures: {looked - broken:,} can be decoded{rest}")


def sample(items: Sequence[Item], *, every: bool) -> list[Item]:
    """All, or some, evenly spread."""
    if every or len(items) <= SAMPLED:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, SAMPLED).astype(int)]


def in_progress(what: str, items: Sequence[Item]) -> Iterator[Item]:
    """The items, with their progress on the console."""
    with progress(what, total=len(items)) as advance:
        for item in items:
            yield item
            advance(1, "")
