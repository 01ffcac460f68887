"""The audit of a training set against an evaluation set: two aligned folders in, a folder of results out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.atomic import files_whole
from data_prep.dataset.crops import save_side_by_side
from data_prep.dataset.exclusions import ExclusionList, write_exclusions
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.json_object import write_json
from data_prep.lock import LOCK_NAME, filled
from data_prep.work.here import ThisProcess
from data_prep.work.job import Engine
from faceverif.audit.people import People
from faceverif.audit.questions import (
    Answer,
    Suspicion,
    copies,
    copies_of_evaluation,
    excluded,
    mislabelled,
    shared_names,
    shared_people,
    split_evaluation,
    split_identities,
)
from faceverif.audit.report import AUDIT_NAME, EXCLUSIONS_NAME, PICTURES_NAME, write_audit_report
from faceverif.audit.result import Audit
from faceverif.audit.thresholds import EXPECTED_RULE, match_threshold, refuse_unfit, stranger_threshold
from faceverif.audit.vector_file import write_vectors
from faceverif.models import Embedder
from faceverif.provenance import result_versions
from faceverif.verification.collapse import collapse_warning, different_photos
from faceverif.verification.embedding_parts import embed_in_portions
from faceverif.verification.scoring import normalised

_EMBEDDINGS, _AGAINST, _JOINED_NAME = "embeddings", "against", "all.npy"
_IN_MEMORY = 1_000_000  # photos: 2 GB at 512 numbers each
_SHOWN = 24  # pictures per question


@dataclass(frozen=True)
class AuditSettings:
    """What decides.

    Attributes:
        false_match_rate: share of the pairs of different people that may count as one person.
        false_alarm_rate: share of the correctly labelled photos that may count as far from their identity.
        flip: average each embedding with that of the mirrored crop.
    """

    false_match_rate: float
    false_alarm_rate: float
    flip: bool


def audit(
    embedder: Embedder,
    train: Path,
    against: Path,
    *,
    out: Path,
    settings: AuditSettings,
    engine: Engine | None = None,
) -> Audit:
    """Audit a training set and write what was found; after an interruption it keeps the embeddings.

    Args:
        embedder: made for the template of both sets.
        train: an aligned folder; the photos that training would see are audited.
        against: an aligned folder of an evaluation set; every photo with a crop counts.
        out: for `audit.json`, `exclusions.csv`, `report.html`, `pictures/` and `embeddings/`.
        settings: what decides.
        engine: where the crops are embedded; None: in this process.

    Raises:
        InputError: both sets are the same, name no identities or have another template; `out` is in use or
            holds other files; the evaluation set is too small for the rates; or the model gives all its
            photos nearly the same embedding.
    """
    sets = load_aligned(train), load_aligned(against)
    if sets[0].sha256 == sets[1].sha256:
        raise InputError("--against", "must be another set than TRAIN", got=against, fix="Name another one.")
    rows = _trainable_rows(sets[0]), _evaluation_rows(sets[1])
    _, people = sets[1].people(rows[1])
    refuse_unfit(
        np.bincount(people),
        false_match_rate=settings.false_match_rate,
        false_alarm_rate=settings.false_alarm_rate,
    )
    _check_out(out)
    with filled(out, command="faceverif data audit"):
        # The evaluation set first: it shows whether the model can tell people apart.
        embed = partial(_embedded, embedder, flip=settings.flip, engine=engine or ThisProcess())
        evaluated, device = embed(sets[1], rows[1], folder=out / _EMBEDDINGS / _AGAINST)
        trained, _ = embed(sets[0], rows[0], folder=out / _EMBEDDINGS / "train")
        found = _examine(trained, evaluated, settings=settings)
        _write(found, out, about=_about(embedder, found, settings) | {"device": device})
    return found


def _check_out(out: Path) -> None:
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    begun = (out / _EMBEDDINGS / _AGAINST).is_dir()  # others have a folder `embeddings` too
    if (out.exists() and not out.is_dir()) or (names - {LOCK_NAME} and not begun):
        raise InputError(
            "--out",
            "must be empty, new, or begun by `faceverif data audit`",
            got=out,
            fix="Name another folder.",
        )


def _trainable_rows(dataset: AlignedDataset) -> NDArray[np.int64]:
    """The photos that training would see."""
    return _named(dataset, dataset.with_status(Status.ALIGNED), field="TRAIN")


def _evaluation_rows(dataset: AlignedDataset) -> NDArray[np.int64]:
    """The photos that an evaluation may use: a centre crop too."""
    return _named(dataset, dataset.with_crop(), field="--against")


def _named(dataset: AlignedDataset, rows: NDArray[np.int64], *, field: str) -> NDArray[np.int64]:
    nameless = int((~dataset.has_identity()[rows]).sum())
    if not len(rows) or nameless:
        raise InputError(
            field,
            "must hold photos whose identities are known",
            got=f"{nameless:,} of {len(rows):,} without one in {dataset.root}",
            fix="Align a folder of photos per identity.",
        )
    return rows


def _embedded(
    embedder: Embedder,
    dataset: AlignedDataset,
    rows: NDArray[np.int64],
    *,
    flip: bool,
    engine: Engine,
    folder: Path,
) -> tuple[People, str]:
    """The photos with their unit embeddings, and where these were computed."""
    portions = embed_in_portions(embedder, dataset, rows, flip=flip, folder=folder, engine=engine)
    people = People.of(dataset, rows, _joined(portions, len(rows), folder))
    _refuse_collapsed(embedder, people)
    return people, portions.device


def _joined(portions: Iterable[NDArray[np.float32]], count: int, folder: Path) -> NDArray[np.float32]:
    """Unit embeddings, (count, dim): in memory, or those of a large set in one more file of the folder."""
    parts = (normalised(portion).astype(np.float32) for portion in portions)
    first = next(parts)
    shape, every = (count, first.shape[1]), chain([first], parts)
    if count > _IN_MEMORY:
        return write_vectors(folder / _JOINED_NAME, shape, every)
    joined, place = np.empty(shape, np.float32), 0
    for part in every:
        joined[place : place + len(part)] = part
        place += len(part)
    return joined


def _refuse_collapsed(embedder: Embedder, people: People) -> None:
    """Refuse a model to which all photos look alike: every pair of them would be a suspicion."""
    warning = collapse_warning(embedder, people.embeddings[different_photos(people.dataset, people.rows)])
    if warning is not None:
        raise InputError(
            "model",
            "must tell people apart",
            got=f"{embedder.name}: {warning}",
            fix="Check --preprocess and --output, or take a stronger model.",
        )


def _examine(train: People, against: People, *, settings: AuditSettings) -> Audit:
    match = match_threshold(against, false_match_rate=settings.false_match_rate)
    stranger = stranger_threshold(against, false_alarm_rate=settings.false_alarm_rate)
    answers = [
        shared_names(train, against),
        shared_people(train, against, match),
        copies_of_evaluation(train, against),
        copies(train),
        mislabelled(train, stranger),
        split_identities(train, match),
        split_evaluation(against, match),
    ]
    return Audit(train, against, match, stranger, answers)


def _write(found: Audit, out: Path, *, about: dict[str, Any]) -> None:
    """Exclusions, pictures, numbers, and the report made of them."""
    with files_whole(out) as files:
        write_exclusions(files / EXCLUSIONS_NAME, excluded(found.answers), warnings=found.warnings)
        sections = [_answer(answer, files) for answer in found.answers]
        listed = ExclusionList.read(files / EXCLUSIONS_NAME).described()
        content = about | {"warnings": found.warnings, "exclusions": listed, "sections": sections}
        write_json(files / AUDIT_NAME, content)
        write_audit_report(files)


def _answer(answer: Answer, out: Path) -> dict[str, Any]:
    """An answer as `audit.json` has it; writes the pictures of its worst suspicions."""
    shown = [
        _picture(suspicion, out / PICTURES_NAME / answer.reason / f"{number:02d}.jpg")
        for number, suspicion in enumerate(answer.suspicions[:_SHOWN])
    ]
    return {
        "reason": answer.reason,
        "title": answer.title,
        "rule": answer.rule,
        "found": len(answer.suspicions),
        "compared": answer.compared,
        "expected_false_alarms": answer.expected_false_alarms,
        "estimated_precision": answer.estimated_precision,
        "excludes": answer.excludes,
        "worst": shown,
    }


def _picture(suspicion: Suspicion, path: Path) -> dict[str, Any]:
    save_side_by_side(np.stack([people.crop(photo) for people, photo in suspicion.shown]), path)
    return suspicion.exclusion._asdict() | {
        "photos": [people.photo_name(photo) for people, photo in suspicion.shown]
    }


def _about(embedder: Embedder, found: Audit, settings: AuditSettings) -> dict[str, Any]:
    return {
        "train": _set_facts(found.train),
        "against": _set_facts(found.against),
        "model": embedder.name,
        "model_sha256": embedder.sha256,
        "preprocessing": embedder.preprocessing,
        "settings": asdict(settings),
        "match": asdict(found.match),
        "stranger": asdict(found.stranger),
        "expected_rule": EXPECTED_RULE,
        "versions": result_versions(),
    }


def _set_facts(people: People) -> dict[str, Any]:
    dataset = people.dataset
    return {
        "path": str(dataset.root),
        "manifest_sha256": dataset.sha256,
        "template": dataset.header.template,
        "photos": len(people.rows),
        "identities": len(people.names),
    }
