"""`faceverif compare`: what is asked, checked before torch is loaded, and how the answer is printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_prep.counted import counted
from data_prep.device import choose_device
from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.cli.checks import can_be_file, exists
from faceverif.cli.options import (
    DecidingFar,
    Device,
    OnnxOutput,
    OptionalModel,
    Preprocess,
    RejectAt,
    Thresholds,
    chosen_model,
)

if TYPE_CHECKING:
    from faceverif.verification.compare import Comparer
    from faceverif.verification.photo_pairs import PhotoPair

_COLUMNS = ("first", "second", "similarity", "threshold", "far", "tar", "same", "error")
_REJECTED = {(False, False): "none", (True, False): "first", (False, True): "second", (True, True): "both"}


def compare(
    first: Annotated[Path | None, typer.Argument(callback=exists, help="A photo.")] = None,
    second: Annotated[Path | None, typer.Argument(callback=exists, help="Another photo.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            callback=exists,
            help="Instead of two photos: a CSV with the columns first,second. Paths are relative to it.",
        ),
    ] = None,
    model: OptionalModel = None,
    preprocess: Preprocess = None,
    output: OnnxOutput = None,
    far: DecidingFar = 0.01,
    thresholds: Thresholds = None,
    reject: RejectAt = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=can_be_file(".png"), help="Save the two crops side by side, as a PNG."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    device: Device = "auto",
) -> None:
    """Decide whether two photos show the same person.

    The exit code is 0 whatever the decision is. With --pairs it is 1 if a row could not be compared.
    """
    from faceverif.verification.calibration import refuse_uncalibrated
    from faceverif.verification.photo_pairs import read_photo_pairs
    from faceverif.verification.photo_pixels import refuse_no_photos

    request = ComparisonRequest(first, second, pairs, reject, out, as_json, as_csv)
    listed = None if pairs is None else read_photo_pairs(pairs)
    refuse_no_photos(first, second)
    chosen = chosen_model(model)
    refuse_uncalibrated(chosen, far, file=thresholds, preprocess=preprocess, output=output)
    choose_device(device)

    from faceverif.verification.compare import Comparer

    comparer = Comparer.load(chosen, far=far, preprocess=preprocess, output=output, thresholds=thresholds)
    raise typer.Exit(print_comparison(request, comparer, model=chosen, listed=listed))


@dataclass(frozen=True)
class ComparisonRequest:
    """The photos and the form of the answer.

    Attributes:
        first, second: two photos; None with `pairs`.
        pairs: a CSV of pairs.
        reject: false-rejection rate of the guard; None: no guard.
        picture: where to save the crops.
        json, csv: the form; neither: text.

    Raises:
        InputError: photos are missing, or options do not go together.
    """

    first: Path | None
    second: Path | None
    pairs: Path | None
    reject: float | None
    picture: Path | None
    json: bool
    csv: bool

    def __post_init__(self) -> None:
        photos = [photo for photo in (self.first, self.second) if photo is not None]
        if len(photos) != (0 if self.pairs else 2):
            got = f"{len(photos)} photo{'s' * (len(photos) != 1)}" + (" and --pairs" if self.pairs else "")
            fix = "Run: faceverif compare a.jpg b.jpg, or faceverif compare --pairs pairs.csv"
            raise InputError("compare", "needs two photos or --pairs FILE", got=got, fix=fix)
        if self.json and self.csv:
            raise InputError("--csv", "must not go with --json", got="both", fix="Leave one out.")
        for option, value in (("--reject", self.reject), ("--out", self.picture)):
            if self.pairs and value is not None:
                fix = "Leave it out, or compare the two photos alone."
                raise InputError(option, "belongs to two photos, not to --pairs", got=value, fix=fix)

    @property
    def photos(self) -> tuple[Path, Path]:
        """The two, where there is no list of pairs."""
        assert self.first is not None
        assert self.second is not None
        return self.first, self.second


def print_comparison(
    request: ComparisonRequest, comparer: Comparer, *, model: Path, listed: Sequence[PhotoPair] | None
) -> int:
    """Print the answer on stdout, and what belongs to no row of CSV or JSON on stderr.

    Args:
        request: what was asked.
        comparer: the model with its threshold.
        model: where it lies; its guard lies there too.
        listed: the pairs of a list; None: the two photos are compared.

    Returns:
        the exit code: 1 if a row of a list could not be compared, otherwise 0.
    """
    if listed is not None:
        return _print_pairs(request, comparer, listed)
    from data_prep.dataset.crops import save_side_by_side

    guarded = None
    if request.reject is not None:
        from robustness.guard import load_guard

        guarded = load_guard(model, rate=request.reject)
    comparison = comparer.compare(*request.photos)
    if request.picture is not None:
        save_side_by_side(comparison.crops, request.picture)
    if not (request.json or request.csv):
        text = comparison.text()
        answer = text if guarded is None else guarded.answer(request.photos, comparison.crops, decision=text)
        typer.echo(answer)
        return 0
    content: dict[str, Any] = comparison.as_json()
    if guarded is not None:
        content |= guarded.verdict(guarded.scores(comparison.crops).tolist())
        content["same"] = None if any(content["rejected"]) else content["same"]
    for note in comparison.notes():
        say(note)
    typer.echo(json.dumps(content, indent=2) if request.json else _csv([content]))
    return 0


def _print_pairs(request: ComparisonRequest, comparer: Comparer, listed: Sequence[PhotoPair]) -> int:
    from faceverif.verification.compare import doubts, grounds
    from faceverif.verification.compare_pairs import compare_pairs

    rows, warning = compare_pairs(comparer, listed)
    facts = grounds(comparer.point, comparer.calibration)
    if request.json:
        content = {"model": comparer.embedder.name, **facts, "pairs": [row.as_json() for row in rows]}
        typer.echo(json.dumps(content, indent=2))
    elif request.csv:
        typer.echo(_csv([row.as_json() | facts for row in rows]))
    else:
        typer.echo("\n".join(row.text() for row in rows))
    failed = sum(bool(row.error) for row in rows)
    for note in doubts(comparer.calibration, comparer.point):
        say(note)
    if warning is not None:
        say(f"warning: {warning}")
    if failed:
        say(f"{failed:,} of {counted(len(rows), 'row')} could not be compared")
    return int(failed > 0)


def _csv(rows: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    guarded = ["rejected"] if all("rejected" in row for row in rows) else []
    writer = csv.DictWriter(file, [*_COLUMNS, *guarded], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        same = row["same"]
        cells = {"same": "" if same is None else str(same).lower()}
        cells |= {column: _REJECTED[tuple(row[column])] for column in guarded}
        writer.writerow(row | cells)
    return file.getvalue().rstrip("\n")
