"""Different people with nearly the same embedding: a warning in every output, and none without need."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from small_faces import PatternNet, pattern_embedder, write_faces, write_pairs
from torch import Tensor

from data_prep.dataset.manifest import AlignedDataset, write_manifest
from data_prep.protocols import protocol_alone
from faceverif.verification.calibrate import calibrate
from faceverif.verification.collapse import (
    collapse_warning,
    collapse_warning_of_photos,
    different_photos,
)
from faceverif.verification.embedding_file import embed_to_file
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.options import VerificationOptions
from faceverif.verification.runner import evaluate, write_result


def around(mean_cosine: float, count: int = 20) -> NDArray[np.float64]:
    """Vectors of which any two have this cosine."""
    gram = np.full((count, count), mean_cosine) + np.eye(count) * (1 - mean_cosine)
    return np.linalg.cholesky(gram) * np.arange(1, count + 1)[:, None]


@pytest.mark.parametrize(("cosine", "warned"), [(0.0, False), (0.69, False), (0.71, True), (0.93, True)])
def test_the_mean_cosine_decides_whatever_the_lengths(cosine: float, warned: bool) -> None:
    warning = collapse_warning(pattern_embedder(), around(cosine))
    assert (warning is not None) == warned
    if warning is not None:
        assert (
            f"20 photos of different people have nearly the same embedding, mean cosine {cosine}" in warning
        )


def test_embeddings_that_are_all_zero_have_collapsed() -> None:
    assert "mean cosine 1.00" in str(collapse_warning(pattern_embedder(), np.zeros((20, 3), np.float32)))


def test_each_photo_is_of_another_person_and_few_people_tell_nothing(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path / "a", people=30, photos=2)
    chosen = dataset.column("identity")[different_photos(dataset, np.arange(60))]
    assert len(set(chosen)) == len(chosen) == 20
    few = write_faces(tmp_path / "b", people=4, photos=9)
    assert len(different_photos(few, np.arange(36))) == 0
    assert collapse_warning(pattern_embedder(), np.empty((0, 3))) is None


def test_where_nobody_is_named_any_twenty_photos_do(tmp_path: Path) -> None:
    named = write_faces(tmp_path, people=5, photos=5)
    write_manifest(tmp_path, named.header, [row | {"identity": None} for row in named.table.to_pylist()])
    dataset = AlignedDataset.load(tmp_path)
    assert len(set(different_photos(dataset, np.arange(25)))) == 20
    assert len(different_photos(dataset, np.arange(19))) == 0


def test_photos_of_unknown_people_warn_from_twenty_on_and_say_the_doubt() -> None:
    embedder = pattern_embedder()
    assert collapse_warning_of_photos(embedder, around(0.9, count=19)) is None
    assert collapse_warning_of_photos(embedder, around(0.6, count=50)) is None
    warning = collapse_warning_of_photos(embedder, around(0.9, count=50))
    assert str(warning).startswith("20 photos of different people")
    assert str(warning).endswith("unless these photos show one person")


def test_the_warning_is_in_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_faces(tmp_path / "data", people=8)
    pairs = protocol_alone(write_pairs(tmp_path / "pairs.csv", people=8))
    calm = evaluate(EmbeddedPhotos(pattern_embedder(), dataset, flip=False), pairs, subtract_mean=False)
    assert (calm.warnings, calm.as_json()["warnings"]) == ((), [])

    def shifted(self: PatternNet, pixels: Tensor) -> Tensor:
        return self.pool(pixels).flatten(1)  # without its middle taken away, all point one way

    monkeypatch.setattr(PatternNet, "forward", shifted)
    result = evaluate(EmbeddedPhotos(pattern_embedder(), dataset, flip=False), pairs, subtract_mean=False)
    (warning,) = result.warnings
    assert warning in result.text()
    write_result(result, tmp_path / "out")
    assert json.loads((tmp_path / "out/result.json").read_text())["warnings"] == [warning]
    assert warning in (tmp_path / "out/report.html").read_text()

    embed_to_file(pattern_embedder(), tmp_path / "data", tmp_path / "e.parquet", flip=False)
    assert warning in capsys.readouterr().err
    about = pq.read_schema(tmp_path / "e.parquet").metadata[b"faceverif.embeddings"]
    assert json.loads(about)["warnings"] == [warning]

    options = VerificationOptions(flip=False)
    files = tmp_path / "data", tmp_path / "pairs.csv"
    written = calibrate(pattern_embedder(), *files, out=tmp_path / "c.json", options=options)
    assert f"warning: {warning}" in written.text()
