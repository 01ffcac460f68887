"""One model on many protocols: a table beside the published one, and a report for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data_prep.atomic import files_whole, refuse_file, write_text
from data_prep.json_object import write_json
from data_prep.lock import filled
from data_prep.progress import say
from faceverif.file_names import REPORT_NAME, SUMMARY_NAME
from faceverif.models import Embedder
from faceverif.report.numbers import percent, unbroken
from faceverif.report.pages import write_page
from faceverif.verification.earlier_result import refuse_other_result
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.options import VerificationOptions
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import COMMAND, evaluate, fitted_score, write_result
from faceverif.verification.suite_plan import plan_suite
from faceverif.verification.suite_table import SuiteTable

TABLE_NAME = "table.md"
JSON_NAME = "suite.json"


def verify_suite(
    embedder: Embedder, suite: Path, data: Sequence[Path], *, out: Path, options: VerificationOptions
) -> SuiteTable:
    """Run the protocols that are there; each photo is embedded once, also where two protocols share it.

    Args:
        embedder: the model.
        suite: a folder with protocols anywhere below it.
        data: aligned folders, or folders of such, called as the protocols: see `set_of`.
        out: the folder for table.md, suite.json, report.html, and a verification's files for each protocol.
        options: how each of them is run.

    Raises:
        InputError: no protocol can run, the photos were aligned for another model, or `out` is a file,
            holds another result, cannot be written, or is in use.
    """
    refuse_file(out)
    planned, missing = plan_suite(suite, data, allow_partial=options.allow_partial)
    sets = {plan.dataset.root: plan.dataset for plan in planned.values()}
    embedded = {root: EmbeddedPhotos(embedder, dataset, flip=options.flip) for root, dataset in sets.items()}
    folders = folders_of(planned)
    for title, plan in planned.items():
        refuse_other_result(out / folders[title], embedder, plan.dataset, plan.protocol)
    results: dict[str, VerificationResult] = {}
    with filled(out, command=COMMAND):
        fitted = fitted_score(embedder, options)
        for title, plan in planned.items():
            photos = embedded[plan.dataset.root]
            result = evaluate(
                photos, plan.protocol, subtract_mean=options.subtract_mean, found=plan.photos, fitted=fitted
            )
            if not results:  # a stopped suite would leave the table of an earlier one beside newer results
                for name in (TABLE_NAME, JSON_NAME, REPORT_NAME, SUMMARY_NAME):
                    (out / name).unlink(missing_ok=True)
            write_result(result, out / folders[title])
            results[title] = result
            say(f"{title}: {percent(result.accuracy)} +- {percent(result.accuracy_se)} %")
        table = SuiteTable(embedder.name, results, missing)
        _write(table, out, folders)
    return table


def folders_of(titles: Iterable[str]) -> dict[str, str]:
    """Title -> the name of the folder of its own files, each once on every file system."""
    folders: dict[str, str] = {}
    for title in titles:
        name = re.sub(r"[^\w-]+", "-", title.lower()).strip("-") or "list"
        while name in folders.values():
            name += "-"
        folders[title] = name
    return folders


def _write(table: SuiteTable, out: Path, folders: Mapping[str, str]) -> None:
    links = {title: f"{folders[title]}/{REPORT_NAME}" for title in table.results}
    with files_whole(out) as files:
        write_text(files / TABLE_NAME, unbroken(table.markdown()))
        write_json(files / JSON_NAME, table.as_json())
        write_page(
            files / REPORT_NAME,
            "suite.html.j2",
            kind="Face verification",
            title=f"{table.model} on the field's benchmarks",
            numbers={
                title: {"accuracy": result.accuracy, "accuracy_se": result.accuracy_se}
                for title, result in table.results.items()
            },
            table=table,
            links=links,
        )
