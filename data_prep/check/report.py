"""The report of a check, and how much of a data set is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.counted import counted
from data_prep.errors import printable_lines
from data_prep.sources.base import some


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

    def count(self, noun: str, trouble: str, names: Sequence[str]) -> None:
        """Note a problem that some named things have; nothing where none has it.

        Args:
            noun: what has it, in the singular.
            trouble: the problem, without a verb whose form would follow the number.
            names: of what has it.
        """
        if names:
            line = f"{counted(len(names), noun)} {trouble}: {some(names)}"
            self.problems.append(line)
            self.named[line] = list(names)


def report_looked(looked: int, of: int, broken: int, report: CheckReport) -> None:
    """Note how many pictures were looked at, of how many, and how many of those are broken."""
    rest = "" if looked == of else "; --all looks at every one"
    report.facts.append(
        f"looked at {looked:,} of {counted(of, 'picture')}: {looked - broken:,} can be decoded{rest}"
    )
