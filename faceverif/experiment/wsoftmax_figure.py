"""What W-Softmax's Fig. 4 adds to a table whose cases are widths of the embedding (Li & Wang, 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from faceverif.classification.config import ClassificationConfig
from faceverif.classification.outputs import run_outputs
from faceverif.experiment.figures import series_panel
from faceverif.experiment.task import FinishedRun, PageFigure
from faceverif.models.location import MODEL_NAME
from faceverif.report.curves import Line
from faceverif.report.plotting import LineStyle

_WIDTH = "embedding_dim"


def smallest_width(setting: str, run: FinishedRun) -> tuple[float, str] | None:
    """The smallest number of units that can hold the classes at equal angles, classes - 1, and its label.

    Args:
        setting: by which the cases differ; None for another one than the width.
        run: of an image classifier; None for another one.
    """
    if setting != _WIDTH or not isinstance(run.config, ClassificationConfig):
        return None
    units = len(run.result.metrics["mean_angle_deg"]) - 1
    return units, f"classes - 1 = {units}"


def memory_over_widths(
    key: str, widths: Mapping[str, float], finished: Sequence[FinishedRun], styles: Mapping[str, LineStyle]
) -> Iterator[PageFigure]:
    """The memory of the fully connected layers and the class weights, in float32 (Fig. 4 d).

    Args:
        key: path of the setting by which the cases differ; nothing is drawn if it is not the width.
        widths: of each case.
        finished: runs of image classifiers; others, and those without their model, are left out.
        styles: name of a method -> how it is drawn.
    """
    setting = key.rpartition(".")[2]
    by_method: dict[str, dict[float, float]] = {}
    for run in finished if setting == _WIDTH else ():
        if (run.folder / MODEL_NAME).is_file():
            mebibytes = 4 * run_outputs(run.folder).dense_parameters / 2**20
            by_method.setdefault(run.method, {})[widths[run.case or ""]] = mebibytes
    if not by_method:
        return
    lines = [
        Line(name, sorted(memory), [memory[width] for width in sorted(memory)], styles[name], marker="o")
        for name, memory in by_method.items()
    ]
    panel = series_panel(lines, setting=setting.replace("_", " "), value="Fully connected layers in MiB")
    note = "Parameters of the fully connected layers and the class weights, in float32."
    yield PageFigure("memory", f"Memory over {key}", note, [panel])
