"""Face models, as `faceverif train` trains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from data_prep.json_object import read_json
from faceverif.config.reading import read_yaml
from faceverif.config.run import RunConfig
from faceverif.experiment.task import FinishedRun, PageFigure, RunResult, Task
from faceverif.file_names import CONFIG_NAME, METRICS_NAME, PROVENANCE_NAME, RESULT_NAME
from faceverif.report.curves import TRAINING_TITLES, panels_of_runs, read_metrics
from faceverif.report.plotting import LineStyle
from faceverif.report.run_metrics import FACE_METRICS
from faceverif.training.loop import train
from faceverif.verification.figures import ScoredPairs, det_panel, roc_panel


class FaceTask(Task[RunConfig]):
    """Runs of `faceverif train`, judged by the protocols that their configs name: lfw-view2/accuracy."""

    def train(self, config: RunConfig, run: Path) -> None:
        """Train, and verify last."""
        train(config, run)

    def result(self, run: Path) -> RunResult | None:
        """What its verifications found; they are the last that a run writes."""
        provenance = read_json(run / PROVENANCE_NAME)
        if "hours" not in provenance:
            return None
        found = {name: read_json(_verification(run, name) / RESULT_NAME) for name in _protocols(run)}
        if not all(found.values()):
            return None
        figures = [metric.name for metric in FACE_METRICS]
        metrics = {f"{name}/{figure}": found[name][figure] for name in found for figure in figures}
        evaluated_on = "; ".join(f"{name}, {result['pairs']:,} pairs" for name, result in found.items())
        photos = provenance["data"]
        data = [photos["manifest_sha256"], (photos["exclusions"] or {}).get("sha256", "")]
        data += [found[name][key] for name in found for key in ("data_sha256", "protocol_sha256")]
        return RunResult(metrics, provenance["hours"], evaluated_on, tuple(data))

    def pictures(
        self, runs: Mapping[str, FinishedRun], styles: Mapping[str, LineStyle]
    ) -> Iterator[PageFigure]:
        """Curves, and the ROC of each protocol."""
        curves = {name: read_metrics(run.folder / METRICS_NAME) for name, run in runs.items()}
        protocols = _protocols(next(iter(runs.values())).folder)
        first = protocols[0]
        titles = TRAINING_TITLES | {f"{first}/accuracy": f"Accuracy on {first}"}
        yield PageFigure(
            "curves", "Training", "", panels_of_runs(curves, titles, over="epoch", styles=styles)
        )
        for protocol in protocols:
            folders = {name: _verification(run.folder, protocol) for name, run in runs.items()}
            rocs = {name: ScoredPairs.read(folder).roc() for name, folder in folders.items()}
            panels = [roc_panel(rocs, styles=styles), det_panel(rocs, styles=styles)]
            yield PageFigure(f"on-{protocol}", f"ROC on {protocol}", "All pairs pooled.", panels)


def _protocols(run: Path) -> list[str]:
    return [entry["name"] for entry in read_yaml(run / CONFIG_NAME).get("verification", ())]


def _verification(run: Path, name: str) -> Path:
    return run / "verification" / name
