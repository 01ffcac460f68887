"""The three files of a trial: scores of every image, a few pictures, and the figures from the scores."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import write_text, written_whole
from data_prep.file_hash import file_hash
from data_prep.own_files import read_guarded
from faceverif.perturbation.threat_model import sizes
from robustness.rejection.calibrated_model import CalibratedModel
from robustness.rejection.outcome import DRAWS, Verdicts, measure_outcome
from robustness.rejection.trial import ChangedImages
from robustness.rejection.trial_record import TrialRecord, with_exact_intervals

PICTURES = 8
# Images that model and detectors are asked about twice.
_ASKED_TWICE = 8

# The model's own detector is what tables show; the others are there to be compared with it.
_DRAWS_OF_OTHERS = 100
_SEAL = "sha256"
_ZERO_GRADIENT = "zero_gradient"


@dataclass(frozen=True)
class TrialScores:
    """What a trial's Parquet file holds, one entry per image.

    Attributes:
        verdicts: of the attack.
        sizes: (N,) norm of each change.
        l2: (N,) l2 norm of each change, for pixels in [0, 1]; None in files of earlier versions.
        clean, attacked: detector -> (N,) scores before and after.
        similarity: of pairs, (2, N) cosines before and after.
        classes: of images of the classes, (3, N): the true class, and the predicted one before and after.
        queries: (N,) how often a black-box attack asked the model; None where it does not count.
    """

    verdicts: Verdicts
    sizes: NDArray[np.float64]
    l2: NDArray[np.float64] | None
    clean: dict[str, NDArray[np.float64]]
    attacked: dict[str, NDArray[np.float64]]
    similarity: NDArray[np.float64] | None
    classes: NDArray[np.int64] | None
    queries: NDArray[np.int64] | None

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]]) -> TrialScores:
        """From the columns of the file.

        Raises:
            KeyError: one is missing.
        """
        sides: dict[str, dict[str, NDArray[np.float64]]] = {"clean": {}, "attacked": {}}
        for name, column in columns.items():
            side, _, detector = name.partition(".")
            if detector:
                sides[side][detector] = column
        verdicts = Verdicts(
            columns["clean_correct"], columns["correct"], columns["success"], columns.get(_ZERO_GRADIENT)
        )
        return cls(
            verdicts,
            columns["size"],
            columns.get("l2"),
            **sides,
            similarity=_stacked(columns, "clean_similarity", "similarity"),
            classes=_stacked(columns, "label", "clean_predicted", "predicted"),
            queries=columns.get("queries"),
        )


def _stacked(columns: Mapping[str, NDArray[Any]], *names: str) -> NDArray[Any] | None:
    """Columns that are there together or not at all."""
    return np.stack([columns[name] for name in names]) if names[-1] in columns else None


def file_at(stem: Path, suffix: str) -> Path:
    """One of a trial's files; its name may end in a size such as 0.3, which is no suffix."""
    return stem.with_name(f"{stem.name}.{suffix}")


def keep_trial(
    stem: Path,
    changes: Iterable[ChangedImages],
    model: CalibratedModel,
    *,
    seed: int,
    about: Mapping[str, Any],
) -> None:
    """Score images before and after their change, and write STEM.parquet, STEM.npz and STEM.json.

    The JSON is written last: a trial with a JSON file has finished. It holds the hashes of all three. Memory
    does not depend on the number of images.

    Args:
        stem: the files, without a suffix.
        changes: the images, portion by portion; made while they are asked for.
        model: whose images, fitted and calibrated.
        seed: of the bootstrap.
        about: what the numbers depend on, kept with them.
    """
    begun, rows, pictures, unsteady = time.monotonic(), [], None, []
    for change in changes:
        rows.append(_columns(change, model))
        if pictures is None:
            pictures = _pictures(change)
            unsteady = model.unsteady(change.before[:_ASKED_TWICE], change.clean.labels[:_ASKED_TWICE])
    columns = _joined(rows)
    with written_whole(file_at(stem, "parquet")) as unfinished:
        pq.write_table(pa.table(columns), unfinished)
    assert pictures is not None  # there is at least one portion
    with written_whole(file_at(stem, "npz")) as unfinished:
        np.savez_compressed(unfinished, **pictures)  # type: ignore[arg-type] # numpy's stub takes them for a flag
    scores = TrialScores.of(columns)
    record = {
        "about": dict(about),
        "facts": model.facts,
        "images": len(scores.sizes),
        "mean_size": float(scores.sizes.mean()),
        "seconds": round(time.monotonic() - begun, 1),
        "unsteady": unsteady,
        "detectors": _measured(scores, model, seed=seed),
        "files": {suffix: file_hash(file_at(stem, suffix)) for suffix in ("parquet", "npz")},
    }
    write_text(file_at(stem, "json"), json.dumps(record | {_SEAL: _seal(record)}, indent=1))


def read_record(stem: Path) -> TrialRecord:
    """What the JSON file of a finished trial holds.

    Raises:
        InputError: it is damaged.
    """
    with _whole(stem, "json") as path:
        record = json.loads(path.read_text(encoding="utf-8"))
        TrialRecord.model_validate(record)
        seal = record.pop(_SEAL, None)  # earlier versions wrote none
        if seal is not None and seal != _seal(record):
            raise ValueError("its content is not what was written")
        return TrialRecord.model_validate(with_exact_intervals(record))


def read_scores(stem: Path, record: TrialRecord) -> TrialScores:
    """What every image of a finished trial scored.

    Args:
        stem: its files, without a suffix.
        record: its JSON file.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _whole(stem, "parquet") as path:
        _refuse_other_content(path, record)
        table = pq.read_table(path)
        scores = TrialScores.of({name: table[name].to_numpy() for name in table.column_names})
        if missing := set(record.detectors) - set(scores.attacked):
            raise ValueError(f"it has no scores of {', '.join(sorted(missing))}")
        return scores


def read_pictures(stem: Path, record: TrialRecord) -> dict[str, NDArray[np.float32]]:
    """The first few images of a finished trial: clean, attacked, and of pairs the references.

    Args:
        stem: its files, without a suffix.
        record: its JSON file.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _whole(stem, "npz") as path:
        _refuse_other_content(path, record)
        with np.load(path) as stored:
            pictures = {name: stored[name].astype(np.float32) for name in stored.files}
        shapes = {images.shape for images in (pictures["clean"], pictures["attacked"])}
        if len(shapes) != 1 or len(shapes.pop()) != 4:
            raise ValueError("its pictures differ in shape")
        return pictures


@contextmanager
def _whole(stem: Path, suffix: str) -> Iterator[Path]:
    """For a block that reads a file of a finished trial."""
    path, rule = file_at(stem, suffix), "must hold the files of finished trials as they were written"
    fix = f"Remove {file_at(stem, 'json')}: the same command then runs this trial again."
    with read_guarded("OUT", rule, got=path, fix=fix):
        yield path


def _refuse_other_content(path: Path, record: TrialRecord) -> None:
    known = record.files.get(path.suffix.removeprefix("."))  # earlier versions kept no hashes
    if known is not None and known != file_hash(path):
        raise ValueError("its content is not what was written")


def _seal(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _pictures(change: ChangedImages) -> dict[str, NDArray[Any]]:
    shown = {"clean": change.before, "attacked": change.after, "reference": change.references}
    return {name: images[:PICTURES].half().numpy() for name, images in shown.items() if images is not None}


def _columns(change: ChangedImages, model: CalibratedModel) -> dict[str, NDArray[Any]]:
    verdicts = {name: column for name, column in vars(change.verdicts).items() if column is not None}
    l2 = sizes(change.after - change.before, "l2")
    columns = change.columns | {"size": change.sizes.double(), "l2": l2.double()}
    sides = {"clean": (change.clean, change.before), "attacked": (change.attacked, change.after)}
    for side, (features, pixels) in sides.items():
        for name, scores in model.scores(features, pixels).items():
            columns[f"{side}.{name}"] = scores.double()
    return verdicts | {name: column.numpy() for name, column in columns.items()}


def _joined(portions: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The columns of all portions, which have the same ones apart from `zero_gradient`.

    An attack asks for no gradient where all images of a portion are wrong before it; none of them is marked.
    """
    names = dict.fromkeys(name for columns in portions for name in columns)
    whole = [{_ZERO_GRADIENT: np.zeros(len(columns["size"]), bool)} | columns for columns in portions]
    return {name: np.concatenate([columns[name] for columns in whole]) for name in names}


def _measured(scores: TrialScores, model: CalibratedModel, *, seed: int) -> dict[str, Any]:
    """Every detector's figures, as plain values; the model's own detector first."""
    return {
        name: asdict(
            measure_outcome(
                scores.verdicts,
                scores.clean[name],
                scores.attacked[name],
                points=model.points[name],
                seed=seed,
                draws=DRAWS if name == model.own_detector else _DRAWS_OF_OTHERS,
            )
        )
        for name in model.detectors
    }
