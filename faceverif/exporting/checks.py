"""Is an export the model? Cosines of their embeddings, and the accuracy of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol
from faceverif.exporting.request import Precision
from faceverif.models import Embedder
from faceverif.report.numbers import percent
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.runner import evaluate
from faceverif.verification.scoring import normalised

LOWEST_COSINE: dict[Precision, float] = {"float32": 0.9999, "half": 0.999, "int8": 0.9}
MOST_LOST = 0.002  # of the accuracy
_ROUNDING = 1e-9  # of two accuracies: 12 of 6,000 pairs are 0.002, and no more
BATCHES = (1, 7, 64)


@dataclass(frozen=True)
class CosineCheck:
    """How near the export's embeddings are to the model's.

    Attributes:
        crops: how many were compared.
        origin: where they come from, in words.
        mean: of the cosines.
        lowest: of the cosines.
    """

    crops: int
    origin: str
    mean: float
    lowest: float

    def text(self) -> str:
        """One line."""
        sizes = f"{', '.join(map(str, BATCHES[:-1]))} and {BATCHES[-1]}"
        return (
            f"mean {self.mean:.5f}, lowest {self.lowest:.5f}, on {self.crops} crops of {self.origin}, "
            f"in batches of {sizes}"
        )


@dataclass(frozen=True)
class AccuracyCheck:
    """Accuracy of the model and of its export.

    Attributes:
        protocol: its name.
        pairs: how many were scored.
        before: of the model.
        after: of the export.
    """

    protocol: str
    pairs: int
    before: float
    after: float

    def text(self) -> str:
        """One line."""
        return (
            f"{percent(self.before)} % before, {percent(self.after)} % after, on {self.pairs:,} pairs of "
            f"{self.protocol}"
        )


def compare_embeddings(
    model: Embedder, export: Embedder, crops: NDArray[np.uint8], *, origin: str, precision: Precision
) -> CosineCheck:
    """Compare embeddings of the same crops.

    Args:
        model: what was exported.
        export: what came out, loaded from its file.
        crops: (n, crop_px, crop_px, 3) uint8 RGB.
        origin: of the crops, in words.
        precision: of the export; it sets the lowest cosine that is accepted.

    Raises:
        InputError: a cosine is too low.
    """
    wanted = np.concatenate([model.embed(some) for some in _batches(crops, BATCHES[-1:])])
    got = np.concatenate([export.embed(some) for some in _batches(crops, BATCHES)])
    cosines = np.einsum("nd,nd->n", normalised(wanted), normalised(got))
    check = CosineCheck(len(crops), origin, float(cosines.mean()), float(cosines.min()))
    if not check.lowest >= LOWEST_COSINE[precision]:
        raise _refused(
            f"must give embeddings with a cosine of at least {LOWEST_COSINE[precision]} with the model's",
            got=check.text(),
            precision=precision,
        )
    return check


def _batches(crops: NDArray[np.uint8], sizes: tuple[int, ...]) -> list[NDArray[np.uint8]]:
    """One batch of each size, then batches of the last size."""
    ends = np.cumsum(sizes)
    return np.split(crops, [*ends, *range(int(ends[-1]) + sizes[-1], len(crops), sizes[-1])])


def compare_accuracy(
    model: Embedder,
    export: Embedder,
    dataset: AlignedDataset,
    protocol: VerificationProtocol,
    *,
    precision: Precision,
) -> AccuracyCheck:
    """Run a protocol on both, with flipped crops as `faceverif verify` does.

    Raises:
        InputError: the export loses more than 0.2 percentage points; or see `evaluate`.
    """
    before, after = (
        evaluate(EmbeddedPhotos(embedder, dataset, flip=True), protocol, subtract_mean=False)
        for embedder in (model, export)
    )
    check = AccuracyCheck(
        protocol.name, int(protocol.scored.sum()), before=before.accuracy, after=after.accuracy
    )
    if before.accuracy - after.accuracy > MOST_LOST + _ROUNDING:
        raise _refused(
            f"must lose at most {percent(MOST_LOST, digits=1)} points of accuracy",
            got=check.text(),
            precision=precision,
        )
    return check


def _refused(rule: str, *, got: str, precision: Precision) -> InputError:
    fix = {
        "int8": "Calibrate on crops of the kind that it will see, with --data, or use --half.",
        "half": "Leave out --half.",
        "float32": "The file was not kept; please report the model's backbone and the versions.",
    }[precision]
    return InputError("export", rule, got=got, fix=fix)
