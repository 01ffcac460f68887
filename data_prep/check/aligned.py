"""Checks an aligned data set: the manifest, and each crop against its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.check.report import CheckReport, in_progress, report_looked, sample
from data_prep.dataset.crops import decode_crop
from data_prep.dataset.manifest import AlignedDataset, Status


def examine_aligned(path: Path, report: CheckReport, every: bool) -> None:
    """The manifest, and whether every crop is there, as it was written."""
    dataset = AlignedDataset.load(path)
    header = dataset.header
    report.facts.append(f"{header.template}, {header.policy}, manifest sha256 {dataset.sha256}")
    counts = ", ".join(f"{len(dataset.with_status(status)):,} {status.value}" for status in Status)
    identities = len(dataset.table.column("identity").drop_null().unique())
    report.facts.append(f"{len(dataset):,} photos of {identities:,} identities: {counts}")
    _examine_crops(dataset, report, every=every)


def _examine_crops(dataset: AlignedDataset, report: CheckReport, *, every: bool) -> None:
    rows = np.flatnonzero(dataset.column("status") != Status.FAILED.value)
    gone = set(dataset.crops.missing(rows))
    missing = {row for row in rows.tolist() if dataset.crops.name(row) in gone}
    names = dataset.column("crop")
    report.count("crops are missing or have zero bytes", [names[row] for row in sorted(missing)])
    looked_at = sample([row for row in rows.tolist() if row not in missing], every=every)
    changed, broken = _damaged(dataset, looked_at, hashes=_crop_hashes(dataset, rows, report))
    report.count("crops are no longer what was written", [names[row] for row in changed])
    side = dataset.header.crop_px
    report.count(f"crops cannot be read as {side} x {side}", [names[row] for row in broken])
    report_looked(len(looked_at), len(rows) - len(missing), len(broken), report)


def _crop_hashes(
    dataset: AlignedDataset, rows: NDArray[np.int64], report: CheckReport
) -> Sequence[str | None]:
    """The crops' hashes in the manifest, (all rows,); null where an earlier version wrote none."""
    hashes = dataset.columns(["crop_sha256"])["crop_sha256"].to_pylist()
    if any(hashes[row] is None for row in rows):
        report.facts.append("made by an earlier version: the manifest has no hashes of the crops")
    return hashes


def _damaged(
    dataset: AlignedDataset, rows: Sequence[int], *, hashes: Sequence[str | None]
) -> tuple[list[int], list[int]]:
    """The rows whose crop has other bytes than were written, and those whose crop cannot be read."""
    changed, broken = [], []
    for row, content in zip(in_progress("read", rows), dataset.crops.contents(rows), strict=True):
        if hashes[row] not in (None, hashlib.sha256(content).hexdigest()):
            changed.append(row)
        if decode_crop(content, dataset.header.crop_px) is None:
            broken.append(row)
    return changed, broken


def examine_begun(path: Path, report: CheckReport, every: bool) -> None:
    """An alignment that was stopped."""
    report.problems.append("the alignment was not finished: run the same `faceverif align` again")
