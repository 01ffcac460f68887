"""The metrics by which runs are judged: how each is named and printed, and which direction is better.

The names are those of a run's result. Importing this needs no torch.
"""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """One number that a run is judged by.

    Attributes:
        name: in result.json, and for `metric` and `beside` of an experiment; of faces below a protocol's
            name, as in lfw-view2/accuracy.
        label: at the head of a column, without the unit.
        spelled_out: where there is room for a longer label; empty: the label.
        is_rate: whether it is a fraction in [0, 1], printed in percent.
        lower_is_better: whether the smaller of two numbers is the better one.
    """

    name: str
    label: str
    spelled_out: str = ""
    is_rate: bool = True
    lower_is_better: bool = False

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return self.label + (" in %" if self.is_rate else "")

    @property
    def in_words(self) -> str:
        """The longer label."""
        return self.spelled_out or self.label

    def in_its_unit(self, value: float) -> float:
        """A value in the unit of the heading."""
        return 100 * value if self.is_rate else value

    def text(self, value: float | None, *, sign: str = "") -> str:
        """A value as printed, without the sign for percent; empty for None.

        Args:
            value: a fraction, if the metric is a rate.
            sign: "+" to print that of a positive number, as of a difference.
        """
        return "" if value is None else f"{self.in_its_unit(value):{sign}.{2 if self.is_rate else 4}f}"


IMAGE_METRICS = (
    Metric("error", "error", lower_is_better=True),
    Metric("top5_error", "top-5 error", lower_is_better=True),
    Metric("macro_f1", "macro-F1"),
    Metric("nmi", "NMI", "NMI of classes and clusters"),
    *(Metric(f"recall_at_{k}", f"Recall@{k}") for k in (1, 2, 4, 8)),
    Metric("ece", "ECE", "expected calibration error", lower_is_better=True),
    Metric("nll", "NLL", "negative log-likelihood", is_rate=False, lower_is_better=True),
    # Images whose logits are negative for every class.
    Metric("all_negative", "all negative", "all logits negative", lower_is_better=True),
)
TEN_CROP_METRICS = (
    Metric("ten_crop_error", "10-crop error", "error over ten crops", lower_is_better=True),
    Metric("ten_crop_top5_error", "10-crop top-5 error", "top-5 error over ten crops", lower_is_better=True),
)
FACE_METRICS = (
    Metric("accuracy", "accuracy"),
    Metric("eer", "EER", "equal error rate", lower_is_better=True),
    Metric("auc", "AUC", "area under the ROC"),
)
_METRICS = {metric.name: metric for metric in (*IMAGE_METRICS, *TEN_CROP_METRICS, *FACE_METRICS)}


def metric_named(name: str) -> Metric:
    """The metric of a name; one that is not known here, as in a result of another version, is a plain number.

    Args:
        name: error, or, of faces, with the protocol before it: lfw-view2/accuracy.
    """
    protocol, _, figure = name.rpartition("/")
    metric = _METRICS.get(figure, Metric(figure, figure.replace("_", " "), is_rate=False))
    if not protocol:
        return metric
    label, in_words = (f"{protocol} {text}" for text in (metric.label, metric.in_words))
    return metric._replace(name=name, label=label, spelled_out=in_words)
