"""How the answers of `faceverif identify` are printed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from data_prep.counted import counted
from data_prep.errors import InputError, printable_lines
from data_prep.progress import say

if TYPE_CHECKING:
    from faceverif.identification.identify import Identification, Identifier

_COLUMNS = (
    *("photo", "person", "similarity", "most_similar", "gallery_photo", "runner_up", "runner_up_similarity"),
    *("threshold", "fpir", "rests_on", "error"),
)


def refuse_unclear_answer(
    *, as_json: bool, as_csv: bool, strangers: Path | None, thresholds: Path | None
) -> None:
    """Stop where options do not go together.

    Raises:
        InputError: two forms, or two sources of the threshold.
    """
    if as_json and as_csv:
        raise InputError("--csv", "must not go with --json", got="both", fix="Leave one out.")
    if strangers is not None and thresholds is not None:
        fix = "Leave one out: the threshold is measured, or comes from the calibration."
        raise InputError("--calibration", "must not go with --strangers", got="both", fix=fix)


def print_answers(identifier: Identifier, photos: Sequence[Path], *, as_json: bool, as_csv: bool) -> int:
    """Print who is on each photo on stdout, and what belongs to no row of CSV or JSON on stderr.

    Returns:
        the exit code: 1 if one of several photos could not be searched, otherwise 0.

    Raises:
        InputError: the only photo cannot be searched.
    """
    answers = [identifier.identify(photos[0])] if len(photos) == 1 else identifier.identify_each(photos)
    if as_json:
        content = identifier.as_json() | {"photos": [answer.as_json() for answer in answers]}
        typer.echo(json.dumps(content, indent=2))
    elif as_csv:
        typer.echo(_csv(identifier, answers))
    else:
        lines = [answer.text() for answer in answers]
        typer.echo(
            printable_lines([*lines, identifier.decision.text(), f"model: {identifier.embedder.name}"])
        )
    for note in [*identifier.notes(), *(note for answer in answers for note in answer.notes())]:
        say(note)
    failed = sum(bool(answer.error) for answer in answers)
    if failed:
        say(f"{failed:,} of {counted(len(answers), 'photo')} could not be searched")
    return int(failed > 0)


def _csv(identifier: Identifier, answers: Sequence[Identification]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    decision = identifier.decision.as_json()
    for answer in answers:
        best, runner_up = [*answer.matches, None, None][:2]
        writer.writerow(
            [
                answer.photo,
                answer.person,
                *((None, None, None) if best is None else (best.similarity, best.person, best.photo)),
                *((None, None) if runner_up is None else (runner_up.person, runner_up.similarity)),
                *(answer.threshold, decision["fpir"], decision["rests_on"], answer.error),
            ]
        )
    return file.getvalue().rstrip("\n")
