"""Checks aligned crops: what is said of them, and each crop against its hash where there is one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.check.look import Broken, Look
from data_prep.check.names import doubtful_names
from data_prep.check.report import CheckReport, report_looked
from data_prep.counted import counted
from data_prep.dataset.crops import Crops, decode_crop
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.dataset.packed import load_aligned
from data_prep.dataset.parquet_rows import RowGroupCrops
from data_prep.quality.columns import photo_quality
from data_prep.quality.names import MEASURES
from data_prep.sources.base import some
from data_prep.work.job import Job

_CHANGED, _UNREADABLE = "changed", "unreadable"
_SPREAD = (0.05, 0.5, 0.95)


def examine_aligned(path: Path, report: CheckReport, look: Look) -> None:
    """What is said of the crops, and whether each is there, as it was written."""
    dataset = load_aligned(path, field="SOURCE")
    header = dataset.header
    report.facts.append(f"{header.template}, {header.policy}, sha256 {dataset.sha256}")
    counts = ", ".join(f"{len(dataset.with_status(status)):,} {status.value}" for status in Status)
    identities = dataset.table.column("identity").drop_null().unique().to_pylist()
    report.facts.append(
        f"{counted(len(dataset), 'photo')} of {counted(len(identities), 'identity')}: {counts}"
    )
    report.facts += _without_a_face(dataset)
    for (noun, trouble), names in doubtful_names(identities, map(str, dataset.column("photo"))).items():
        report.count(noun, trouble, names)
    report.facts.append(_quality_text(dataset))
    _examine_crops(dataset, report, look)


def _without_a_face(dataset: AlignedDataset) -> list[str]:
    """Which photos have no crop, or one from their centre; and why."""
    photos, reasons = dataset.column("photo"), dataset.column("reason")
    named: defaultdict[str, list[str]] = defaultdict(list)
    for status in (Status.NO_FACE, Status.FAILED):
        for row in dataset.with_status(status):
            named[reasons[row] or status.value].append(photos[row])
    return [f"{reason}: {some(names)}" for reason, names in named.items()]


def _quality_text(dataset: AlignedDataset) -> str:
    """How the measures of quality are spread, as far as they are known without reading crops."""
    rows = dataset.with_status(Status.ALIGNED)
    parts = []
    for name, values in photo_quality(dataset, rows, MEASURES, read_crops=False).items():
        there = values[np.isfinite(values)]
        spread = np.quantile(there, _SPREAD, method="closest_observation") if len(there) else ()
        parts.append(f"{name} {', '.join(f'{value:.4g}' for value in spread) or 'not known'}")
    return f"quality, lowest twentieth, median, highest twentieth: {'; '.join(parts)}"


def _examine_crops(dataset: AlignedDataset, report: CheckReport, look: Look) -> None:
    rows = dataset.with_crop()
    gone = set(dataset.crops.missing(rows))
    missing = {row for row in rows.tolist() if dataset.crops.name(row) in gone}
    names = dataset.column("photo" if isinstance(dataset.crops, RowGroupCrops) else "crop")
    report.count("crop", "missing or with zero bytes", [names[row] for row in sorted(missing)])
    looked_at = look.sample([row for row in rows.tolist() if row not in missing])
    job = _ReadCrops(dataset.root, dataset.crops, _crop_hashes(dataset, rows, report))
    found = look.broken("read", looked_at, job)
    changed = [row for row, reason in found if reason == _CHANGED]
    broken = [row for row, reason in found if reason == _UNREADABLE]
    report.count("crop", "changed since alignment", [names[row] for row in changed])
    side = dataset.header.crop_px
    report.count("crop", f"that cannot be read as {side} x {side}", [names[row] for row in broken])
    report_looked(len(looked_at), len(rows) - len(missing), len(broken), report)


def _crop_hashes(
    dataset: AlignedDataset, rows: NDArray[np.int64], report: CheckReport
) -> Sequence[str | None]:
    """The crops' hashes, (all rows,); None in Parquet files, and where an earlier version wrote none."""
    hashes = dataset.columns(["crop_sha256"])["crop_sha256"].to_pylist()
    if any(hashes[row] is None for row in rows):
        report.facts.append("no hashes of the crops are there, so a changed crop is not found")
    return hashes


@dataclass(frozen=True)
class _ReadCrops(Job[list[int], tuple[int, list[Broken]]]):
    """Manifest rows in, those out whose crop has other bytes than were written, or cannot be read.

    Attributes:
        root: the data set's folder.
        crops: its crops.
        hashes: (rows,) of what was written; None where there is none.
    """

    root: Path
    crops: Crops
    hashes: Sequence[str | None]

    @property
    def reads(self) -> tuple[Path, ...]:
        return (self.root,)

    def start(self) -> Callable[[list[int]], tuple[int, list[Broken]]]:
        return self._damaged

    def _damaged(self, rows: list[int]) -> tuple[int, list[Broken]]:
        found = []
        for row, content in zip(rows, self.crops.contents(rows), strict=True):
            if self.hashes[row] not in (None, hashlib.sha256(content).hexdigest()):
                found.append(Broken(row, _CHANGED))
            if decode_crop(content, self.crops.crop_px) is None:
                found.append(Broken(row, _UNREADABLE))
        return len(rows), found


def examine_begun(path: Path, report: CheckReport, look: Look) -> None:
    """An alignment that was stopped."""
    report.problems.append("the alignment was not finished: run the same `faceverif align` again")
