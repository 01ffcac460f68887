"""Errors over discarded pairs against a literal count, and pairs of a least quality."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import discard as oracle
import numpy as np
import pytest
from small_faces import manifest_row, pattern_embedder, write_faces, write_pairs

from data_prep.dataset.manifest import AlignedDataset, Status, write_manifest
from data_prep.errors import InputError
from data_prep.protocols import protocol_alone
from data_prep.quality.sharpness import sharpness
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.options import VerificationOptions
from faceverif.verification.quality.discard import DiscardCurve, by_chance, discard_report, ideal_curve
from faceverif.verification.quality.figure import discard_panel
from faceverif.verification.quality.measures import pair_quality
from faceverif.verification.quality.names import ALL_MEASURES, least_quality
from faceverif.verification.roc import roc_curve, tar_at_far
from faceverif.verification.runner import verify
from faceverif.verification.scoring import PairPhotos


@pytest.mark.parametrize("seed", range(6))
def test_a_curve_is_that_of_a_literal_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality = rng.integers(0, 12, 60) / 7 if seed % 2 else rng.normal(size=60)
    quality[rng.random(60) < 0.1 * (seed // 2)] = np.nan
    wrong = rng.random(60) < 0.2
    curve = DiscardCurve.of(quality, wrong)
    for share in (0.0, 0.05, 0.1, 0.31, 0.5, 0.99):
        expected = oracle.rate_where_at_most(share, quality.tolist(), wrong.tolist())
        assert curve.rate_at(share) == pytest.approx(expected)
    for to in (0.2, 0.5):
        assert curve.area(to) == pytest.approx(oracle.area(to, quality.tolist(), wrong.tolist()))


def test_the_ideal_measure_discards_errors_first_and_no_measure_is_below_it() -> None:
    rng = np.random.default_rng(3)
    wrong = rng.random(200) < 0.1
    errors = int(wrong.sum())
    ideal = ideal_curve(200, errors)
    assert ideal.rate_at(0.05) == (errors - 10) / 190
    assert ideal.rate_at(errors / 200) == 0
    areas = [DiscardCurve.of(rng.normal(size=200), wrong).area() for _ in range(20)]
    assert ideal.area() < min(areas)
    assert by_chance(ideal) == 1 / 1001
    assert by_chance(DiscardCurve.of(-np.arange(200.0), np.arange(200) < errors)) == 1


def test_chance_is_the_share_of_orders_that_do_as_well() -> None:
    """All orders of 6 pairs with 2 errors, of which a fifth and more of the first pair is discarded."""
    curve = DiscardCurve.of(np.arange(6.0), np.array([True, False, False, True, False, False]))
    orders = [
        DiscardCurve.of(np.arange(6.0), np.isin(np.arange(6), places)).area() <= curve.area() + 1e-12
        for places in itertools.combinations(range(6), 2)
    ]
    assert by_chance(curve) == pytest.approx(np.mean(orders), abs=0.05)


def test_a_report_orders_measures_and_names_those_that_are_not_known() -> None:
    rng = np.random.default_rng(4)
    same = rng.random(900) < 0.5
    scores = rng.normal(np.where(same, 1.2, 0), 0.6)
    point = tar_at_far(roc_curve(scores, same), 0.05)
    useful, useless, unknown = scores + rng.normal(size=900), rng.normal(size=900), np.full(900, np.nan)
    found = discard_report(
        {"sharpness": useless, "norm": useful, "score": unknown}, scores, same, point=point, target=0.05
    )
    assert list(found.curves) == ["norm", "sharpness"]
    assert found.missing == ("score",)
    facts = json.loads(json.dumps(found.as_json(), allow_nan=False))
    norm, sharp = facts["measures"]
    assert norm["by_chance"] < 0.01 < sharp["by_chance"]
    assert norm["rate_at"]["0"] == sharp["rate_at"]["0"] == facts["frr"] == point.frr
    assert facts["false_non_matches"] == point.false_rejects
    assert any("score: not known of any genuine pair" in line for line in found.lines())
    nothing = discard_report({"score": unknown}, scores, same, point=point, target=0.05)
    assert nothing.lines()[-1] == "  no measure is known of any genuine pair"
    empty = nothing.as_json()
    assert (empty["measures"], empty["genuine_pairs"], empty["not_known"]) == ([], same.sum(), ["score"])
    assert "no measure is known of any of them" in discard_panel(empty).alt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patterns, the photo 0001 of each without landmarks and that of P03 without a face."""
    root = tmp_path_factory.mktemp("quality")
    dataset = write_faces(root / "data", noise=110)
    rows = []
    for number, key in enumerate(dataset.column("photo").tolist()):
        row = manifest_row(key.removesuffix(".jpg"))
        if not key.endswith("0001.jpg"):
            row |= {"score": number / 100, "landmarks": [10, 20, 10 + number, 20, 18, 30, 11, 40, 22, 40]}
        if key == "P03/P03_0001.jpg":
            row |= {"status": Status.NO_FACE.value, "reason": "no_face"}
        rows.append(row)
    write_manifest(root / "data", dataset.header, rows)
    write_pairs(root / "pairs.csv")
    return root


def test_a_pair_is_as_good_as_its_worse_photo(folder: Path) -> None:
    dataset, protocol = AlignedDataset.load(folder / "data"), protocol_alone(folder / "pairs.csv")
    photos, embedded = (
        PairPhotos.of(protocol, dataset),
        EmbeddedPhotos(pattern_embedder(), dataset, flip=False),
    )
    found = pair_quality(photos, embedded, ALL_MEASURES)
    keys = [f"{key}.jpg" for key in dataset.column("photo")]
    for pair in (0, 3, 18, 19, 40):
        rows = [keys.index(f"{side[pair]}.jpg.jpg") for side in (protocol.left, protocol.right)]
        crops = dataset.crops.read(np.array(rows))
        no_face = "P03/P03_0001" in (protocol.left[pair], protocol.right[pair])
        norms = np.linalg.norm(pattern_embedder().embed(crops), axis=1)
        sharp = min(map(sharpness, crops))
        size = np.nan if "0001" in protocol.left[pair] + protocol.right[pair] else min(rows)
        assert found["norm"][pair] == pytest.approx(np.nan if no_face else min(norms), nan_ok=True)
        assert found["sharpness"][pair] == pytest.approx(np.nan if no_face else sharp, nan_ok=True)
        assert found["eye_distance_px"][pair] == pytest.approx(size, nan_ok=True)
        assert found["score"][pair] == pytest.approx(size / 100, nan_ok=True)


def run(folder: Path, out: Path, least: dict[str, float]) -> dict[str, Any]:
    options = VerificationOptions(flip=False, quality=not least, least_quality=least)
    verify(pattern_embedder(), folder / "data", folder / "pairs.csv", out=out, options=options)
    return json.loads((out / "result.json").read_text())


def test_the_curves_stand_in_every_output(folder: Path, tmp_path: Path) -> None:
    facts = run(folder, tmp_path, {})["discard"]
    assert {each["measure"] for each in facts["measures"]} == set(ALL_MEASURES)
    unknown = {each["measure"]: each["unknown_pairs"] for each in facts["measures"]}
    assert unknown == {"norm": 1, "sharpness": 1, "score": 12, "eye_distance_px": 12, "frontal": 12}
    assert facts["genuine_pairs"] == 36
    summary = json.loads((tmp_path / "summary.json").read_text())["numbers"]["discard_area"]
    assert set(summary) == set(ALL_MEASURES)
    assert "Error versus discard" in (tmp_path / "report.html").read_text()


def test_pairs_of_a_least_quality_are_a_part_that_says_what_is_left_out(folder: Path, tmp_path: Path) -> None:
    """A photo's number is its size, and a hundredth of it its score; the first of each person has neither."""
    protocol = protocol_alone(folder / "pairs.csv")
    number = {f"P{row // 4:02d}/P{row // 4:02d}_{row % 4 + 1:04d}": row for row in range(48)}
    sides = zip(protocol.left, protocol.right, strict=True)
    kept = np.array([all(number[key] >= 7 and number[key] % 4 for key in pair) for pair in sides])
    lost = int((protocol.same & ~kept).sum()), int((~protocol.same & ~kept).sum())
    facts = run(folder, tmp_path, {"score": 0.05, "eye_distance_px": 7})
    least = "score of at least 0.05 and eye_distance_px of at least 7"
    text = f"left out {lost[0]} genuine and {lost[1]} impostor pairs without {least}"
    assert facts["partial"] == f"{kept.sum()} of 72 pairs, 10 of 10 folds; {text}"
    assert facts["pairs"] == kept.sum()
    page = (tmp_path / "report.html").read_text()
    assert "<h1>pairs (partial)</h1>" in page
    assert text in page


def test_a_photo_without_a_face_has_no_quality(folder: Path, tmp_path: Path) -> None:
    facts = run(folder, tmp_path, {"sharpness": -1})
    assert facts["partial"] == (
        "69 of 72 pairs, 10 of 10 folds; "
        "left out 1 genuine and 2 impostor pairs without sharpness of at least -1"
    )


def test_a_least_quality_that_leaves_nothing_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"got 0 and 0 with norm of at least 1e\+09. Lower it: half of the pairs"
    ):
        run(folder, tmp_path / "out", {"norm": 1e9})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            ["sharp=3"],
            "--min-quality: must be MEASURE=VALUE, such as sharpness=200; got sharp=3. Measures: norm,",
        ),
        (["sharpness"], "must be MEASURE=VALUE"),
        (["=3"], "must be MEASURE=VALUE"),
        (["norm=3", "norm=4"], "must name norm once; got norm=4"),
        (["norm=three"], "must have a number as its value; got norm=three"),
        (["norm=nan"], "must have a number"),
        (["norm=inf"], "must have a number"),
    ],
)
def test_a_least_quality_in_another_form_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(InputError) as refused:
        least_quality(texts)
    assert said in str(refused.value)
    assert least_quality(["norm=3", "frontal=0.5"]) == {"norm": 3.0, "frontal": 0.5}
