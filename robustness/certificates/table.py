"""Certificates of many images or pairs: rows that are kept as they come, and shares at several radii."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.atomic import make_folder, written_whole
from data_prep.errors import InputError
from data_prep.json_object import write_json
from data_prep.own_files import read_guarded
from data_prep.progress import progress
from faceverif.file_names import RESULT_NAME
from faceverif.report.numbers import percent
from robustness.certificates.smoothing import ABSTAIN, Certificate
from robustness.config.smoothing import Smoothing

CSV_NAME, SETTINGS_NAME = "certificates.csv", "settings.json"
_WHOLE, _DAMAGED = "must hold whole certificates", "Name another folder, or delete this one."
_SAVED_EVERY = 20
# Radii of the table, in units of the noise.
_RADII = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Row:
    """What was found of one image or pair.

    Attributes:
        item: its number.
        truth: its class; of a pair 1 for genuine, 0 for impostor.
        decision, radius: see `Certificate`.
    """

    item: int
    truth: int
    decision: int
    radius: float


def certified_rows(
    one: Callable[[int, torch.Generator], Certificate],
    truth: Sequence[int],
    out: Path,
    *,
    smoothing: Smoothing,
    about: dict[str, Any],
    unit: str,
) -> list[Row]:
    """A row for every item; those of an interrupted run are kept. The noise depends on seed and item only.

    Args:
        one: item and its generator -> certificate.
        truth: of each item.
        out: folder for the rows.
        smoothing: noise, samples, confidence.
        about: what else an interrupted run must share with this one.
        unit: what the items are, for the progress.

    Raises:
        InputError: `out` holds other certificates, or damaged ones.
    """
    claim_folder(out, asdict(smoothing) | about | {"items": len(truth)})
    rows = _kept(out)
    with progress("certify", total=len(truth) - len(rows), unit=unit) as advance:
        for item in range(len(rows), len(truth)):
            [word] = np.random.SeedSequence([smoothing.seed, item]).generate_state(1, np.uint64)
            found = one(item, torch.Generator().manual_seed(int(word >> np.uint64(1))))
            rows.append(Row(item, truth[item], found.decision, found.radius))
            if len(rows) % _SAVED_EVERY == 0 or len(rows) == len(truth):
                _write(out, rows)
            advance(1, "")
    return rows


def claim_folder(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder of certificates, or see that those in it were made with these settings.

    Args:
        out: the folder.
        settings: what the certificates depend on, JSON-able.

    Raises:
        InputError: `out` holds other certificates, or damaged ones.
    """
    make_folder(out)
    settings, place = json.loads(json.dumps(settings)), out / SETTINGS_NAME
    if not place.exists():
        write_json(place, settings)
        return
    with read_guarded("--out", _WHOLE, got=out, fix=_DAMAGED):
        then = json.loads(place.read_text(encoding="utf-8"))
    if then != settings:
        raise InputError(
            "--out",
            "must be a new folder, or one with the same model and settings",
            got=f"{out}, which holds other certificates",
            fix="Name another folder.",
        )


def _kept(out: Path) -> list[Row]:
    if not (out / CSV_NAME).exists():
        return []
    with (
        read_guarded("--out", _WHOLE, got=out, fix=_DAMAGED),
        (out / CSV_NAME).open(newline="", encoding="utf-8") as file,
    ):
        return [
            Row(int(row["item"]), int(row["truth"]), int(row["decision"]), float(row["radius"]))
            for row in csv.DictReader(file, strict=True)
        ]


def _write(out: Path, rows: list[Row]) -> None:
    with (
        written_whole(out / CSV_NAME) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


Shares = Callable[[list[Row], float], dict[str, float]]


@dataclass(frozen=True)
class Summary:
    """The shares at each radius.

    Attributes:
        at_radius: a line for each, as result.json holds them.
        abstained: the share of the items without a decision.
        text: the same as a table for the terminal.
    """

    at_radius: list[dict[str, float]]
    abstained: float
    text: str


def summarised(
    rows: list[Row], shares: Shares, out: Path, smoothing: Smoothing, *, items: str, largest: float
) -> Summary:
    """Write the shares at each radius to result.json.

    Args:
        rows: all of them.
        shares: rows and radius -> what the table shows.
        out: folder of the result.
        smoothing: how the certificates were made.
        items: what was certified, with its count.
        largest: radius that can be certified.
    """
    radii = [factor * smoothing.sd for factor in _RADII]
    lines = [shares(rows, radius) for radius in radii]
    abstained = sum(row.decision == ABSTAIN for row in rows) / len(rows)
    at_radius = [{"l2_radius": radius} | line for radius, line in zip(radii, lines, strict=True)]
    result = {"items": len(rows), "abstained": abstained, "at_radius": at_radius}
    write_json(out / RESULT_NAME, result)
    names = ["l2 radius", *(name.replace("_", " ") for name in lines[0])]
    shown = (
        [f"{radius:.3f}", *(f"{percent(share, 1)} %" for share in line.values())]
        for radius, line in zip(radii, lines, strict=True)
    )
    table = [
        "  ".join(f"{cell:>{max(9, len(name))}}" for cell, name in zip(cells, names, strict=True))
        for cells in (names, *shown)
    ]
    said = f"{items}, confidence {smoothing.confidence:g} for each; abstained on {percent(abstained, 1)} %"
    text = "\n".join([said, *table, no_larger(smoothing, largest)])
    return Summary(at_radius, abstained, text)


def no_larger(smoothing: Smoothing, largest: float) -> str:
    """Beyond which radius a decision cannot hold, whatever the model."""
    return (
        f"with {smoothing.samples:,} noisy versions no radius above {largest:.3g} can be certified: more "
        "--samples allow larger ones"
    )


def class_shares(rows: list[Row], radius: float) -> dict[str, float]:
    """Images that are classified correctly whatever an attack does within the radius."""
    return {"certified_accuracy": _share(rows, radius)}


def pair_shares(rows: list[Row], radius: float) -> dict[str, float]:
    """Genuine pairs that no attack can hide; impostor pairs that an attack might have accepted, at most.

    A kind of which there is no pair has no share.
    """
    genuine, impostor = ([row for row in rows if row.truth == truth] for truth in (1, 0))
    shares = {}
    if genuine:
        shares["certified_true_accepts"] = _share(genuine, radius)
    if impostor:
        shares["false_accepts_at_most"] = 1.0 - _share(impostor, radius)
    return shares


def _share(rows: list[Row], radius: float) -> float:
    """Those whose true decision holds up to the radius."""
    return sum(row.decision == row.truth and row.radius >= radius for row in rows) / len(rows)
