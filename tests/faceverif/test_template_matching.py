"""IJB templates: pooling and scores against a literal script, and the rules for faces that are missing."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ijb_release
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_faces import PatternNet, face, pattern_embedder
from template_matching import pooled_oracle, tars_oracle

import faceverif
from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset, Status, write_manifest
from data_prep.errors import InputError
from data_prep.ijb import TemplatePairs, TemplatePhotos, find_ijb_files
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.protocols import protocol_alone
from data_prep.work.here import ThisProcess
from faceverif.cli import main
from faceverif.intervals import wilson_interval
from faceverif.models import PreprocessingSpec, TorchEmbedder
from faceverif.template_matching import run
from faceverif.template_matching.options import Pooling
from faceverif.template_matching.photos import PooledPhotos
from faceverif.template_matching.pooling import TemplateSums
from faceverif.template_matching.result import TemplateResult
from faceverif.template_matching.scoring import template_scores, with_certain_errors
from faceverif.template_matching.task import TemplateTask, refuse_options_of_pairs, refuse_pooling
from faceverif.verification.options import Score, VerificationOptions
from faceverif.verification.roc import Roc, RocNumbers

SIDE = 112


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ijb") / "SMALL"
    ijb_release.write_lists(folder)
    ijb_release.write_pictures(folder, lambda person, photo: face(person, photo, side=SIDE, noise=600))
    return folder


@pytest.fixture(scope="module")
def aligned(release: Path) -> Path:
    out = release.parent / "small-112"
    align_folder(release, out, settings=AlignSettings(), engine=ThisProcess())
    return out


def _task(
    lists: Path,
    data: Path,
    pooling: Pooling = Pooling.NORM_SCORE,
    *,
    allow_partial: bool = False,
) -> TemplateTask:
    files = find_ijb_files(lists)
    assert files is not None
    return TemplateTask.of(files, data, pooling, VerificationOptions(flip=False, allow_partial=allow_partial))


def _changed(aligned: Path, out: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """The same crops under a manifest whose rows are changed."""
    out.mkdir()
    (out / "crops").symlink_to(aligned / "crops")
    dataset = AlignedDataset.load(aligned)
    write_manifest(out, dataset.header, [change(row) for row in dataset.table.to_pylist()])
    return out


@st.composite
def photos_of_templates(draw: st.DrawFn) -> tuple[list[int], list[int], list[float], int]:
    count = draw(st.integers(1, 25))
    templates = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    media = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    scores = draw(st.lists(st.floats(0.1, 1), min_size=count, max_size=count))
    return templates, media, scores, draw(st.integers(1, 9))


@pytest.mark.parametrize("pooling", Pooling)
@settings(max_examples=20)
@given(drawn=photos_of_templates(), seed=st.integers(0, 99))
def test_pooling_is_the_scripts(
    pooling: Pooling, drawn: tuple[list[int], list[int], list[float], int], seed: int
) -> None:
    templates, media, scores, batch = drawn
    raw = np.random.default_rng(seed).normal(size=(len(templates), 6)).astype(np.float32)
    groups = list(zip(templates, media, strict=True))
    weights = scores if pooling.by_score else [1.0] * len(scores)
    share = np.array([weight / groups.count(group) for weight, group in zip(weights, groups, strict=True)])
    sums, numbers = TemplateSums(5, pooling), np.array(templates, np.int32)
    for start in range(0, len(raw), batch):
        part = slice(start, start + batch)
        sums.add(raw[part], numbers[part], share[part])
    expected = pooled_oracle(
        raw, templates, media, scores, use_norm=pooling.by_norm, use_score=pooling.by_score
    )
    unit = sums.unit()
    for template in range(5):
        wanted = expected.get(template, np.zeros(6))
        assert unit[template] == pytest.approx(wanted, abs=2e-6)


def test_embeddings_of_zero_length_are_like_nothing() -> None:
    for pooling in Pooling:
        sums = TemplateSums(2, pooling)
        sums.add(np.zeros((2, 3), np.float32), np.array([1, 1], np.int32), np.ones(2))
        assert not sums.unit().any()


def test_scores_of_100_000_pairs_and_their_metrics_are_the_scripts() -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(size=(40, 32))
    templates = np.repeat(np.arange(400), 3)
    media = np.tile([0, 0, 1], 400)
    raw = (people[templates % 40] + rng.normal(size=(1200, 32)) * 1.1).astype(np.float32)
    detector = rng.uniform(0.2, 1, 1200)
    left, right = rng.integers(0, 400, (2, 100_000)).astype(np.int32)
    same = left % 40 == right % 40
    share = detector / np.where(media == 0, 2, 1)
    sums = TemplateSums(400, Pooling.NORM_SCORE)
    sums.add(raw, templates.astype(np.int32), share)
    scores = template_scores(sums.unit(), TemplatePairs(left, right, same))

    pooled = pooled_oracle(
        raw, templates.tolist(), media.tolist(), detector.tolist(), use_norm=True, use_score=True
    )
    literal = np.array([pooled[a] @ pooled[b] for a, b in zip(left.tolist(), right.tolist(), strict=True)])
    assert np.abs(scores - literal).max() < 1e-6
    numbers = RocNumbers.of(scores, same, fars=run.FARS)
    counted = tars_oracle(scores.tolist(), same.tolist(), run.FARS)
    exact = tars_oracle(literal.tolist(), same.tolist(), run.FARS)
    for far, point in numbers.tar_at_far.items():
        if point is None:
            assert far * (~same).sum() < 1
            continue
        assert (point.tar, point.false_accepts) == (pytest.approx(counted[far][0]), counted[far][1])
        assert point.tar == pytest.approx(exact[far][0], abs=2 / same.sum())  # float32 may swap neighbours
    assert 0.2 < numbers.tar_at_far[0.001].tar < 0.98  # type: ignore[union-attr]


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
def test_scores_do_not_depend_on_the_order_of_the_pairs(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(9, 5)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    left, right = rng.integers(0, 9, (2, count)).astype(np.int32)
    scores = template_scores(unit, TemplatePairs(left, right, left == right))
    assert scores == pytest.approx(np.einsum("pd,pd->p", unit[left], unit[right]), abs=1e-6)
    order = rng.permutation(count)
    again = template_scores(unit, TemplatePairs(left[order], right[order], left == right))
    assert again == pytest.approx(scores[order], abs=1e-6)
    assert np.abs(scores).max() <= 1


def test_pairs_of_a_lost_ijb_template_are_errors() -> None:
    pairs = TemplatePairs(
        np.array([0, 0, 1], np.int32), np.array([1, 2, 2], np.int32), np.array([1, 0, 1], bool)
    )
    lost = np.array([True, False, False])
    scores = with_certain_errors(np.full(3, 0.5, np.float32), pairs, lost)
    assert scores.tolist() == [-1, 1, 0.5]


def _literal(task: TemplateTask, pooling: Pooling) -> NDArray[np.float64]:
    """The scores of a small release by the script, from its crops."""
    embedder, dataset = pattern_embedder(), task.dataset
    row = {photo: place for place, photo in enumerate(dataset.column("photo"))}
    listed = ijb_release.photos()
    rows = np.array([row[name] for name, _, _ in listed])
    pooled = pooled_oracle(
        embedder.embed(dataset.crops.read(rows)),
        [template for _, template, _ in listed],
        [medium for _, _, medium in listed],
        [float(score) for score in dataset.column("score")[rows]],
        use_norm=pooling.by_norm,
        use_score=pooling.by_score,
    )
    return np.array([pooled[one] @ pooled[other] for one, other, _ in ijb_release.pairs()])


@pytest.mark.parametrize("pooling", Pooling)
def test_the_whole_way_is_the_scripts(release: Path, aligned: Path, tmp_path: Path, pooling: Pooling) -> None:
    task = _task(release, aligned, pooling)
    result = run.compare_templates(pattern_embedder(), task, folder=tmp_path / "out")
    assert result.scores == pytest.approx(_literal(task, pooling), abs=2e-6)
    assert (result.numbers.roc.genuine, result.numbers.roc.impostors) == (10, 40)
    facts = result.as_json()
    assert facts["pooling"] == pooling.value
    assert facts["tar_at_far"]["0.1"] is not None
    assert facts["tar_at_far"]["0.01"] is None  # 40 impostor pairs
    assert facts["policy"] == "given landmarks"
    assert (facts["templates"], facts["media"], facts["photos"], facts["pairs"]) == (15, 30, 60, 50)


def test_the_command_writes_everything(
    release: Path,
    aligned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shipped = str(Path(faceverif.__file__).parent / "models/shipped")
    arguments = ["verify", "--model", shipped, "--data", str(aligned), "--protocol", str(release / "meta")]
    monkeypatch.setattr(sys, "argv", ["faceverif", *arguments, "--out", str(tmp_path), "--pooling", "norm"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert out.startswith("small: 10 genuine and 40 impostor pairs of 15 IJB templates, 60 photos\n")
    assert "pooling     norm, flip-averaged\n" in out
    assert "1e-06: too few impostor pairs" in out
    facts = json.loads((tmp_path / "result.json").read_text())
    assert (facts["pooling"], facts["flip"]) == ("norm", True)
    table = pq.read_table(tmp_path / "scores.parquet")
    listed = zip(
        table["left"].to_pylist(), table["right"].to_pylist(), table["same"].to_pylist(), strict=True
    )
    assert [(left, right, int(same)) for left, right, same in listed] == ijb_release.pairs()
    assert np.abs(table["score"].to_numpy()).max() <= 1
    assert (table.schema.field("score").type, table.schema.field("left").type) == (pa.float32(), pa.int32())
    page = (tmp_path / "report.html").read_text()
    assert "impostor pairs: too few" in page
    assert page.count("data:image/jpeg") == 16  # eight pairs of each kind
    summary = json.loads((tmp_path / "summary.json").read_text())["numbers"]
    assert summary["tar_at_far"] == facts["tar_at_far"]
    low, high = summary["tar_interval_at_far"]["0.1"]
    assert (low, high) == pytest.approx(wilson_interval(round(10 * facts["tar_at_far"]["0.1"]), 10))


def test_another_pooling_and_a_second_run_embed_nothing_again(
    release: Path, aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.compare_templates(pattern_embedder(), _task(release, aligned, Pooling.MEAN), folder=tmp_path)
    monkeypatch.setattr(
        "faceverif.verification.embedding_parts._embed_missing", lambda *_: pytest.fail("embedded again")
    )
    again = run.compare_templates(pattern_embedder(), _task(release, aligned, Pooling.MEAN), folder=tmp_path)
    assert (first.scores == again.scores).all()
    other = run.compare_templates(pattern_embedder(), _task(release, aligned, Pooling.NORM), folder=tmp_path)
    assert (first.scores != other.scores).any()


def test_embeddings_of_another_model_are_replaced(release: Path, aligned: Path, tmp_path: Path) -> None:
    first = run.compare_templates(pattern_embedder(), _task(release, aligned), folder=tmp_path)
    net = PatternNet()
    net.scale.weight.data[0] = 0.1  # sees less of one colour
    other = TorchEmbedder(net, PreprocessingSpec.of(find_template("arcface-112"), input_px=SIDE))
    assert other.sha256 != pattern_embedder().sha256
    second = run.compare_templates(other, _task(release, aligned), folder=tmp_path)
    assert (first.scores != second.scores).any()


def test_only_embeddings_of_ours_are_replaced_and_it_is_said(
    release: Path, aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, task = tmp_path / "embeddings", _task(release, aligned)
    run.compare_templates(pattern_embedder(), task, folder=folder)
    run.compare_templates(pattern_embedder(), replace(task, flip=True), folder=folder)
    assert f"replacing the embeddings in {folder}, which are of the other --flip" in capsys.readouterr().err
    (folder / ".DS_Store").touch()
    run.compare_templates(pattern_embedder(), task, folder=folder)
    (folder / "lfw.parquet").write_bytes(b"of the user")
    run.compare_templates(pattern_embedder(), task, folder=folder)  # there is nothing to replace
    with pytest.raises(InputError, match=r"holds lfw\.parquet\. Name another --out"):
        run.compare_templates(pattern_embedder(), replace(task, flip=True), folder=folder)
    assert (folder / "lfw.parquet").read_bytes() == b"of the user"
    assert (folder / "about.json").is_file()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="must have room for a folder of embeddings"):
        run.compare_templates(pattern_embedder(), task, folder=tmp_path / "file")


def _result(release: Path, data: Path, out: Path, pooling: Pooling = Pooling.NORM_SCORE) -> TemplateResult:
    return run.compare_templates(pattern_embedder(), _task(release, data, pooling), folder=out)


def test_a_photo_without_a_face_counts_only_where_its_template_has_no_other(
    release: Path, aligned: Path, tmp_path: Path
) -> None:
    lost = {name for name, template, _ in ijb_release.photos() if template == ijb_release.FIRST + 1}

    def change(row: dict[str, Any]) -> dict[str, Any]:
        if row["photo"] in lost | {"1.jpg"}:  # all of an IJB template, and one of four of another
            return row | {"status": Status.NO_FACE.value, "reason": "no_face", "score": None}
        return row

    data = _changed(aligned, tmp_path / "data", change)
    result = _result(release, data, tmp_path / "out")
    assert result.photos.without_face.tolist() == [False, True, *[False] * 13]
    assert result.photos.no_face == 5
    assert int(result.fallback.sum()) == 5  # its pair with each of the five people
    assert 1001 in result.protocol.photos.ids
    task = _task(release, aligned)
    kept = task.protocol.photos.names.to_pylist().index("1.jpg")
    without = task.protocol.photos.part(np.arange(60) != kept)
    only = replace(task.protocol, photos=without)
    other = run.compare_templates(
        pattern_embedder(), replace(task, protocol=only, photos=_photos(without, task)), folder=tmp_path / "b"
    )
    pairs = ~result.fallback
    assert result.scores[pairs] == pytest.approx(other.scores[pairs], abs=1e-6)
    assert result.as_json()["templates_without_face"] == 1


def _photos(photos: TemplatePhotos, task: TemplateTask) -> PooledPhotos:
    return PooledPhotos.of(photos, task.dataset, pooling=task.pooling)


def test_an_ijb_template_without_any_crop_costs_its_pairs_and_none_is_dropped(
    release: Path, aligned: Path, tmp_path: Path
) -> None:
    lost = {name for name, template, _ in ijb_release.photos() if template == ijb_release.FIRST + 1}

    def change(row: dict[str, Any]) -> dict[str, Any]:
        nothing = {"status": Status.FAILED.value, "reason": "not_an_image", "crop": None, "score": None}
        return row | nothing if row["photo"] in lost else row

    result = _result(release, _changed(aligned, tmp_path / "data", change), tmp_path / "out")
    assert len(result.scores) == ijb_release.PAIRS
    pairs = result.protocol.pairs
    gone = pairs.right == 1
    assert result.scores[gone & pairs.same].tolist() == [-1]
    assert result.scores[gone & ~pairs.same].tolist() == [1] * 4
    assert (np.abs(result.scores[~gone]) < 1).all()
    assert "4 photos, 1 whole IJB template, 5 pairs" in result.text()


def test_detector_scores_that_are_missing_or_all_zero(release: Path, aligned: Path, tmp_path: Path) -> None:
    none = _changed(aligned, tmp_path / "none", lambda row: row | {"score": None})
    with pytest.raises(InputError, match=r"norm-score needs a detector score.*none of 60.*--pooling norm\."):
        _task(release, none)
    with pytest.raises(InputError, match=r"score needs a detector score.*--pooling mean\."):
        _task(release, none, Pooling.SCORE)
    plain = _result(release, none, tmp_path / "a", Pooling.MEAN)
    zero = _changed(aligned, tmp_path / "zero", lambda row: row | {"score": 0.0})
    equal = _result(release, zero, tmp_path / "b", Pooling.SCORE)
    assert equal.scores == pytest.approx(plain.scores, abs=1e-6)


def test_photos_that_the_data_set_lacks(release: Path, aligned: Path, tmp_path: Path) -> None:
    first = {name for name, template, _ in ijb_release.photos() if template == ijb_release.FIRST}
    out = tmp_path / "fewer"
    out.mkdir()
    (out / "crops").symlink_to(aligned / "crops")
    dataset = AlignedDataset.load(aligned)
    rows = [row for row in dataset.table.to_pylist() if row["photo"] not in first]
    write_manifest(out, dataset.header, rows)
    with pytest.raises(InputError, match=r"4 of 60 missing: 1.jpg"):
        _task(release, out)
    task = _task(release, out, allow_partial=True)
    assert task.protocol.partial is not None
    assert task.protocol.partial.startswith("56 photos of 14 IJB templates, 8 genuine and 32 impostor")
    result = run.compare_templates(pattern_embedder(), task, folder=tmp_path / "out")
    assert result.text().startswith("small (partial: 56 photos of 14 IJB templates")
    assert result.as_json()["partial"] == task.protocol.partial


def test_embeddings_that_are_not_finite_name_a_photo(release: Path, aligned: Path, tmp_path: Path) -> None:
    net = PatternNet()
    net.scale.weight.data[:] = math.nan
    embedder = TorchEmbedder(net, PreprocessingSpec.of(find_template("arcface-112"), input_px=SIDE))
    with pytest.raises(InputError, match=r"\.jpg"):
        run.compare_templates(embedder, _task(release, aligned), folder=tmp_path / "out")


def test_crops_in_another_template_are_refused(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "small-64"
    align_folder(release, out, settings=AlignSettings("arcface-64"), engine=ThisProcess())
    with pytest.raises(InputError, match="arcface-64"):
        run.compare_templates(pattern_embedder(), _task(release, out), folder=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "score", "says"),
    [
        (VerificationOptions(flip=True, subtract_mean=True), Score.COSINE, "--subtract-mean: is for pairs"),
        (VerificationOptions(flip=True), Score.PCA_MAHALANOBIS, "--score: is for pairs of photos"),
        (VerificationOptions(flip=True, groups=("age",)), Score.COSINE, "--groups: is for pairs of photos"),
    ],
)
def test_options_of_other_protocols_are_refused(
    options: VerificationOptions, score: Score, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        refuse_options_of_pairs(options, score)


def test_pooling_is_refused_elsewhere_and_ijbs_lists_are_no_pairs_of_photos(release: Path) -> None:
    with pytest.raises(InputError, match="--pooling: is for a --protocol of IJB templates"):
        refuse_pooling(Pooling.MEAN)
    refuse_pooling(None)
    with pytest.raises(InputError, match=r"must be pairs of photos here.*faceverif verify --protocol .*meta"):
        protocol_alone(release)


def test_a_thinned_curve_holds_points_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    scores, same = rng.normal(size=60_000), rng.random(60_000) < 0.3
    whole = RocNumbers.of(scores + same, same).roc
    few = whole.thinned(500)
    assert len(few.thresholds) <= 501
    points = set(
        zip(whole.thresholds.tolist(), whole.true_accepts.tolist(), whole.false_accepts.tolist(), strict=True)
    )
    assert (
        set(zip(few.thresholds.tolist(), few.true_accepts.tolist(), few.false_accepts.tolist(), strict=True))
        <= points
    )
    assert (few.genuine, few.impostors) == (whole.genuine, whole.impostors)
    assert whole.thinned(60_001) is whole
    below = Roc.thinned(whole, 500)
    assert (np.interp(whole.far, below.far, below.tar) - whole.tar).max() < 0.01
