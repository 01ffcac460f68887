"""Image classifiers, as `faceverif classify` trains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from data_prep.json_object import read_json
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.figures import (
    angles_panels,
    likelihood_panels,
    reliability_panels,
    scatter_panels,
)
from faceverif.classification.outputs import RunOutputs, likelihood_map, run_outputs
from faceverif.classification.training import train_classifier
from faceverif.experiment.task import FinishedRun, PageFigure, RunResult, Task
from faceverif.file_names import METRICS_NAME, PROVENANCE_NAME, RESULT_NAME
from faceverif.models.location import MODEL_NAME
from faceverif.report.curves import TRAINING_TITLES, panels_of_runs, read_metrics
from faceverif.report.plotting import LineStyle

_ACCURACY = "evaluation_accuracy"


class ImageTask(Task[ClassificationConfig]):
    """Runs of `faceverif classify`, judged on their evaluation images."""

    def train(self, config: ClassificationConfig, run: Path) -> None:
        """Train, evaluate, and write result.json last."""
        train_classifier(config, run)

    def result(self, run: Path) -> RunResult | None:
        """What is in its result.json."""
        result = read_json(run / RESULT_NAME)
        if not result:
            return None
        evaluated_on = f"{result['evaluated_on']}, {result['images']:,} images"
        data = read_json(run / PROVENANCE_NAME).get("data", {}).get("sha256", "")
        return RunResult(result["metrics"], result["hours"], evaluated_on, (data,))

    def pictures(
        self, runs: Mapping[str, FinishedRun], styles: Mapping[str, LineStyle]
    ) -> Iterator[PageFigure]:
        """Embeddings and likelihood of those in the plane, curves, reliability, angles."""
        # The table needs no model: where one was removed there is nothing to draw.
        runs = {name: run for name, run in runs.items() if (run.folder / MODEL_NAME).is_file()}
        if not runs:
            return
        outputs = {name: run_outputs(run.folder) for name, run in runs.items()}
        yield from _embeddings(outputs)
        yield from _likelihood(runs, outputs)
        yield _curves(runs, styles)
        yield _reliability(runs, outputs, styles)
        yield from _angles(runs, outputs, styles)


def _embeddings(outputs: Mapping[str, RunOutputs]) -> Iterator[PageFigure]:
    """Evaluation images, and training images, which L-GM's Fig. 1 and GSC's Fig. 2 show."""
    note = "Evaluation images: one colour and one number per class."
    panels = scatter_panels({name: each.evaluated for name, each in outputs.items()})
    yield PageFigure("embeddings", "Embeddings", note, panels)
    note = "At most 10,000 training images, not augmented, on the same axes."
    panels = scatter_panels({name: each.trained for name, each in outputs.items()})
    yield PageFigure("training-embeddings", "Embeddings of training images", note, panels)


def _likelihood(runs: Mapping[str, FinishedRun], outputs: Mapping[str, RunOutputs]) -> Iterator[PageFigure]:
    """Of L-GM in the plane."""
    heat = {
        name: (each.evaluated, likelihood_map(runs[name].folder, each.evaluated.embeddings))
        for name, each in outputs.items()
        if each.evaluated.in_the_plane and runs[name].config.head.name == "lgm"
    }
    if heat:
        note = "What L-GM has learned: bright is likely; dots are evaluation images."
        yield PageFigure("likelihood", "Likelihood", note, likelihood_panels(heat))


def _curves(runs: Mapping[str, FinishedRun], styles: Mapping[str, LineStyle]) -> PageFigure:
    curves = {name: read_metrics(run.folder / METRICS_NAME) for name, run in runs.items()}
    for columns in filter(None, curves.values()):
        columns[_ACCURACY] = 1 - columns["evaluation_error"]
    titles = TRAINING_TITLES | {_ACCURACY: "Accuracy on evaluation images"}
    return PageFigure("curves", "Training", "", panels_of_runs(curves, titles, over="epoch", styles=styles))


def _reliability(
    runs: Mapping[str, FinishedRun], outputs: Mapping[str, RunOutputs], styles: Mapping[str, LineStyle]
) -> PageFigure:
    errors = {name: run.result.metrics["ece"] for name, run in runs.items()}
    note = "Bars: accuracy of images of like confidence. Lines: their mean confidence; ideally both agree."
    panels = reliability_panels(outputs, ece=errors, styles=styles)
    return PageFigure("reliability", "Reliability", note, panels)


def _angles(
    runs: Mapping[str, FinishedRun], outputs: Mapping[str, RunOutputs], styles: Mapping[str, LineStyle]
) -> Iterator[PageFigure]:
    """The means of L-GM are places: an angle to them says little of a class."""
    angled = [name for name, run in runs.items() if run.config.head.name != "lgm"]
    if angled:
        note = (
            "Mean angle of an image's embedding to its class weight; a smaller one is a tighter class. "
            "Of the training images at most 10,000, not augmented."
        )
        sets = {
            "training images": {name: outputs[name].training_angles.tolist() for name in angled},
            "evaluation images": {name: runs[name].result.metrics["mean_angle_deg"] for name in angled},
        }
        yield PageFigure("angles", "Angles", note, angles_panels(sets, styles=styles))
