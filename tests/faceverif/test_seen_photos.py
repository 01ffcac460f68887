"""A model verified on photos that it was trained on: a warning in every output, and none without need."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.dataset.manifest import AlignedDataset, write_manifest
from faceverif.models import MODEL_NAME
from faceverif.verification.calibrate import calibrate
from faceverif.verification.calibration import Calibration
from faceverif.verification.compare import doubts
from faceverif.verification.options import VerificationOptions
from faceverif.verification.runner import verify as verify_pairs
from faceverif.verification.seen_photos import (
    TRAINING_PHOTOS_NAME,
    remember_photos,
    seen_warning,
    training_sets,
)

SEEN = "the model was trained on photos of this data set: the numbers do not hold for people"


def trained_on(sha256: str, *, exclusions: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"data": {"manifest_sha256": sha256, "exclusions": exclusions}}


@pytest.mark.parametrize(
    ("provenance", "sets"),
    [
        ({}, []),  # a model from elsewhere
        ({"data": None}, []),
        (trained_on("a"), ["a"]),
        ({"data": {"manifest_sha256": "a"}}, ["a"]),  # by a version without lists of exclusions
        (trained_on("a", exclusions={"sha256": "e", "photos": 2}), []),
        (trained_on("b") | {"start_from": {"run": "r", "training_sets": ["a"]}}, ["b", "a"]),
        (trained_on("b") | {"start_from": {"run": "r"}}, ["b"]),  # by an earlier version
    ],
)
def test_which_sets_a_model_was_trained_on(provenance: dict[str, Any], sets: list[str]) -> None:
    assert training_sets(provenance) == sets


def photos(folder: Path, hashes: Sequence[str | None]) -> AlignedDataset:
    """A data set of as many photos, whose bytes have these hashes."""
    faces = write_faces(folder / "faces", people=len(hashes), photos=1)
    rows = faces.table.to_pylist()
    write_manifest(
        folder, faces.header, [row | {"sha256": sha256} for row, sha256 in zip(rows, hashes, strict=True)]
    )
    return AlignedDataset.load(folder)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_photos_are_recognised_by_their_bytes_in_any_data_set(tmp_path: Path) -> None:
    trained = photos(tmp_path / "trained", [sha256(name) for name in "abcdefg"])
    other, every = photos(tmp_path / "other", [sha256(name) for name in "xbcdy"]), np.arange(5)
    embedder = pattern_embedder()
    embedder.name = str(tmp_path / "run" / MODEL_NAME)
    assert seen_warning(embedder, other, every) is None  # a run of an earlier version

    remember_photos(tmp_path / "run", trained, np.arange(3), earlier=None)  # a, b, c
    assert str(seen_warning(embedder, other, every)).startswith(
        "the model was trained on 2 of these 5 photos"
    )
    assert seen_warning(embedder, other, np.array([0, 3, 4])) is None
    embedder.provenance = trained_on(other.sha256)  # the photos decide, not the set that they are in
    assert seen_warning(embedder, other, np.array([0, 3, 4])) is None

    remember_photos(tmp_path / "next", trained, np.array([3, 6]), earlier=tmp_path / "run")
    embedder.name = str(tmp_path / "next" / MODEL_NAME)
    assert "on 3 of these 5 photos" in str(seen_warning(embedder, other, every))
    (tmp_path / "next" / TRAINING_PHOTOS_NAME).write_bytes(b"damaged")
    assert str(seen_warning(embedder, other, every)).startswith(SEEN)


def test_a_set_without_hashes_is_recognised_as_a_whole(tmp_path: Path) -> None:
    dataset, rows = photos(tmp_path / "packed", [None, None, None]), np.arange(3)
    remember_photos(tmp_path / "run", dataset, rows, earlier=None)
    embedder = pattern_embedder()
    embedder.name = str(tmp_path / "run" / MODEL_NAME)
    assert seen_warning(embedder, dataset, rows) is None
    embedder.provenance = trained_on(dataset.sha256)
    assert str(seen_warning(embedder, dataset, rows)).startswith(SEEN)


def test_every_output_says_that_the_model_knows_the_people(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path / "data", people=8)
    data, pairs = tmp_path / "data", write_pairs(tmp_path / "pairs.csv", people=8)
    options, embedder = VerificationOptions(flip=False), pattern_embedder()

    embedder.provenance = trained_on("another set")
    assert verify_pairs(embedder, data, pairs, out=tmp_path / "calm", options=options).warnings == ()
    embedder.provenance = trained_on(dataset.sha256)
    result = verify_pairs(embedder, data, pairs, out=tmp_path / "out", options=options)
    (warning,) = result.warnings
    assert warning.startswith(SEEN)
    assert SEEN in result.text()
    assert SEEN in (tmp_path / "out/report.html").read_text()

    written = calibrate(embedder, data, pairs, out=tmp_path / "c.json", options=options)
    assert f"warning: {SEEN}" in written.text()
    read = Calibration.model_validate_json((tmp_path / "c.json").read_bytes())
    assert doubts(read, read.points[0]) == [f"warning: when the thresholds were set: {warning}"]
