"""One model on the field's six benchmarks: a table beside the published one, and a report for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.atomic import refuse_file, write_text
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.lock import filled
from data_prep.progress import say
from data_prep.protocols import VerificationProtocol, load_protocol, names_any, pairs_within
from data_prep.protocols.benchmarks import BENCHMARKS, find_aligned_sets, find_protocols, set_of
from faceverif.models import Embedder
from faceverif.report.numbers import percent
from faceverif.report.pages import render_page
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.options import VerificationOptions
from faceverif.verification.published import GSC_TABLE_5, SOURCE
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import COMMAND, evaluate, write_result
from faceverif.verification.scoring import PairPhotos

TABLE_NAME = "table.md"
JSON_NAME = "suite.json"
REPORT_NAME = "report.html"
_NOTHING = "-"


@dataclass(frozen=True)
class Planned:
    """A benchmark that can run.

    Attributes:
        protocol: its pairs, or those of them that are there.
        dataset: the aligned set of its photos.
        photos: those of the pairs, in that set.
    """

    protocol: VerificationProtocol
    dataset: AlignedDataset
    photos: PairPhotos


@dataclass(frozen=True)
class SuiteTable:
    """What the six benchmarks found.

    Attributes:
        model: its name.
        results: benchmark -> result, of those that ran.
        missing: benchmark -> why it did not run.
    """

    model: str
    results: Mapping[str, VerificationResult]
    missing: Mapping[str, str]

    def cells(self) -> list[str]:
        """Our row: accuracy and standard error in percent, `*` for a part of a protocol."""
        return [self._cell(benchmark) for benchmark in BENCHMARKS]

    def published(self) -> list[list[str]]:
        """Method and accuracies of the paper's rows."""
        return [[row.method, *(row.percent[name] for name in BENCHMARKS)] for row in GSC_TABLE_5]

    def notes(self) -> list[str]:
        """What stands below the numbers: how they were made, warnings, what is partial or missing."""
        flags = {result.flags for result in self.results.values()}
        notes = [
            f"Ours: mean and standard error over folds, in percent; {', '.join(flags)}; cosine similarity."
        ]
        notes += sorted({warning for result in self.results.values() for warning in result.warnings})
        notes += [
            f"\\* {benchmark} is partial and not comparable: {result.protocol.partial}."
            for benchmark, result in self.results.items()
            if result.protocol.partial
        ]
        notes += [f"{benchmark} was not run: {reason}" for benchmark, reason in self.missing.items()]
        return [*notes, f"Published: {SOURCE}."]

    def markdown(self) -> str:
        """The table and its notes."""
        rows = [
            ["", *BENCHMARKS],
            ["---"] * (1 + len(BENCHMARKS)),
            [self.model, *self.cells()],
            *self.published(),
        ]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes())]) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Everything that the protocols' own result.json say, by benchmark; JSON-able."""
        return {
            "model": self.model,
            "results": {benchmark: result.as_json() for benchmark, result in self.results.items()},
            "missing": dict(self.missing),
            "published": {"source": SOURCE, "percent": {row.method: row.percent for row in GSC_TABLE_5}},
        }

    def _cell(self, benchmark: str) -> str:
        result = self.results.get(benchmark)
        if result is None:
            return _NOTHING
        mark = "\\*" if result.protocol.partial else ""
        return f"{percent(result.accuracy)} ± {percent(result.accuracy_se)}{mark}"


def verify_suite(
    embedder: Embedder,
    suite: Path,
    data: Sequence[Path],
    *,
    out: Path,
    options: VerificationOptions,
) -> SuiteTable:
    """Run the benchmarks that are there; each photo is embedded once, also where two protocols share it.

    Args:
        embedder: the model.
        suite: a folder with protocols anywhere below it.
        data: aligned folders, or folders of such, named after the benchmarks: see `set_of`.
        out: the folder for table.md, suite.json, report.html, and a verification's files for each benchmark.
        options: how each of them is run.

    Raises:
        InputError: no benchmark can run, the photos were aligned for another model, or `out` is a file,
            cannot be written, or is in use.
    """
    refuse_file(out)
    planned, missing = plan_suite(suite, data, allow_partial=options.allow_partial)
    sets = {plan.dataset.root: plan.dataset for plan in planned.values()}
    embedded = {root: EmbeddedPhotos(embedder, dataset, flip=options.flip) for root, dataset in sets.items()}
    results = {}
    with filled(out, command=COMMAND):
        for benchmark, plan in planned.items():
            photos = embedded[plan.dataset.root]
            result = evaluate(photos, plan.protocol, subtract_mean=options.subtract_mean, found=plan.photos)
            write_result(result, out / folder_of(benchmark))
            results[benchmark] = result
            say(f"{benchmark}: {percent(result.accuracy)} +- {percent(result.accuracy_se)} %")
        table = SuiteTable(embedder.name, results, missing)
        _write(table, out)
    return table


def folder_of(benchmark: str) -> str:
    """The folder of a benchmark's own files."""
    return benchmark.lower()


def plan_suite(
    suite: Path, data: Sequence[Path], *, allow_partial: bool
) -> tuple[dict[str, Planned], dict[str, str]]:
    """What runs, and why the rest does not, before the first photo is embedded.

    Raises:
        InputError: nothing runs.
    """
    protocols, aligned = find_protocols(suite), find_aligned_sets(data)
    load_set = cache(AlignedDataset.load)  # two benchmarks may share it
    planned: dict[str, Planned] = {}
    missing: dict[str, str] = {}
    for benchmark in BENCHMARKS:
        folder = set_of(benchmark, aligned)
        if benchmark not in protocols:
            missing[benchmark] = f"no protocol in {suite}."
        elif folder is None:
            missing[benchmark] = f"no aligned set of that name among {', '.join(map(str, aligned))}."
        else:
            try:
                planned[benchmark] = _planned(
                    benchmark, protocols[benchmark], load_set(folder), allow_partial=allow_partial
                )
            except InputError as error:
                missing[benchmark] = str(error)
    if not planned:
        reasons = {benchmark: reason for benchmark, reason in missing.items() if benchmark in protocols}
        raise _nothing_runs(reasons)
    return planned, missing


def _nothing_runs(reasons: Mapping[str, str]) -> InputError:
    """The error of a suite whose protocols, by benchmark, cannot run for these reasons."""
    listed = " ".join(f"{benchmark}: {reason}" for benchmark, reason in reasons.items())
    return InputError(
        "--suite",
        "must hold a benchmark whose aligned photos are there",
        got=listed.removesuffix("."),
        fix="Give its photos; where some are there, --allow-partial gives a number that is not comparable.",
    )


def _planned(benchmark: str, paths: list[Path], dataset: AlignedDataset, *, allow_partial: bool) -> Planned:
    """The one of a benchmark's protocols that names photos of the set; all of them must be there."""
    official = BENCHMARKS[benchmark]
    loaded = [(path, load_protocol(path, allow_partial=allow_partial, official=official)) for path in paths]
    fitting = [(path, protocol) for path, protocol in loaded if names_any(protocol, dataset)]
    if len(fitting) != 1:
        names = ", ".join(str(path) for path, _ in fitting or loaded)
        raise InputError(
            "--suite",
            f"must hold one protocol that names photos of {dataset.root}",
            got=names if fitting else f"none: {names} name others",
            fix="Remove the one not meant." if fitting else "Align the photos that they name.",
        )
    [(_, protocol)] = fitting
    protocol = pairs_within(protocol, dataset) if allow_partial else protocol
    return Planned(protocol, dataset, PairPhotos.of(protocol, dataset))


def _write(table: SuiteTable, out: Path) -> None:
    write_text(out / TABLE_NAME, table.markdown())
    write_text(out / JSON_NAME, json.dumps(table.as_json(), indent=2) + "\n")
    links = {benchmark: f"{folder_of(benchmark)}/{REPORT_NAME}" for benchmark in table.results}
    page = render_page("suite.html.j2", table=table, benchmarks=BENCHMARKS, links=links)
    write_text(out / REPORT_NAME, page)
