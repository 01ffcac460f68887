"""Face models, as `faceverif train` trains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from data_prep.json_object import read_json
from faceverif.config.reading import read_yaml
from faceverif.config.run import RunConfig
from faceverif.experiment.figures import training_curves_figure
from faceverif.experiment.kinds import FACE_FIGURES
from faceverif.experiment.task import FinishedRun, PageFigure, RunResult, Task
from faceverif.report.curves import read_metrics
from faceverif.report.plotting import LineStyle
from faceverif.training.loop import train
from faceverif.verification.figures import roc_curves_figure
from faceverif.verification.metrics import Roc, roc_curve
from faceverif.verification.result import RESULT_NAME, SCORES_NAME


class FaceTask(Task[RunConfig]):
    """Runs of `faceverif train`, judged by the protocols that their configs name: lfw-view2/accuracy."""

    config_type = RunConfig

    def train(self, config: RunConfig, run: Path) -> None:
        """Train, and verify last."""
        train(config, run)

    def result(self, run: Path) -> RunResult | None:
        """What its verifications found; they are the last that a run writes."""
        provenance = read_json(run / "provenance.json")
        if "hours" not in provenance:
            return None
        found = {name: read_json(_verification(run, name) / RESULT_NAME) for name in _protocols(run)}
        if not all(found.values()):
            return None
        metrics = {f"{name}/{figure}": found[name][figure] for name in found for figure in FACE_FIGURES}
        evaluated_on = "; ".join(f"{name}, {result['pairs']:,} pairs" for name, result in found.items())
        photos = provenance["data"]
        data = [photos["manifest_sha256"], (photos["exclusions"] or {}).get("sha256", "")]
        data += [found[name][key] for name in found for key in ("data_sha256", "protocol_sha256")]
        return RunResult(metrics, provenance["hours"], evaluated_on, tuple(data))

    def pictures(
        self, runs: Mapping[str, FinishedRun], styles: Mapping[str, LineStyle]
    ) -> Iterator[PageFigure]:
        """Curves, and the ROC of each protocol."""
        curves = {name: read_metrics(run.folder / "metrics.csv") for name, run in runs.items()}
        protocols = _protocols(next(iter(runs.values())).folder)
        first = protocols[0]
        figure = training_curves_figure(
            curves, judged=f"{first}/accuracy", title=f"Accuracy on {first}", styles=styles
        )
        yield PageFigure("curves", "Training", "", figure)
        for protocol in protocols:
            rocs = {name: _roc(_verification(run.folder, protocol)) for name, run in runs.items()}
            figure = roc_curves_figure(rocs, styles=styles)
            yield PageFigure(f"roc-{protocol}", f"ROC on {protocol}", "All pairs pooled.", figure)


def _protocols(run: Path) -> list[str]:
    return [entry["name"] for entry in read_yaml(run / "config.yaml").get("verification", ())]


def _verification(run: Path, name: str) -> Path:
    return run / "verification" / name


def _roc(verification: Path) -> Roc:
    """The curve of the scored pairs, as in the run's own report."""
    table = pq.read_table(verification / SCORES_NAME, columns=["score", "same", "scored"])
    score, same, scored = (table[name].to_numpy() for name in table.column_names)
    return roc_curve(score[scored], same[scored])
