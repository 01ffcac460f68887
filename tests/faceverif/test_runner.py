"""A protocol end to end on patterns: each photo once, no pair dropped, every file there."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.atomic import written_whole
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from data_prep.lock import locked
from data_prep.protocols import VerificationProtocol, protocol_alone
from faceverif.models import TorchEmbedder
from faceverif.verification.embedding_file import embed_to_file
from faceverif.verification.embeddings import EmbeddedPhotos, embed_crops, embed_dataset
from faceverif.verification.options import VerificationOptions
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import evaluate, verify

HARD = 110  # noise at which the patterns' accuracy lies between chance and 100 %


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    write_faces(root / "data", noise=HARD)
    write_pairs(root / "pairs.csv")
    return root


@pytest.fixture(scope="module")
def dataset(folder: Path) -> AlignedDataset:
    return AlignedDataset.load(folder / "data")


@pytest.fixture(scope="module")
def protocol(folder: Path) -> VerificationProtocol:
    return protocol_alone(folder / "pairs.csv")


def run(
    dataset: AlignedDataset,
    protocol: VerificationProtocol,
    *,
    flip: bool = False,
    subtract_mean: bool = False,
) -> VerificationResult:
    embedded = EmbeddedPhotos(pattern_embedder(), dataset, flip=flip)
    return evaluate(embedded, protocol, subtract_mean=subtract_mean)


def cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def embedding_of(dataset: AlignedDataset, key: str, *, flip: bool = False) -> NDArray[np.float32]:
    row = list(dataset.column("photo")).index(key + ".jpg")
    crop = dataset.crops.read(np.array([row]))
    embedder = pattern_embedder()
    plain = embedder.embed(crop)[0]
    return plain + embedder.embed(crop[:, :, ::-1])[0] if flip else plain


@pytest.mark.parametrize("flip", [False, True])
def test_scores_are_cosines_of_the_pairs_own_photos(
    dataset: AlignedDataset, protocol: VerificationProtocol, flip: bool
) -> None:
    result = run(dataset, protocol, flip=flip)
    for pair in (0, 1, 20, 55):
        left = embedding_of(dataset, protocol.left[pair], flip=flip)
        right = embedding_of(dataset, protocol.right[pair], flip=flip)
        assert result.scores[pair] == pytest.approx(cosine(left, right), abs=1e-5)
    assert 0.5 < result.accuracy < 1
    assert result.flags == ("flip-averaged" if flip else "no flip") + ", no mean subtraction"


def test_the_mean_is_of_the_other_folds_photos_alone(
    dataset: AlignedDataset, protocol: VerificationProtocol
) -> None:
    result = run(dataset, protocol, subtract_mean=True)
    unit = {}
    for key in {*protocol.left, *protocol.right}:
        embedding = embedding_of(dataset, key)
        unit[key] = embedding / np.linalg.norm(embedding)
    for pair in (0, 7, 31):
        others = protocol.fold != protocol.fold[pair]
        photos = {key for keys in (protocol.left, protocol.right) for key in itertools.compress(keys, others)}
        mean = np.mean([unit[key] for key in photos], axis=0)
        score = cosine(unit[protocol.left[pair]] - mean, unit[protocol.right[pair]] - mean)
        assert result.scores[pair] == pytest.approx(score, abs=1e-5)


def test_a_mean_without_a_readable_photo_is_refused(tmp_path: Path) -> None:
    pairs = protocol_alone(write_pairs(tmp_path / "pairs.csv"))
    halves = replace(pairs, fold=np.arange(len(pairs)) // (len(pairs) // 2))
    first = halves.fold == 0
    named = {key for keys in (halves.left, halves.right) for key in itertools.compress(keys, first)}
    dataset = write_faces(tmp_path / "data", status=dict.fromkeys(named, Status.FAILED))
    with pytest.raises(InputError, match=r"^--subtract-mean: needs a readable photo outside fold 1"):
        run(dataset, halves, subtract_mean=True)


def test_swapping_the_photos_of_every_pair_changes_nothing(
    dataset: AlignedDataset, protocol: VerificationProtocol
) -> None:
    swapped = VerificationProtocol(**{**vars(protocol), "left": protocol.right, "right": protocol.left})
    for subtract_mean in (False, True):
        plain = run(dataset, protocol, subtract_mean=subtract_mean)
        turned = run(dataset, swapped, subtract_mean=subtract_mean)
        np.testing.assert_allclose(plain.scores, turned.scores, atol=1e-7)
        assert plain.accuracy == turned.accuracy


class CountingEmbedder(TorchEmbedder):
    """Counts the crops that it is given."""

    count = 0

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.count += len(crops)
        return super().embed(crops)


@pytest.mark.parametrize(("flip", "times"), [(False, 1), (True, 2)])
def test_each_photo_is_embedded_once(
    dataset: AlignedDataset, protocol: VerificationProtocol, flip: bool, times: int
) -> None:
    model = pattern_embedder()
    embedder = CountingEmbedder(model.backbone, model.spec)
    embedded = EmbeddedPhotos(embedder, dataset, flip=flip)
    first, again = (evaluate(embedded, protocol, subtract_mean=mean).scores for mean in (False, False))
    np.testing.assert_array_equal(first, again)
    assert embedder.count == times * len({*protocol.left, *protocol.right})


def test_missing_faces_are_counted_and_never_dropped(tmp_path: Path) -> None:
    status = {"P00/P00_0001": Status.NO_FACE, "P01/P01_0002": Status.FAILED}
    dataset = write_faces(tmp_path / "data", status=status)
    protocol = protocol_alone(write_pairs(tmp_path / "pairs.csv"))
    result = run(dataset, protocol)
    lost = np.array(["P01/P01_0002" in pair for pair in zip(protocol.left, protocol.right, strict=True)])
    gone = np.array(["P00/P00_0001" in pair for pair in zip(protocol.left, protocol.right, strict=True)])
    content = result.as_json()
    assert (content["pairs"], content["fallback_faces"], content["photos_without_crop"]) == (
        len(protocol),
        1,
        1,
    )
    np.testing.assert_array_equal(result.fallback, lost | gone)
    assert result.scores[lost].tolist() == np.where(protocol.same[lost], -1.0, 1.0).tolist()
    assert not result.metrics.folds.correct[lost].any()
    # Everything else is decided rightly, so that the counts can be done by hand.
    assert result.metrics.folds.correct[~lost].all()
    by_hand = [np.mean(~(lost | gone)[protocol.fold == fold]) for fold in protocol.scored_folds]
    assert result.accuracy_fallback_as_errors == pytest.approx(np.mean(by_hand))


def test_a_pair_without_picture_cannot_raise_the_accuracy(tmp_path: Path) -> None:
    protocol = protocol_alone(write_pairs(tmp_path / "pairs.csv"))
    whole = run(write_faces(tmp_path / "whole", noise=HARD), protocol).accuracy
    for key in ("P03/P03_0001", "P07/P07_0004"):
        lacking = write_faces(tmp_path / key[:3], noise=HARD, status={key: Status.FAILED})
        assert run(lacking, protocol).accuracy <= whole


def test_verify_writes_numbers_scores_figures_and_report(folder: Path, tmp_path: Path) -> None:
    result = verify(
        pattern_embedder(),
        folder / "data",
        folder / "pairs.csv",
        out=tmp_path / "a" / "out",
        options=VerificationOptions(flip=True),
    )
    out = tmp_path / "a" / "out"
    content = json.loads((out / "result.json").read_text())
    wanted = {"accuracy", "accuracy_se", "auc", "eer", "tar_at_far", "pairs", "fallback_faces", "protocol"}
    assert wanted <= content.keys()
    assert (content["accuracy"], content["eer"], content["pairs"]) == (result.accuracy, result.eer, 72)
    assert content["tar_at_far"]["0.001"] is None
    table = pq.read_table(out / "scores.parquet")
    assert {"left", "right", "same", "fold", "score", "fallback"} <= set(table.column_names)
    np.testing.assert_array_equal(table["score"].to_numpy(), result.scores)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"figures/roc.svg", "figures/det.svg", "figures/scores.svg", "report.html"} <= files
    assert len([name for name in files if name.startswith("figures/pairs/")]) == 16
    assert not [name for name in files if "unfinished" in name]


def test_the_text_says_the_number_with_its_protocol(
    dataset: AlignedDataset, protocol: VerificationProtocol
) -> None:
    result = run(dataset, protocol)
    text = result.text()
    assert f"accuracy    {100 * result.accuracy:.2f} +- {100 * result.accuracy_se:.2f} %  (no flip," in text
    assert "pairs: 36 genuine and 36 impostor pairs; no fold column" in text
    assert "not at 0.01, 0.001, 0.0001: too few impostor pairs" in text
    assert "list        separated by commas; columns left, right, same; 1 is the same person" in text
    assert len(text.splitlines()) <= 9


def test_where_no_rate_is_resolved_the_text_has_no_gap(
    dataset: AlignedDataset, protocol: VerificationProtocol
) -> None:
    result = run(dataset, protocol)
    nothing = replace(result.metrics, tar_at_far=dict.fromkeys(result.metrics.tar_at_far))
    text = replace(result, metrics=nothing).text()
    assert "TAR at FAR  not at 0.1, 0.01, 0.001, 0.0001: too few impostor pairs" in text


def test_wrong_data_and_places_are_refused_before_any_work(folder: Path, tmp_path: Path) -> None:
    options = VerificationOptions(flip=True)
    with pytest.raises(InputError, match="--template arcface-128"):
        verify(
            pattern_embedder("arcface-128"),
            folder / "data",
            folder / "pairs.csv",
            out=tmp_path / "o",
            options=options,
        )
    with pytest.raises(InputError, match="made by `faceverif align`"):
        verify(pattern_embedder(), tmp_path, folder / "pairs.csv", out=tmp_path / "o", options=options)
    pairs = write_pairs(tmp_path / "more.csv", people=14)
    with pytest.raises(InputError, match=r"(?s)8 of 56 missing: P12/P12_0001.*--allow-partial"):
        verify(pattern_embedder(), folder / "data", pairs, out=tmp_path / "o", options=options)
    with pytest.raises(InputError, match="must be a folder"):
        verify(pattern_embedder(), folder / "data", folder / "pairs.csv", out=pairs, options=options)
    assert not (tmp_path / "o").exists()


def test_a_data_set_without_any_crop_is_refused(tmp_path: Path) -> None:
    keys = [f"P{person:02d}/P{person:02d}_{photo:04d}" for person in range(12) for photo in range(1, 5)]
    dataset = write_faces(tmp_path / "data", status=dict.fromkeys(keys, Status.FAILED))
    with pytest.raises(InputError, match="photos without a crop"):
        run(dataset, protocol_alone(write_pairs(tmp_path / "pairs.csv")))


def test_a_broken_crop_is_named(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path, people=2, photos=1)
    (tmp_path / "crops/P01/P01_0001.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"P01_0001.png"):
        embed_dataset(pattern_embedder(), dataset, np.arange(2), flip=False)


@pytest.mark.parametrize("flip", [False, True])
def test_embed_writes_every_crop_and_says_how(tmp_path: Path, flip: bool) -> None:
    dataset = write_faces(
        tmp_path / "data",
        people=40,
        status={"P00/P00_0002": Status.FAILED, "P00/P00_0003": Status.NO_FACE},
    )
    embed_to_file(pattern_embedder(), tmp_path / "data", tmp_path / "e.parquet", flip=flip)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["photo", "identity", "status", "embedding"]
    assert table.num_rows == 159
    assert table["status"].to_pylist()[:2] == ["aligned", "no_face"]
    assert pq.ParquetFile(tmp_path / "e.parquet").num_row_groups == 2  # memory does not grow with the set
    wanted = embed_crops(pattern_embedder(), dataset.crops.read(np.array([158])), flip=flip)[0]
    position = table["photo"].to_pylist().index(dataset.column("photo")[158])
    np.testing.assert_array_equal(table["embedding"][position].as_py(), wanted)
    about = json.loads(table.schema.metadata[b"faceverif.embeddings"])
    assert about["model_sha256"] == pattern_embedder().sha256
    assert about["data_sha256"] == dataset.sha256
    assert (about["flip"] == "none") is not flip


def test_embed_refuses_what_it_cannot_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_faces(tmp_path / "data", people=1, photos=1, status={"P00/P00_0001": Status.FAILED})
    with pytest.raises(InputError, match=r"must be a \.parquet file"):
        embed_to_file(pattern_embedder(), tmp_path / "data", tmp_path / "e.csv", flip=True)
    with pytest.raises(InputError, match="at least one crop"):
        embed_to_file(pattern_embedder(), tmp_path / "data", tmp_path / "e.parquet", flip=True)
    (tmp_path / "f.parquet").mkdir()
    with pytest.raises(InputError, match="--out: must be a file; got the folder"):
        embed_to_file(pattern_embedder(), tmp_path / "data", tmp_path / "f.parquet", flip=True)
    with (
        written_whole(tmp_path / "e.parquet"),
        pytest.raises(InputError, match="another `faceverif embed` is writing"),
    ):
        embed_to_file(pattern_embedder(), tmp_path / "data", tmp_path / "e.parquet", flip=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="must be in a place where you may write"):
        embed_to_file(pattern_embedder(), tmp_path / "data", tmp_path / "new/e.parquet", flip=True)
    assert not (tmp_path / "new").exists()


def test_a_protocol_in_part_runs_only_when_told_and_says_so_everywhere(tmp_path: Path) -> None:
    write_faces(tmp_path / "data", people=11)  # the pairs name twelve
    pairs = write_pairs(tmp_path / "pairs.csv")
    out, whole = tmp_path / "out", VerificationOptions(flip=False)
    with pytest.raises(InputError, match="missing"):
        verify(pattern_embedder(), tmp_path / "data", pairs, out=out, options=whole)
    in_part = replace(whole, allow_partial=True)
    result = verify(pattern_embedder(), tmp_path / "data", pairs, out=out, options=in_part)
    said = f"{len(result.scores)} of 72 pairs"
    assert 0 < len(result.scores) < 72
    assert said in result.text().splitlines()[0]
    assert said in json.loads((tmp_path / "out/result.json").read_text())["partial"]
    assert (tmp_path / "out/report.html").read_text().count(said) == 2


def test_a_folder_that_another_process_fills_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("theirs")
    options = VerificationOptions(flip=False)
    with locked(tmp_path, command="faceverif verify"), pytest.raises(InputError, match="must not be in use"):
        verify(pattern_embedder(), folder / "data", folder / "pairs.csv", out=tmp_path, options=options)
    assert (tmp_path / "report.html").read_text() == "theirs"
    assert not (tmp_path / "result.json").exists()


def test_a_photo_whose_embedding_is_not_finite_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_faces(tmp_path, people=2, photos=3)
    embedder, run = pattern_embedder(), TorchEmbedder._run

    def broken(self: TorchEmbedder, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        embeddings = run(self, crops)
        embeddings[3] = np.inf
        return embeddings

    monkeypatch.setattr(TorchEmbedder, "_run", broken)
    with pytest.raises(InputError, match=r"for P01/P01_0001\.jpg\. Train again"):
        embed_dataset(embedder, dataset, np.arange(6), flip=True)
