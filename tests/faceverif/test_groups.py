"""Error rates of groups: where columns come from, which pairs are counted where, against a literal count."""

from __future__ import annotations

import html
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from groups import counted, walter_interval
from small_faces import manifest_row, pattern_embedder, write_faces, write_pairs

from data_prep.dataset.manifest import AlignedDataset, write_manifest
from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol, protocol_alone
from faceverif.report.plotting import house_style
from faceverif.report.svg import draw
from faceverif.verification.groups.figure import group_panels
from faceverif.verification.groups.grouping import MIXED, UNKNOWN, Grouping, find_groupings
from faceverif.verification.groups.rates import (
    GroupRates,
    GroupRow,
    Rate,
    group_rates,
    largest_ratio,
    ratio_interval,
)
from faceverif.verification.options import VerificationOptions
from faceverif.verification.roc import chosen_far, roc_curve, tar_at_far
from faceverif.verification.runner import verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("groups")
    write_faces(root / "data", noise=110)
    pairs = write_pairs(root / "pairs.csv").read_text().splitlines()
    header, *lines = pairs
    sided = [
        f"{line},{'xy'[number % 2]},{'xxy'[number % 3]},{number % 40}" for number, line in enumerate(lines)
    ]
    (root / "sided.csv").write_text("\n".join([f"{header},race1,race2,year", *sided]) + "\n")
    people = [
        f"P{person:02d},{'FM'[person % 2] if person else ''},{20 + 3 * person},{person / 10}"
        for person in range(12)
    ]
    (root / "people.csv").write_text("\n".join(["identity,sex,age,share", *people]) + "\n")
    return root


def grouped(folder: Path, wanted: str, *, pairs: str = "sided.csv", attributes: bool = True) -> Grouping:
    protocol, dataset = protocol_alone(folder / pairs), AlignedDataset.load(folder / "data")
    file = folder / "people.csv" if attributes else None
    [grouping] = find_groupings([wanted], protocol, dataset, file)
    return grouping


def test_counts_are_those_of_a_literal_count() -> None:
    rng = np.random.default_rng(5)
    values = np.array(["a", "b", "c", None], dtype=object)
    left, right = (values[rng.choice(4, 3000, p=[0.5, 0.28, 0.2, 0.02])] for _ in range(2))
    same = rng.random(3000) < 0.5
    right[same] = left[same]
    scores = rng.normal(np.where(same, 1.0, 0.0), np.where(left == "b", 1.5, 0.7)).round(2)
    protocol = VerificationProtocol(
        "p",
        ("l",) * 3000,
        ("r",) * 3000,
        same,
        np.zeros(3000, np.int64),
        (0,),
        "",
        "",
        "",
        columns={"g1": tuple(each or "" for each in left), "g2": tuple(each or "" for each in right)},
    )
    nothing = SimpleNamespace(own_columns=dict)  # of the data set nothing is asked
    [grouping] = find_groupings(["g"], protocol, nothing, None)  # type: ignore[arg-type]
    point = tar_at_far(roc_curve(scores, same), 0.2)
    found = group_rates(scores, same, grouping, point=point, target=0.2)
    expected = counted(list(zip(left, right, scores, same, strict=True)), point.threshold)
    assert {
        row.group: [
            row.false_match.pairs,
            row.false_match.errors,
            row.false_non_match.pairs,
            row.false_non_match.errors,
        ]
        for row in found.rows
    } == expected
    assert sum(row.false_match.pairs + row.false_non_match.pairs for row in found.rows) == 3000
    ratio = found.false_match_ratio
    assert ratio is not None
    assert ratio.highest == "b"
    assert ratio.by_chance < 0.05
    (n, a), (m, b) = (expected[name][:2] for name in (ratio.highest, ratio.lowest))
    assert ratio.ratio == pytest.approx((a / n) / (b / m))
    assert (ratio.low, ratio.high) == pytest.approx(walter_interval(a, n, b, m))


def test_a_ratio_that_chance_explains_says_so() -> None:
    rates = {name: Rate(errors, 400, True) for name, errors in {"a": 10, "b": 12, "c": 14, "d": 9}.items()}
    found = largest_ratio(rates)
    assert found is not None
    assert found.by_chance > 0.5
    assert replace(found, by_chance=1.0, high=1534.0).text.endswith("by chance as large in 100 %")
    assert f"to 1,500), {found.highest} over" in replace(found, high=1534.0).text
    equal = largest_ratio({"a": Rate(10, 400, True), "b": Rate(5, 200, True)})
    assert equal is not None
    assert (equal.text, equal.highest != equal.lowest) == ("1, all rates are equal", True)
    assert found.low < 1 < (found.high or 0)


def test_a_rate_of_zero_has_a_ratio_without_upper_end() -> None:
    found = largest_ratio({"a": Rate(30, 300, True), "b": Rate(0, 300, True), "c": Rate(9, 9, False)})
    assert found is not None
    assert (found.highest, found.lowest, found.ratio, found.high) == ("a", "b", None, None)
    assert found.low == pytest.approx(walter_interval(30, 300, 0, 300)[0])
    assert found.low > 1
    assert "above" in found.text
    assert largest_ratio({"a": Rate(0, 300, True), "b": Rate(0, 300, True)}) is None
    assert largest_ratio({"a": Rate(9, 300, True), "b": Rate(9, 20, False)}) is None
    assert ratio_interval(Rate(3, 40, True), Rate(5, 70, True)) == pytest.approx(
        walter_interval(3, 40, 5, 70)
    )


@pytest.mark.parametrize(
    ("wanted", "names", "origin"),
    [
        ("race", ("x", "y"), "columns race1 and race2 of the list of pairs"),
        ("race1", ("x", "y"), "the list of pairs"),
        ("sex", ("F", "M"), "people.csv"),
        ("age:10", ("20 to 30", "30 to 40", "40 to 50", "50 to 60"), "people.csv"),
        ("share:0.1", tuple(f"{tenth / 10:g} to {(tenth + 1) / 10:g}" for tenth in range(12)), "people.csv"),
        ("age:25,50", ("below 25", "25 to 50", "50 and more"), "people.csv"),
        ("age:40,", ("below 40", "40 and more"), "people.csv"),
        ("year", ("below 9", "9 to 18", "18 to 27", "27 and more"), "the list of pairs"),
        ("year:q2", ("below 18", "18 and more"), "the list of pairs"),
        ("identity", tuple(f"P{number:02d}" for number in range(12)), "the manifest"),
        ("folder", tuple(f"P{number:02d}" for number in range(12)), "the names of the photos"),
    ],
)
def test_columns_come_from_the_list_a_file_or_the_manifest(
    folder: Path, wanted: str, names: tuple[str, ...], origin: str
) -> None:
    grouping = grouped(folder, wanted)
    assert grouping.names == names
    assert grouping.origin.endswith(origin)


def test_a_column_that_somebody_added_to_the_manifest_is_found(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path / "data", people=4, photos=2)
    write_pairs(tmp_path / "pairs.csv", people=4, photos=2)
    path = tmp_path / "data" / "manifest.parquet"
    table = pq.read_table(path)
    worn = [None if "P03" in photo else photo[1:3] > "01" for photo in dataset.column("photo")]
    pq.write_table(table.append_column("glasses", pa.array(worn)).append_column("box2", table["box"]), path)
    protocol, dataset = protocol_alone(tmp_path / "pairs.csv"), AlignedDataset.load(tmp_path / "data")
    [grouping] = find_groupings(["glasses"], protocol, dataset, None)
    assert grouping.names == ("False", "True")
    assert grouping.group.tolist() == [0, 0, 0, MIXED, 1, UNKNOWN, UNKNOWN, UNKNOWN]
    with pytest.raises(InputError, match=r"There are: glasses, folder,"):
        find_groupings(["box2"], protocol, dataset, None)


def test_a_number_is_one_group_however_it_is_written(folder: Path, tmp_path: Path) -> None:
    """A program that has no whole number for what is unknown writes the whole column with a point."""
    header, *lines = (folder / "pairs.csv").read_text().splitlines()
    said = [("1", "1.0"), ("2", "2.0"), ("1", "2.0"), ("2", ""), ("1.5", "1.50")]
    rows = [f"{line},{','.join(said[place % len(said)])}" for place, line in enumerate(lines)]
    (tmp_path / "pairs.csv").write_text("\n".join([f"{header},group1,group2", *rows]) + "\n")
    [grouping] = find_groupings(
        ["group"], protocol_alone(tmp_path / "pairs.csv"), AlignedDataset.load(folder / "data"), None
    )
    assert grouping.names == ("1", "1.5", "2")
    assert grouping.group[:5].tolist() == [0, 2, MIXED, UNKNOWN, 1]


def test_pairs_of_two_groups_and_of_unknown_ones_are_counted_apart(folder: Path) -> None:
    protocol = protocol_alone(folder / "pairs.csv")
    grouping = grouped(folder, "sex", pairs="pairs.csv")
    for pair in range(len(protocol)):
        people = {int(protocol.left[pair][1:3]), int(protocol.right[pair][1:3])}
        sexes = {"?FM"[1 + person % 2] if person else "?" for person in people}
        expected = UNKNOWN if "?" in sexes else MIXED if len(sexes) > 1 else "FM".index(*sexes)
        assert grouping.group[pair] == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("nose", "got nose. There are: race1, race2, year, sex, age, share, folder, identity, status, "),
        ("width", "--groups width: must have two groups or more; got one, 250, for all pairs."),
        ("score", "got no value for any pair"),
        (
            "age:0",
            "--groups: bins must be a width above 0, rising bounds, or q and a number of parts; got age:0",
        ),
        ("age:9,3", "bins must be"),
        ("age:", "bins must be"),
        ("age:old", "bins must be"),
        ("age:q1", "bins must be"),
        ("age:q\N{SUPERSCRIPT TWO}", "bins must be"),
        ("age:nan", "bins must be"),
        ("year:1", "must have at most 24 groups; got 40: 0 to 1, 1 to 2, 2 to 3 and 37 more"),
        ("sex:10", "--groups sex:10: bins are for columns of numbers; got values such as F, M."),
    ],
)
def test_columns_that_are_no_groups_are_refused(folder: Path, wanted: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        grouped(folder, wanted)
    assert said in str(refused.value)


def test_names_that_are_numbers_are_not_put_into_bins(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path / "data", people=30, photos=2)
    rows = [
        manifest_row(photo.removesuffix(".jpg")) | {"identity": photo[1:3]}
        for photo in dataset.column("photo")
    ]
    write_manifest(tmp_path / "data", dataset.header, rows)
    protocol = protocol_alone(write_pairs(tmp_path / "pairs.csv", people=30, photos=2))
    with pytest.raises(InputError, match="must have at most 24 groups; got 30: 00, 01, 02 and 27 more"):
        find_groupings(["identity"], protocol, AlignedDataset.load(tmp_path / "data"), None)


def test_a_warning_names_a_few_of_many_small_groups() -> None:
    proper, none = Rate(9, 300, True), Rate(0, 0, False)
    rows = tuple(GroupRow(f"g{number}", "group", none, proper) for number in range(7))
    nothing: Any = None
    [warning] = GroupRates(nothing, 0.1, nothing, rows, None, None).warnings
    assert warning.endswith(": g0 (0), g1 (0), g2 (0), g3 (0), g4 (0) and 2 more")


def test_names_of_groups_are_drawn_as_they_are() -> None:
    """No mathematics, no markup, and letters that the font of the figures lacks."""
    rate = {"rate": 0.1, "interval": (0.05, 0.2), "resolved": True}
    names = ("$x$^{", "亚洲", "a<b&c")
    rows = [{"group": name, "false_match": rate, "false_non_match": rate} for name in names]
    with house_style():
        matches, misses = draw(group_panels({"column": "a", "far": 0.1, "frr": 0.1, "rows": rows}))
    for drawing in (matches, misses):
        assert all(html.escape(name, quote=False) in drawing.svg for name in names)


def test_the_false_accept_rate_must_be_resolved() -> None:
    assert [chosen_far(far, 100) for far in (None, 0.05)] == [0.01, 0.05]
    assert chosen_far(None, 99) == 0.1
    for far, impostors in ((0.001, 100), (None, 9)):
        with pytest.raises(InputError, match="must be resolvable"):
            chosen_far(far, impostors)
    for far in (0.0, 1.5, math.nan):
        with pytest.raises(InputError, match="must lie above 0"):
            chosen_far(far, 100)
    for impostors in (3, 7, 700, 9_999):  # the rate that the error names is resolved
        with pytest.raises(InputError) as refused:
            chosen_far(1e-5, impostors)
        rate = refused.value.fix.split()[2]
        assert chosen_far(float(rate), impostors) == float(rate)
    with pytest.raises(InputError, match=r"got 0\. Use a protocol with more impostor pairs"):
        chosen_far(0.1, 0)


def test_the_rates_stand_in_every_output(folder: Path, tmp_path: Path) -> None:
    options = VerificationOptions(
        flip=False, groups=("sex", "race"), attributes=folder / "people.csv", far=0.2
    )
    result = verify(pattern_embedder(), folder / "data", folder / "sided.csv", out=tmp_path, options=options)
    facts = json.loads((tmp_path / "result.json").read_text())["groups"]
    assert [each["column"] for each in facts] == ["sex", "race"]
    for each in facts:
        assert (
            sum(row[kind]["pairs"] for row in each["rows"] for kind in ("false_match", "false_non_match"))
            == 72
        )
        assert each["threshold"] == result.groups[0].point.threshold
    assert [row["group"] for row in facts[0]["rows"]] == ["F", "M", "mixed pairs", "unknown pairs"]
    assert any("too few" in warning for warning in facts[0]["warnings"])
    assert set(json.loads((tmp_path / "summary.json").read_text())["numbers"]["groups"]) == {"sex", "race"}
    text, page = result.text(), (tmp_path / "report.html").read_text()
    assert "by sex (from " in text
    assert "largest ratio of false match rates: " in text
    assert "Error rates by race" in page
    assert "mixed pairs" in page
