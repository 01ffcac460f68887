"""`faceverif calibrate`: thresholds of any model, from the pairs of any protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.atomic import refuse_folder, write_text
from data_prep.counted import counted
from data_prep.dataset.packed import load_aligned
from data_prep.errors import few, printable_lines
from data_prep.protocols import protocol_on
from faceverif.models import Embedder
from faceverif.report.numbers import percent
from faceverif.verification.calibration import Calibration, calibration_of
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.options import VerificationOptions
from faceverif.verification.roc import chosen_far
from faceverif.verification.runner import evaluate
from faceverif.verification.scoring import PairPhotos


@dataclass(frozen=True)
class WrittenCalibration:
    """Thresholds, and the file that holds them.

    Attributes:
        calibration: the thresholds.
        path: the file.
        unreadable: photos of the pairs that could not be read.
    """

    calibration: Calibration
    path: Path
    unreadable: tuple[str, ...]

    def text(self) -> str:
        """A line per threshold, for a terminal."""
        made_of = self.calibration
        lines = [
            f"{made_of.protocol}: {counted(made_of.impostor_pairs, 'impostor pair')}, "
            f"{counted(made_of.genuine_pairs, 'genuine pair')}"
        ]
        for point in made_of.points:
            low, high = made_of.tar_interval(point)
            lines.append(
                f"  FAR {point.far:<6g} threshold {point.threshold:.4f}  TAR {percent(point.tar)} %, "
                f"95 % interval {percent(low)} to {percent(high)} %"
            )
        lines += [f"warning: {warning}" for warning in made_of.warnings]
        if self.unreadable:
            lines.append(f"not readable: {few(self.unreadable)}")
        return printable_lines([*lines, f"thresholds: {self.path}"])


def calibrate(
    embedder: Embedder,
    data: Path,
    protocol: Path,
    *,
    out: Path,
    options: VerificationOptions,
    fars: Sequence[float] = (),
) -> WrittenCalibration:
    """Set a model's thresholds on a protocol's pairs, and write them.

    Args:
        embedder: the model.
        data: an aligned folder with the photos of the pairs. People whom the model was trained on, or pairs
            on which it will be tested, would make the thresholds too good.
        protocol: a pair file that `protocol_alone` knows.
        out: the file, which is replaced.
        options: how pairs are scored.
        fars: false accept rates beside `TARGET_FARS`.

    Raises:
        InputError: `out` cannot be written, the crops are not the model's, photos are missing, or the
            impostor pairs are too few for any rate, or for one of `fars`.
    """
    refuse_folder(out)
    dataset = load_aligned(data)
    pairs = protocol_on(protocol, dataset, allow_partial=options.allow_partial)
    photos = PairPhotos.of(pairs, dataset)
    for far in fars:  # before anything is embedded
        chosen_far(far, int((pairs.scored & ~pairs.same & photos.readable_pairs).sum()))
    embedded = EmbeddedPhotos(embedder, dataset, flip=options.flip)
    found = calibration_of(evaluate(embedded, pairs, subtract_mean=False, found=photos), fars=fars)
    write_text(out, found.model_dump_json(indent=2) + "\n")
    return WrittenCalibration(found, out, tuple(dataset.photos(photos.rows[photos.no_crop])))
