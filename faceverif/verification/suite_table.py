"""The table of a suite: a model's accuracies beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.dataset.exclusions import exclusions_text
from data_prep.errors import printable_lines
from data_prep.protocols.benchmarks import BENCHMARKS
from faceverif.report.numbers import percent
from faceverif.verification.published import PUBLISHED, PublishedTable
from faceverif.verification.result import VerificationResult

_NOTHING = "-"


@dataclass(frozen=True)
class SuiteTable:
    """What the benchmarks found.

    Attributes:
        model: its name.
        results: title of a benchmark or list -> result, of those that ran.
        missing: title -> why it did not run.
    """

    model: str
    results: Mapping[str, VerificationResult]
    missing: Mapping[str, str]

    @property
    def columns(self) -> list[str]:
        """The field's six benchmarks, and every other list that ran."""
        return [*BENCHMARKS, *(title for title in self.results if title not in BENCHMARKS)]

    def cells(self) -> list[str]:
        """Our row: accuracy and standard error in percent, `*` for a part of a protocol."""
        return [self._cell(title) for title in self.columns]

    def published(self) -> list[tuple[PublishedTable, list[list[str]]]]:
        """Published tables, each with method and accuracies of its rows; none has more than the six."""
        return [
            (
                each,
                [
                    [row.method, *(row.percent.get(title, _NOTHING) for title in self.columns)]
                    for row in each.rows
                ],
            )
            for each in PUBLISHED
        ]

    def notes(self) -> list[str]:
        """What stands below the numbers: how they were made, warnings, what is partial or missing."""
        flags = {result.flags for result in self.results.values()}
        rules = {result.similarity_rule for result in self.results.values()}
        notes = [
            f"Ours: mean and standard error over folds, in percent; {', '.join(flags)}; {', '.join(rules)}."
        ]
        training = {exclusions_text(result.model.exclusions) for result in self.results.values()}
        notes += [f"Ours, training: {text}." for text in sorted(training)]
        warnings = {warning for result in self.results.values() for warning in result.warnings}
        notes += [f"Warning: {warning}." for warning in sorted(warnings)]
        notes += [f"{title}, its list: {result.protocol.reading}." for title, result in self.results.items()]
        notes += [
            f"\\* {title} is partial and not comparable: {result.protocol.partial}."
            for title, result in self.results.items()
            if result.protocol.partial
        ]
        return notes + [f"{title} was not run: {reason}" for title, reason in self.missing.items()]

    def markdown(self) -> str:
        """The table and its notes."""
        rows = [
            ["", *self.columns],
            ["---"] * (1 + len(self.columns)),
            [self.model, *self.cells()],
        ]
        for each, published in self.published():
            rows += [[f"*{each.heading}*", *([""] * len(self.columns))], *published]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        sources = [f"{each.name}: {each.source}." for each in PUBLISHED]
        return printable_lines([*lines, "", *(f"- {note}" for note in [*self.notes(), *sources])]) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Everything that the protocols' own result.json say, by title; JSON-able."""
        return {
            "model": self.model,
            "results": {title: result.as_json() for title, result in self.results.items()},
            "missing": dict(self.missing),
            "published": [
                each._asdict() | {"rows": {row.method: row.percent for row in each.rows}}
                for each in PUBLISHED
            ],
        }

    def _cell(self, title: str) -> str:
        result = self.results.get(title)
        if result is None:
            return _NOTHING
        mark = "\\*" if result.protocol.partial else ""
        return f"{percent(result.accuracy)} ± {percent(result.accuracy_se)}{mark}"
