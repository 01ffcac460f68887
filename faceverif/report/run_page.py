"""The pages of a verification and of a run, made from the files in their folders, with embedded pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import TemplateError

from data_prep.errors import DAMAGE, InputError, first_line
from data_prep.json_object import read_json
from data_prep.system_errors import is_refused
from faceverif.file_names import (
    CONFIG_NAME,
    FIGURES_NAME,
    METRICS_NAME,
    PROVENANCE_NAME,
    REPORT_NAME,
    RESULT_NAME,
)
from faceverif.report.curves import CURVE_NOTE, read_metrics, run_panels
from faceverif.report.pages import flat_text, write_page
from faceverif.report.plotting import house_style
from faceverif.report.svg import Drawing, draw, save_panels
from faceverif.verification.calibration import CALIBRATION_NAME
from faceverif.verification.figures import ScoredPairs, verification_panels
from faceverif.verification.files import PAIRS_NAME, SCORES_NAME
from faceverif.verification.groups.figure import group_panels
from faceverif.verification.quality.figure import discard_panel

_MAIN_NUMBERS = ("accuracy", "accuracy_se", "eer", "auc", "tar_at_far")
_MIME = {".png": "image/png", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class ShownPair:
    """A pair as the pages show it.

    Attributes:
        left, right: keys of its photos.
        score: their similarity.
        fallback: whether a photo has no face.
        source: both crops side by side, as a data URI.
    """

    left: str
    right: str
    score: float
    fallback: bool
    source: str


@dataclass(frozen=True)
class ShownGroups:
    """Error rates of groups as the page shows them.

    Attributes:
        facts: of one column in `result.json`.
        figures: both rates.
    """

    facts: Mapping[str, Any]
    figures: list[Drawing]


@dataclass(frozen=True)
class ShownVerification:
    """A verification as the pages show it.

    Attributes:
        title: the folder's name.
        facts: `result.json`.
        figures: ROC, DET and scores.
        genuine: the hardest genuine pairs, hardest first.
        impostor: the hardest impostor pairs, hardest first.
        groups: error rates by each column that was asked for.
        discard: the figure of errors over discarded pairs; none where it was not asked for.
    """

    title: str
    facts: Mapping[str, Any]
    figures: list[Drawing]
    genuine: list[ShownPair]
    impostor: list[ShownPair]
    groups: list[ShownGroups]
    discard: list[Drawing]

    @property
    def numbers(self) -> dict[str, Any]:
        """Its main results, for the summary of a page."""
        numbers = {name: self.facts[name] for name in _MAIN_NUMBERS}
        if self.groups:
            numbers["groups"] = {each.facts["column"]: each.facts["largest_ratio"] for each in self.groups}
        if self.discard:
            measures = self.facts["discard"]["measures"]
            numbers["discard_area"] = {each["measure"]: each["area"] for each in measures}
        return numbers

    @classmethod
    def read(cls, folder: Path) -> ShownVerification:
        """The results in a folder that `faceverif verify` wrote."""
        pairs, facts = _read_pairs(folder), read_json(folder / RESULT_NAME)
        return cls(
            title=folder.name,
            facts=facts,
            figures=_figures(folder),
            genuine=sorted(pairs[True], key=lambda pair: pair.score),
            impostor=sorted(pairs[False], key=lambda pair: -pair.score),
            groups=[_shown_groups(each) for each in facts.get("groups", [])],
            discard=_discard_figure(facts.get("discard")),
        )


def write_verification_report(folder: Path) -> Path:
    """Write figures and page of a folder that holds `result.json`, `scores.parquet` and pictures of pairs."""
    with house_style():
        save_panels(verification_panels(ScoredPairs.read(folder)), folder / FIGURES_NAME)
    shown = ShownVerification.read(folder)
    return write_page(
        folder / REPORT_NAME,
        "verification.html.j2",
        kind="Face verification",
        title=shown.facts["protocol"] + (" (partial)" if shown.facts.get("partial") else ""),
        numbers=shown.numbers,
        verification=shown,
    )


def write_run_report(run: Path) -> Path:
    """Write the page of a training run: results, curves, configuration, provenance.

    An unfinished run gets a page of what exists.

    Raises:
        InputError: the folder holds no run, or its files are damaged.
    """
    with own_files(run):
        return write_page_of_run(
            run, run / REPORT_NAME, "run.html.j2", kind="Training run", title=run.resolve().name
        )


def write_page_of_run(run: Path, page: Path, template: str, *, kind: str, title: str, **more: Any) -> Path:
    """Write a page with the results of a training run.

    Args:
        run: its folder.
        page: the file.
        template: run.html.j2, or a template that extends it.
        kind, title: of the page.
        more: further values for that template.

    Raises:
        InputError: the folder holds no run.
    """
    refuse_no_run(run)
    weights = _weights_sha256(run)
    folders = [path.parent for path in sorted(run.glob(f"verification/*/{RESULT_NAME}"))]
    found = [ShownVerification.read(folder) for folder in folders]
    verifications = [shown for shown in found if _is_of(weights, shown.facts)]
    earlier = [shown.title for shown in found if not _is_of(weights, shown.facts)]
    calibration = read_json(run / CALIBRATION_NAME)
    if not _is_of(weights, calibration):
        calibration = {}
        earlier.append("the calibrated thresholds")
    return write_page(
        page,
        template,
        kind=kind,
        title=title,
        numbers={shown.title: shown.numbers for shown in verifications},
        config=(run / CONFIG_NAME).read_text(encoding="utf-8"),
        curves=_curves(run / METRICS_NAME),
        curve_note=CURVE_NOTE,
        verifications=verifications,
        provenance=flat_text(read_json(run / PROVENANCE_NAME)),
        calibration=calibration,
        earlier=earlier,
        **more,
    )


def _weights_sha256(run: Path) -> str | None:
    """Hash of the run's model as results name it; None before there is one."""
    from faceverif.models.location import MODEL_NAME
    from faceverif.models.model_file import stored_sha256  # brings torch

    path = run / MODEL_NAME
    return stored_sha256(path, field="RUN") if path.is_file() else None


def _is_of(weights: str | None, facts: Mapping[str, Any]) -> bool:
    """Whether results are of these weights: the training may have gone on since they were measured."""
    return weights is None or facts.get("model_sha256") in (None, weights)


@contextmanager
def own_files(run: Path) -> Iterator[None]:
    """Turn what damaged files of a run raise while they are read into one clear error.

    Raises:
        InputError: see above; one that says more passes.
    """
    try:
        yield
    except InputError:
        raise
    except (TemplateError, pa.ArrowException, OSError, *DAMAGE) as error:
        if is_refused(error):  # missing rights, which the command line tells
            raise
        raise InputError(
            "RUN",
            "must hold result files as they were written",
            got=f"{run} ({type(error).__name__}: {first_line(error)})",
            fix="Copy the folder again, or write its files again: `faceverif verify` writes those of a "
            "verification, `faceverif train` or `classify` with --resume the others.",
        ) from error


def refuse_no_run(run: Path) -> None:
    """A training run's folder holds its config, and model files as they were written.

    Raises:
        InputError: it does not.
    """
    if not (run / CONFIG_NAME).is_file():
        raise InputError(
            "RUN",
            "must be the folder of a training run, with a config.yaml",
            got=run,
            fix="Name a folder that `faceverif train` or `faceverif classify` filled.",
        )
    from faceverif.models.sealed_tensors import refuse_damaged_models  # brings torch

    refuse_damaged_models(run)


def _figures(folder: Path) -> list[Drawing]:
    """The drawings of a verification; earlier versions stored none, or a ROC without its points."""
    stored = [folder / FIGURES_NAME / f"{name}.svg" for name in ("roc", "det", "scores")]
    if all(path.is_file() for path in stored):
        drawings = [Drawing.of(path.read_text(encoding="utf-8")) for path in stored]
        if drawings[0].points:
            return drawings
    with house_style():
        return draw(verification_panels(ScoredPairs.read(folder)))


def _shown_groups(facts: Mapping[str, Any]) -> ShownGroups:
    with house_style():
        return ShownGroups(facts, draw(group_panels(facts)))


def _discard_figure(facts: Mapping[str, Any] | None) -> list[Drawing]:
    with house_style():
        return [] if facts is None else draw([discard_panel(facts)])


def _curves(path: Path) -> list[Drawing]:
    metrics = read_metrics(path)
    if not metrics:
        return []
    with house_style():
        return draw(run_panels(metrics))


def _read_pairs(folder: Path) -> dict[bool, list[ShownPair]]:
    """The pairs with a picture, by whether they are genuine. A picture's name is its row in the scores."""
    table = pq.read_table(folder / SCORES_NAME)
    pairs: dict[bool, list[ShownPair]] = {True: [], False: []}
    for picture in (folder / FIGURES_NAME / PAIRS_NAME).glob("*.jpg"):
        row = table.slice(int(picture.stem), 1).to_pylist()[0]
        pairs[row["same"]].append(
            ShownPair(row["left"], row["right"], row["score"], row["fallback"], picture_uri(picture))
        )
    return pairs


def picture_uri(path: Path) -> str:
    """A picture file as a data URI, so that a page is one file."""
    return f"data:{_MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
