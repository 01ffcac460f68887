"""Two training runs side by side: what differs between them, their results and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev
from typing import Any

from data_prep.errors import InputError
from data_prep.json_object import read_json
from faceverif.config.reading import read_yaml
from faceverif.config.section import flat_settings
from faceverif.file_names import CONFIG_NAME, METRICS_NAME, PROVENANCE_NAME, RESULT_NAME
from faceverif.report.curves import panels_of_runs, read_metrics
from faceverif.report.numbers import percent
from faceverif.report.pages import write_page
from faceverif.report.plotting import LineStyle, Panel, house_style, line_styles
from faceverif.report.run_metrics import metric_named
from faceverif.report.run_page import own_files, refuse_no_run
from faceverif.report.svg import draw, page_colour
from faceverif.verification.figures import ScoredPairs, det_panel, roc_panel
from faceverif.verification.files import SCORES_NAME

PAGE_NAME = "report-compare.html"
_ABSENT = "-"
_SCORES = f"verification/*/{SCORES_NAME}"

# The heading of each part of the provenance. The seed is one of the settings.
_PROVENANCE = {
    "data": ("data.",),
    "code": ("git_commit", "versions."),
    "machine": ("machine.",),
    "timing": ("started", "finished", "steps", "hours", "peak_memory_mb", "start_from."),
}
# Figure of a result -> its printed name, and decimals in percent.
_FIGURES = {
    "accuracy": ("accuracy", 2),
    "accuracy_se": ("standard error", 2),
    "eer": ("EER", 2),
    "auc": ("AUC", 3),
}
# Two results are comparable only if these agree.
_SAME_TEST = (
    "protocol_sha256",
    "data_sha256",
    "template_sha256",
    "policy",
    "flip",
    "mean_subtraction",
    "similarity",
    "partial",
)
# What results of earlier versions do not say, because there was no choice.
_WITHOUT_SAYING = {"similarity": "cosine"}


@dataclass(frozen=True)
class Line:
    """A fact of both runs, as text.

    Attributes:
        name: its key path.
        first, second: its value in each run.
        difference: of two numbers, the second less the first.
    """

    name: str
    first: str
    second: str
    difference: str = ""


@dataclass(frozen=True)
class TwoRuns:
    """What differs between two runs, and the results of both.

    Attributes:
        first, second: their names.
        differing: heading -> lines that differ; empty if none does.
        results: all measured lines, including equal ones.
    """

    first: str
    second: str
    differing: Mapping[str, list[Line]]
    results: list[Line]

    def text(self) -> str:
        """Tables for a terminal."""
        tables = {f"{name} that differ": lines for name, lines in self.differing.items() if lines}
        equal = [name for name, lines in self.differing.items() if not lines]
        parts = [self._table(name, lines) for name, lines in (tables | {"results": self.results}).items()]
        return "\n\n".join([*parts, f"equal: {', '.join(equal)}"] if equal else parts)

    def _table(self, title: str, lines: list[Line]) -> str:
        heading = "difference" if any(line.difference for line in lines) else ""
        rows = [Line(title, self.first, self.second, heading), *lines]
        columns = ("name", "first", "second")
        name, first, second = (max(len(getattr(row, column)) for row in rows) for column in columns)
        texts = (
            f"{row.name:{name}}  {row.first:{first}}  {row.second:{second}}  {row.difference}" for row in rows
        )
        return "\n".join(text.rstrip() for text in texts)


def compare_runs(first: Path, second: Path) -> TwoRuns:
    """What differs between two training runs. An unfinished run has fewer facts.

    Args:
        first, second: their folders.

    Raises:
        InputError: one of them is not a run, or has damaged files.
    """
    for run in (first, second):
        refuse_no_run(run)
    with own_files(first), own_files(second):
        return _compared(first, second)


def _compared(first: Path, second: Path) -> TwoRuns:
    runs = (first, second)
    settings = [flat_settings(read_yaml(run / CONFIG_NAME)) for run in runs]
    provenance = [flat_settings(read_json(run / PROVENANCE_NAME)) for run in runs]
    _refuse_two_kinds(runs, settings)
    differing = {"settings": list(_differing(*settings))}
    for heading, openings in _PROVENANCE.items():
        chosen = [_beginning(facts, openings) for facts in provenance]
        differing[heading] = list(_differing(*chosen))
    return TwoRuns(str(first), str(second), differing, list(_results(first, second)))


def _refuse_two_kinds(runs: tuple[Path, Path], settings: list[dict[str, Any]]) -> None:
    """The config of an image classifier names a network, that of a face run a backbone."""
    images = [any(key.startswith("network.") for key in one) for one in settings]
    if images[0] != images[1]:
        raise InputError(
            "OTHER",
            "must be a run of the same kind: of `faceverif train`, or of `faceverif classify`",
            got=" and ".join(map(str, runs)),
            fix="Compare two face runs, or two image classifiers.",
        )


def write_page_of_two(two: TwoRuns, out: Path) -> Path:
    """Write the page of two runs into a folder; their curves are read from their files."""
    runs = _named(Path(two.first), Path(two.second))
    styles = line_styles(runs)
    with own_files(Path(two.first)), own_files(Path(two.second)), house_style():
        curves = draw(_curves(runs, styles))
        rocs = {name: draw(panels) for name, panels in _verified_panels(runs, styles)}
    return write_page(
        out / PAGE_NAME,
        "two_runs.html.j2",
        kind="Two training runs",
        title=" and ".join(runs),
        numbers={line.name: [line.first, line.second] for line in two.results},
        two=two,
        names=list(runs),
        colours=[page_colour(style["color"]) for style in styles.values()],
        curves=curves,
        rocs=rocs,
    )


def _named(first: Path, second: Path) -> dict[str, Path]:
    """The runs by the names of their folders, or by their paths where the names are one."""
    if first.name != second.name:
        return {first.name: first, second.name: second}
    return {str(first): first, str(second) if second != first else f"{second} again": second}


def _curves(runs: Mapping[str, Path], styles: Mapping[str, LineStyle]) -> list[Panel]:
    metrics = {name: read_metrics(run / METRICS_NAME) for name, run in runs.items()}
    columns = dict.fromkeys(column for table in metrics.values() for column in table)
    titles = {
        "loss": "Loss",
        "accuracy": "Accuracy in training",
        "evaluation_error": "Error on evaluation images",
        "robust_accuracy": "Accuracy under an attack of ten steps",
        "learning_rate": "Learning rate",
    }
    verified = {
        column: f"Accuracy on {column.removesuffix('/accuracy')}"
        for column in columns
        if column.endswith("/accuracy")
    }
    shown = {column: title for column, title in (titles | verified).items() if column in columns}
    return panels_of_runs(metrics, shown, over="step" if "step" in columns else "epoch", styles=styles)


def _verified_panels(
    runs: Mapping[str, Path], styles: Mapping[str, LineStyle]
) -> Iterator[tuple[str, list[Panel]]]:
    """ROC and DET of each protocol that both have been verified on."""
    first, second = ({path.parent.name for path in run.glob(_SCORES)} for run in runs.values())
    for protocol in sorted(first & second):
        folders = {name: run / "verification" / protocol for name, run in runs.items()}
        rocs = {name: ScoredPairs.read(folder).roc() for name, folder in folders.items()}
        yield protocol, [roc_panel(rocs, styles=styles), det_panel(rocs, styles=styles)]


def _beginning(facts: Mapping[str, Any], openings: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key.startswith(openings)}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Line]:
    for key in dict.fromkeys((*first, *second)):
        if key not in first or key not in second or first[key] != second[key]:
            yield Line(key, _text(first.get(key, _ABSENT)), _text(second.get(key, _ABSENT)))


def _results(first: Path, second: Path) -> Iterator[Line]:
    """The end of the log, then every verification of either run, or what classifiers were judged by."""
    yield from _training_lines(first, second)
    results = [_verifications(run) for run in (first, second)]
    for name in sorted({*results[0], *results[1]}):
        yield from _verification_lines(name, *(result.get(name, {}) for result in results))
    yield from _classifier_lines(first, second)


def _training_lines(first: Path, second: Path) -> Iterator[Line]:
    """The last figures of the logs."""
    last = [_last_figures(run) for run in (first, second)]
    counted = "step" if any("step" in figures for figures in last) else "epoch"
    for name in (counted, "loss", "accuracy", "robust_accuracy"):
        one, other = (figures.get(name) for figures in last)
        if one is None and other is None:
            continue
        less = "" if one is None or other is None else f"{other - one:+.4g}"
        texts = [_ABSENT if value is None else _text(value) for value in (one, other)]
        yield Line(f"training {name.replace('_', ' ')}", texts[0], texts[1], less)


def _verification_lines(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Line]:
    both = bool(first and second)
    tests = [
        {fact: each.get(fact, _WITHOUT_SAYING.get(fact)) for fact in _SAME_TEST} for each in (first, second)
    ]
    unlike = [fact for fact in _SAME_TEST if both and tests[0][fact] != tests[1][fact]]
    for figure, (printed, digits) in _FIGURES.items():
        one, other = first.get(figure), second.get(figure)
        less = ""
        if one is not None and other is not None and not unlike:
            less = f"{100 * (other - one):+.{digits}f} %"
            if figure == "accuracy":
                less += _paired_error(first, second)
        yield Line(f"{name} {printed}", _percent(one, digits), _percent(other, digits), less)
    for fact in unlike:
        yield Line(f"{name} NOT COMPARABLE: {fact}", _text(tests[0][fact]), _text(tests[1][fact]))


def _classifier_lines(first: Path, second: Path) -> Iterator[Line]:
    """Figures of two image classifiers; other images make them incomparable."""
    results = [read_json(run / RESULT_NAME) for run in (first, second)]
    one, other = (_numbers(result.get("metrics", {})) for result in results)
    tests = [_test_of(run, result) for run, result in zip((first, second), results, strict=True)]
    unlike = [fact for fact in tests[0] if one and other and tests[0][fact] != tests[1][fact]]
    for name in dict.fromkeys((*one, *other)):
        texts = [_classified(name, figures.get(name)) for figures in (one, other)]
        both = name in one and name in other and not unlike
        less = _classified(name, other[name] - one[name], signed=True) if both else ""
        yield Line(name.replace("_", " "), texts[0], texts[1], less)
    for fact in unlike:
        yield Line(f"NOT COMPARABLE: {fact}", _text(tests[0][fact]), _text(tests[1][fact]))


def _test_of(run: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Which images a classifier was judged on. The hash covers the training images too."""
    data = read_json(run / PROVENANCE_NAME).get("data", {})
    facts = {f"data.{key}": data.get(key) for key in ("name", "classes")}
    facts |= {key: result.get(key) for key in ("evaluated_on", "images")}
    return facts | {"data.sha256": data.get("sha256") if result.get("evaluated_on") == "held_out" else None}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}


def _classified(name: str, value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return _ABSENT
    metric = metric_named(name)
    return metric.text(value, sign="+" if signed else "") + (" %" if metric.is_rate else "")


def _paired_error(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Standard error over the folds of the difference between two accuracies, in words; of one fold none."""
    one, other = (
        {each["fold"]: each["accuracy"] for each in facts.get("folds", ())} for facts in (first, second)
    )
    if len(one) < 2 or one.keys() != other.keys():
        return ""
    spread = stdev(other[fold] - one[fold] for fold in one) / math.sqrt(len(one))
    return f" ± {percent(spread)} over {len(one)} folds"


def _last_figures(run: Path) -> dict[str, float]:
    """The last number of each column of the log."""
    columns = read_metrics(run / METRICS_NAME)
    numbers = {name: [value for value in column if not math.isnan(value)] for name, column in columns.items()}
    return {name: float(values[-1]) for name, values in numbers.items() if values}


def _verifications(run: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: read_json(path) for path in run.glob(f"verification/*/{RESULT_NAME}")}


def _percent(rate: float | None, digits: int) -> str:
    return _ABSENT if rate is None else f"{percent(rate, digits=digits)} %"


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
