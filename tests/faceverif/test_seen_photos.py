"""A model verified on photos that it was trained on: a warning in every output, and none without need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_faces import pattern_embedder, write_faces, write_pairs

from faceverif.verification.calibrate import calibrate
from faceverif.verification.calibration import Calibration
from faceverif.verification.compare import doubts
from faceverif.verification.options import VerificationOptions
from faceverif.verification.runner import verify as verify_pairs
from faceverif.verification.seen_photos import SEEN_WARNING, training_sets


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


def test_every_output_says_that_the_model_knows_the_people(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path / "data", people=8)
    data, pairs = tmp_path / "data", write_pairs(tmp_path / "pairs.csv", people=8)
    options, embedder = VerificationOptions(flip=False), pattern_embedder()

    embedder.provenance = trained_on("another set")
    assert verify_pairs(embedder, data, pairs, out=tmp_path / "calm", options=options).warnings == ()
    embedder.provenance = trained_on(dataset.sha256)
    result = verify_pairs(embedder, data, pairs, out=tmp_path / "out", options=options)
    assert result.warnings == (SEEN_WARNING,)
    assert SEEN_WARNING in result.text()
    assert SEEN_WARNING in (tmp_path / "out/report.html").read_text()

    written = calibrate(embedder, data, pairs, out=tmp_path / "c.json", options=options)
    assert f"warning: {SEEN_WARNING}" in written.text()
    read = Calibration.model_validate_json((tmp_path / "c.json").read_bytes())
    assert doubts(read, read.points[0]) == [f"warning: when the thresholds were set: {SEEN_WARNING}"]
