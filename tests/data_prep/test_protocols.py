"""Pair files: what they hold, and what is said of broken ones."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset, header_for, write_manifest
from data_prep.errors import InputError
from data_prep.protocols import ProtocolSize, find_rows, protocol_alone


def genuine(name: str, first: int, second: int) -> str:
    return f"{name}\t{first}\t{second}"


def impostor(name: str, first: int, other: str, second: int) -> str:
    return f"{name}\t{first}\t{other}\t{second}"


SETS = [
    [
        genuine("Ann_Lee", 1, 2),
        genuine("Bo", 3, 4),
        impostor("Ann_Lee", 1, "Bo", 3),
        impostor("Bo", 4, "Cy", 10),
    ],
    [genuine("Cy", 1, 10), genuine("Di", 1, 2), impostor("Cy", 1, "Di", 2), impostor("Di", 1, "Ed", 1)],
]


def view2(folder: Path, *, header: str = "2\t2", lines: list[str] | None = None) -> Path:
    path = folder / "pairs.txt"
    path.write_text("\n".join([header, *(lines if lines is not None else SETS[0] + SETS[1])]) + "\n")
    return path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_view2_keeps_file_order_and_folds(tmp_path: Path) -> None:
    protocol = protocol_alone(view2(tmp_path))
    assert protocol.left[:3] == ("Ann_Lee/Ann_Lee_0001", "Bo/Bo_0003", "Ann_Lee/Ann_Lee_0001")
    assert protocol.right[:4] == ("Ann_Lee/Ann_Lee_0002", "Bo/Bo_0004", "Bo/Bo_0003", "Cy/Cy_0010")
    assert protocol.same.tolist() == [True, True, False, False] * 2
    assert protocol.fold.tolist() == [0] * 4 + [1] * 4
    assert protocol.scored.all()


@pytest.mark.parametrize("lines", [[], SETS[0][:3], SETS[0] + SETS[1] + SETS[0][:1]])
def test_counts_that_differ_from_the_header_are_refused(tmp_path: Path, lines: list[str]) -> None:
    for allow_partial in (False, True):
        with pytest.raises(InputError, match=rf"got {len(lines)} lines|got first line"):
            protocol_alone(view2(tmp_path, lines=lines), allow_partial=allow_partial)


def test_a_list_that_lacks_a_set_of_its_counts_is_a_part(tmp_path: Path) -> None:
    path = view2(tmp_path, lines=SETS[0])
    with pytest.raises(
        InputError, match=r"pairs has 8 pairs in 2 folds; got 4 pairs.* take a part with --allow-partial"
    ):
        protocol_alone(path)
    title = protocol_alone(path, allow_partial=True).title
    assert title == "pairs (partial: 4 of 8 pairs, in folds of its own)"


def test_a_list_of_other_counts_is_not_view2(tmp_path: Path) -> None:
    protocol = protocol_alone(view2(tmp_path))
    assert (protocol.title, protocol.official) == ("pairs", ProtocolSize(pairs=8, folds=2))
    assert protocol.reading.startswith("a list in LFW's form, not LFW's own; separated by tabs")


@pytest.mark.parametrize(
    ("lines", "partial"),
    [
        (5400, "5,400 of 6,000 pairs, 9 of 10 folds"),
        (5999, "5,400 of 6,000 pairs, 9 of 10 folds"),  # a set begun, and perhaps a line torn
        (600, "600 of 6,000 pairs, in folds of its own"),
    ],
)
def test_view2_cut_short_is_refused_or_says_so(tmp_path: Path, lines: int, partial: str) -> None:
    one_set = [genuine("Ann_Lee", 1, 2)] * 300 + [impostor("Ann_Lee", 1, "Bo", 3)] * 300
    path = view2(tmp_path, header="10\t300", lines=(one_set * 10)[:lines])
    with pytest.raises(
        InputError, match=r"6,000 pairs in 10 folds; .* `calibrate` take a part with --allow-p"
    ):
        protocol_alone(path)
    assert protocol_alone(path, allow_partial=True).title == f"pairs (partial: {partial})"


def test_a_part_is_offered_only_where_pairs_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", "left,right,same\n" + "a,b,1\na,c,0\n" * 4)
    for official in (ProtocolSize(pairs=4, folds=2), ProtocolSize(pairs=8, folds=2)):
        with pytest.raises(InputError, match=r"Get a complete copy\.$"):
            protocol_alone(path, official=official, allow_partial=True)


def test_numbers_by_twos_are_no_pairs(tmp_path: Path) -> None:
    path = write(tmp_path, "train.idx", "0\t16\n1\t5432\n2\t9876\n")
    with pytest.raises(InputError, match=r"must be a list of pairs: .*; got first line '0\\t16'"):
        protocol_alone(path)


@pytest.mark.parametrize(
    ("number", "broken"),
    [
        (1, "Bo\t3"),
        (1, "Bo\tthree\t4"),
        (1, "Bo 3 4"),
        (2, genuine("Ann_Lee", 1, 2)),  # where an impostor belongs
        (4, impostor("Cy", 1, "Di", 2)),  # where a genuine pair belongs
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, number: int, broken: str) -> None:
    lines = SETS[0] + SETS[1]
    lines = [*lines[:number], broken, *lines[number + 1 :]]
    with pytest.raises(
        InputError,
        match=rf"pairs.txt, line {number + 2}: must be (an? (genuine|impostor) pair|`name number number`)",
    ):
        protocol_alone(view2(tmp_path, lines=lines))


def test_view1_takes_its_threshold_from_the_training_half(tmp_path: Path) -> None:
    write(tmp_path, "pairsDevTrain.txt", "\n".join(["2", *SETS[0]]))
    path = write(tmp_path, "pairsDevTest.txt", "\n".join(["2", *SETS[1]]))
    protocol = protocol_alone(path)
    assert (protocol.title, protocol.partial) == ("pairsDevTest", None)
    assert "not LFW's own" in protocol.reading
    assert protocol.left[4] == "Cy/Cy_0001"
    assert protocol.fold.tolist() == [0] * 4 + [1] * 4
    assert protocol.scored.tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize("name", ["pairsDevTrain.txt", "pairsDevTest.txt"])
def test_half_a_view1_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"Give pairsDevTest.txt and keep pairsDevTrain.txt beside it"):
        protocol_alone(write(tmp_path, name, "\n".join(["2", *SETS[0]])))


def test_csv_without_folds_deals_both_kinds_into_every_fold(tmp_path: Path) -> None:
    pairs = [f"a{i},b{i},{'true' if i < 25 else 'False'}" for i in range(50)]
    protocol = protocol_alone(write(tmp_path, "my pairs.csv", "\n".join(["left,right,same", *pairs])))
    assert protocol.name == "my pairs"
    assert protocol.fold[:25].tolist() == protocol.fold[25:].tolist() == [i % 10 for i in range(25)]
    assert "i mod 10" in protocol.fold_rule


def test_csv_with_few_pairs_has_as_many_folds_as_the_rarer_kind(tmp_path: Path) -> None:
    rows = ["left,right,same", "a,b,1", "a,c,1", "a,d,1", "a,e,0", "b,f,0"]
    protocol = protocol_alone(write(tmp_path, "few.csv", "\n".join(rows)))
    assert protocol.fold.tolist() == [0, 1, 0, 0, 1]


def test_csv_with_folds_keeps_them_and_reads_as_spreadsheets_write(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    lines = ["\ufeffleft, right, same, fold", '"Lee, Ann/1.jpg",b,1,3', "a,c,0,3", "", "d,e,1,7", "d,f,0,7"]
    path.write_bytes("\r\n".join(lines).encode())
    protocol = protocol_alone(path)
    assert protocol.left[0] == "Lee, Ann/1.jpg"
    assert (protocol.fold.tolist(), protocol.scored_folds) == ([3, 3, 7, 7], (3, 7))


@pytest.mark.parametrize("line", ["a,b", "a,b,yes", "a,,1", "a,b,1,0"])
def test_a_broken_csv_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"p.csv, line 3: must be two photos"):
        protocol_alone(write(tmp_path, "p.csv", f"left,right,same\na,b,1\n{line}\n"))


def test_a_quote_that_does_not_end_is_named_where_it_begins(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p.csv, line 4: must be two photos"):
        protocol_alone(write(tmp_path, "p.csv", 'left,right,same\na,b,1\n\n"c,d,0\ne,f,1\ng,h,0\n'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("left,right,distance\na,b,1\n", r"first line 'left,right,distance'\. Write a pair per line"),
        ("left,right,same\na,b,1\nc,d,0\n", "at least 2 genuine and 2 impostor"),
        ("left,right,same,fold\na,b,1,0\na,c,0,0\nb,c,1,1\nb,d,0,0\n", "outside fold 0"),
        ("photo1 photo2 5\n", "first line 'photo1 photo2 5'"),
        ("", "an empty file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        protocol_alone(write(tmp_path, "p.csv", text))


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    with pytest.raises(InputError, match="must be a list of pairs; got"):
        protocol_alone(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        protocol_alone(path)


def dataset_of(root: Path, photos: list[str], *, no_picture: Collection[str] = ()) -> AlignedDataset:
    header = header_for(find_template("arcface-112"), policy="centred-largest", min_face_px=20)
    empty = dict.fromkeys(("sha256", "reason", "width", "height", "box", "landmarks", "score", "faces"))
    known = {"identity": "x", "status": "aligned"} | empty
    rows = [known | {"photo": photo, "crop": photo} for photo in photos]
    for row in rows:
        if row["photo"] in no_picture:
            row |= {"status": "failed", "reason": "not_an_image", "crop": None}
    write_manifest(root, header, rows)
    return AlignedDataset.load(root)


def test_keys_are_found_with_and_without_ending(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ["J.R. Ö/J.R. Ö_0001.jpg", "b/b_0001.png", "c/noending"])
    keys = ["b/b_0001", "J.R. Ö/J.R. Ö_0001", "b/b_0001.png", "c/noending", "b/b_0001"]
    np.testing.assert_array_equal(find_rows(keys, dataset), [1, 0, 1, 2, 1])


def test_accents_may_be_encoded_in_two_ways(tmp_path: Path) -> None:
    """macOS takes an accent and its letter apart, a list written elsewhere does not."""
    whole, apart = "J.R. \u00d6/1", "J.R. O\u0308/1"
    dataset = dataset_of(tmp_path, [f"{apart}.jpg", "b/1.jpg"])
    for key in (f"{whole}.jpg", whole, f"lfw/{whole}.png", apart):
        assert find_rows([key], dataset).tolist() == [0]
    both = dataset_of(tmp_path, [f"{apart}.jpg", f"{whole}.jpg"])
    assert find_rows([f"{whole}.jpg", f"{apart}.jpg"], both).tolist() == [1, 0]
    with pytest.raises(InputError, match="must name each photo unambiguously"):
        find_rows([whole], both)


def test_a_file_that_is_no_picture_never_competes_with_a_photo(tmp_path: Path) -> None:
    photos = [
        "a/1.jpg",
        "a/1.5pt",
        "a/1.json",
        "a/1.txt",
        "a/2.jpg",
        "a/2.png",
        "a/3.txt",
        "a/4.jpg",
        "a/4.png",
    ]
    broken = {"a/1.5pt", "a/1.json", "a/1.txt", "a/2.jpg", "a/3.txt"}  # a page saved as 2.jpg, for one
    dataset = dataset_of(tmp_path, photos, no_picture=broken)
    assert find_rows(["a/1", "1", "a/2", "a/2.jpg", "a/1.txt"], dataset).tolist() == [0, 0, 5, 4, 3]
    with pytest.raises(InputError, match="1 of 1 missing: a/3"):
        find_rows(["a/3"], dataset)
    with pytest.raises(InputError, match=r"a/4, which fits a/4\.jpg, a/4\.png"):
        find_rows(["a/4"], dataset)


def test_one_photo_in_several_folders_is_refused_with_the_folders(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ["aligned images/A_1.jpg", "raw/images/A_1.jpg"])
    with pytest.raises(InputError, match="Align only one of the folders 'aligned images' or 'raw/images'"):
        find_rows(["A_1.jpg"], dataset)


def test_a_bin_has_its_own_photos(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ["1_Ann_30_f.jpg"])
    with pytest.raises(InputError, match=r"run `faceverif align FILE\.bin OUT`"):
        find_rows(["agedb_30/pair0001-left", "agedb_30/pair0001-right"], dataset)


def test_missing_photos_are_counted_and_named(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ["a/1.jpg"])
    with pytest.raises(
        InputError, match=r"4 of 5 missing: b/1, c/1, d/1, \.\.\.; the manifest has photos like a/1.jpg"
    ):
        find_rows(["b/1", "a/1", "c/1", "d/1", "e/1", "b/1"], dataset)


def test_a_key_that_fits_two_photos_is_refused_unless_it_says_which(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ["a/1.jpg", "a/1.png"])
    with pytest.raises(InputError, match=r"a/1, which fits a/1.jpg, a/1.png"):
        find_rows(["a/1"], dataset)
    assert find_rows(["a/1.png"], dataset).tolist() == [1]


@pytest.mark.real_data
def test_lfws_own_files(shared: Path) -> None:
    view2 = protocol_alone(shared / "data/lfw/pairs.txt")
    view1 = protocol_alone(shared / "data/lfw/pairsDevTest.txt")
    assert (view2.name, len(view2), int(view2.same.sum())) == ("lfw-view2", 6000, 3000)
    assert [int((view2.fold == fold).sum()) for fold in view2.scored_folds] == [600] * 10
    assert view2.left[0] == "Abel_Pacheco/Abel_Pacheco_0001"
    assert (view1.name, len(view1), int(view1.scored.sum())) == ("lfw-view1", 3200, 1000)
