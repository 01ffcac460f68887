"""CFP, CALFW and CPLFW from their authors' files, whole or said to be in part."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from field_formats import accepted, spliced
from hypothesis import strategies as st

from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset, header_for, write_manifest
from data_prep.errors import InputError
from data_prep.inside import LEAVES_FOLDER
from data_prep.protocols import VerificationProtocol, find_rows, pairs_within, protocol_alone
from data_prep.protocols.matching import PhotoNames


def dataset_of(root: Path, photos: list[str]) -> AlignedDataset:
    header = header_for(find_template("arcface-112"), policy="centred-largest", min_face_px=20)
    row = dict.fromkeys(("sha256", "reason", "width", "height", "box", "landmarks", "score", "faces"))
    row |= {"identity": "x", "status": "aligned"}
    write_manifest(root, header, [row | {"photo": photo, "crop": photo} for photo in photos])
    return AlignedDataset.load(root)


def write_cfp(root: Path, *, people: int = 20, per_kind: int = 350) -> Path:
    """`Protocol/` with pairs of the first photos of some people."""
    split = root / "Protocol" / "Split"
    for kind, photos in (("frontal", 10), ("profile", 4)):
        names = [f"{p:03d}/{kind}/{i:02d}.jpg" for p in range(1, people + 1) for i in range(1, photos + 1)]
        lines = [f"{number} ../Data/Images/{name}" for number, name in enumerate(names, start=1)]
        (root / "Protocol").mkdir(parents=True, exist_ok=True)
        (root / "Protocol" / f"Pair_list_{kind[0].upper()}.txt").write_text("\n".join(lines))
    for kind in ("FF", "FP"):
        for fold in range(1, 11):
            (split / kind / f"{fold:02d}").mkdir(parents=True)
            for name, pair in (("same.txt", "1,2"), ("diff.txt", "1,20")):
                (split / kind / f"{fold:02d}" / name).write_text((pair + "\n") * per_kind)
    return split


def test_cfp_counts_ff_in_one_list_and_fp_in_two(tmp_path: Path) -> None:
    split = write_cfp(tmp_path)
    ff, fp = protocol_alone(split / "FF"), protocol_alone(split / "FP")
    assert (ff.name, fp.name) == ("FF in CFP's form", "FP in CFP's form")
    assert "not CFP's own" in ff.reading
    assert (ff.left[0], ff.right[0], ff.right[350]) == (
        "001/frontal/01.jpg",
        "001/frontal/02.jpg",
        "002/frontal/10.jpg",
    )
    assert (fp.left[0], fp.right[0], fp.right[350]) == (
        "001/frontal/01.jpg",
        "001/profile/02.jpg",
        "005/profile/04.jpg",
    )
    for protocol in (ff, fp):
        assert (len(protocol), int(protocol.same.sum()), protocol.partial) == (7000, 3500, None)
        assert np.bincount(protocol.fold).tolist() == [700] * 10
    assert ff.sha256 != fp.sha256


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("Split/FF/03/diff.txt", "1;2", "two numbers of the pair lists"),
        ("Split/FF/03/diff.txt", "1,99999", "two numbers of the pair lists"),
        ("Split/FF/03/diff.txt", "0,1", "two numbers of the pair lists"),
        ("Pair_list_F.txt", "1 ../Data/Images/../../../etc/passwd", "must stay inside"),
        ("Pair_list_F.txt", "1 ../../etc/passwd", "must stay inside"),
        ("Pair_list_F.txt", "1 /etc/passwd", "must stay inside"),
        ("Pair_list_P.txt", "1 ../Data/Images/secret.jpg", "a number, once, and a photo"),
        ("Pair_list_F.txt", "../Data/Images/001/frontal/01.jpg", "a number, once, and a photo"),
    ],
)
def test_a_broken_line_of_cfp_is_named(tmp_path: Path, file: str, line: str, said: str) -> None:
    split = write_cfp(tmp_path)
    (tmp_path / "Protocol" / file).write_text(line + "\n")
    kind = "FP" if "_P" in file else "FF"
    with pytest.raises(InputError, match=rf"{Path(file).name}, line 1: .*{said}"):
        protocol_alone(split / kind)


def test_cfp_without_its_lists(tmp_path: Path) -> None:
    split = write_cfp(tmp_path)
    (tmp_path / "Protocol/Pair_list_P.txt").unlink()
    with pytest.raises(InputError, match=r"need Pair_list_P\.txt beside the folder Split"):
        protocol_alone(split / "FP")


def lose_a_fold(split: Path) -> str:
    for name in ("same.txt", "diff.txt"):
        (split / "FF/07" / name).unlink()
    return "6,300 of 7,000 pairs, 9 of 10 folds"


def lose_a_pair(split: Path) -> str:
    (split / "FF/01/same.txt").write_text("1,2\n" * 349)
    return "6,999 of 7,000 pairs, 10 of 10 folds"


@pytest.mark.parametrize("lose", [lose_a_fold, lose_a_pair])
def test_cfp_in_part_is_refused_or_says_so(tmp_path: Path, lose: Callable[[Path], str]) -> None:
    split = write_cfp(tmp_path)
    said = lose(split)
    with pytest.raises(
        InputError, match=r"form has 7,000 pairs in 10 folds; got 6,.* a part with --allow-partial"
    ):
        protocol_alone(split / "FF")
    part = protocol_alone(split / "FF", allow_partial=True)
    assert part.partial == said
    assert part.title == f"FF in CFP's form (partial: {said})"


def test_more_pairs_than_the_protocol_has_are_never_taken(tmp_path: Path) -> None:
    split = write_cfp(tmp_path)
    (split / "FF/01/same.txt").write_text("1,2\n" * 351)
    with pytest.raises(InputError, match="got 7,001 pairs"):
        protocol_alone(split / "FF", allow_partial=True)


def two_lines(path: Path, *, cross_age: bool, per_fold: int = 300) -> Path:
    lines = []
    for pair in range(10 * per_fold):
        flag = pair // per_fold + 1 if cross_age else 1
        lines += [f"Ann_{pair:04d}.jpg {flag}", f"Ann_{pair + 1:04d}.jpg {flag}"]
    for pair in range(10 * per_fold):
        lines += [f"Ann_{pair:04d}.jpg 0", f"Bo_{pair:04d}.jpg 0"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("name", "cross_age"), [("calfw", True), ("cplfw", False)])
def test_calfw_and_cplfw(tmp_path: Path, name: str, cross_age: bool) -> None:
    protocol = protocol_alone(two_lines(tmp_path / f"pairs_{name.upper()}.txt", cross_age=cross_age))
    assert (protocol.name, len(protocol), int(protocol.same.sum()), protocol.partial) == (
        name,
        6000,
        3000,
        None,
    )
    for fold in range(10):
        assert [int((protocol.same[protocol.fold == fold] == kind).sum()) for kind in (True, False)] == [
            300
        ] * 2
    assert (protocol.left[300], protocol.right[300], protocol.fold[300]) == (
        "Ann_0300.jpg",
        "Ann_0301.jpg",
        1,
    )
    assert (protocol.left[3299], protocol.right[3299], protocol.fold[3299]) == (
        "Ann_0299.jpg",
        "Bo_0299.jpg",
        0,
    )


@pytest.mark.parametrize(
    "lines", [["a.jpg 1"], ["a.jpg 1", "b.jpg 0"], ["a.jpg 1", "b.jpg"], ["a.jpg 1", "../../b.jpg 1"]]
)
def test_a_broken_pair_of_lines_is_named(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "pairs_CALFW.txt"
    path.write_text("\n".join(["x.jpg 1", "y.jpg 1", *lines]))
    with pytest.raises(InputError, match=r"pairs_CALFW\.txt, line 3"):
        protocol_alone(path)


def test_part_of_calfw(tmp_path: Path) -> None:
    path = two_lines(tmp_path / "pairs_CALFW.txt", cross_age=True)
    path.write_text("\n".join(path.read_text().splitlines()[: 2 * 3500]))
    with pytest.raises(InputError, match="calfw has 6,000 pairs in 10 folds; got 3,500"):
        protocol_alone(path)
    assert protocol_alone(path, allow_partial=True).partial == "3,500 of 6,000 pairs, 10 of 10 folds"


# --- data that lack photos


def small(root: Path) -> VerificationProtocol:
    pairs = [f"a/{i}.jpg,{'a' if same else 'b'}/{i + 1}.jpg,{same},{i}" for i in range(3) for same in (1, 0)]
    (root / "small.csv").write_text("\n".join(["left,right,same,fold", *pairs]))
    return protocol_alone(root / "small.csv")


def test_pairs_within_a_data_set(tmp_path: Path) -> None:
    protocol = small(tmp_path)
    photos = [f"{name}/{i}.jpg" for name in "ab" for i in range(4)]
    assert pairs_within(protocol, dataset_of(tmp_path / "all", photos)) is protocol
    part = pairs_within(protocol, dataset_of(tmp_path / "most", [p for p in photos if p != "a/3.jpg"]))
    assert part.partial == "5 of 6 pairs, 3 of 3 folds"
    assert (len(part), part.fold.tolist(), part.same.tolist()) == (
        5,
        [0, 0, 1, 1, 2],
        [True, False, True, False, False],
    )
    fewer = pairs_within(protocol, dataset_of(tmp_path / "fewer", [p for p in photos if "0" not in p]))
    assert (fewer.partial, fewer.scored_folds) == ("4 of 6 pairs, 2 of 3 folds", (1, 2))
    with pytest.raises(InputError, match="at least 2 genuine and 2 impostor pairs"):
        pairs_within(protocol, dataset_of(tmp_path / "one", ["a/0.jpg", "a/1.jpg", "b/1.jpg"]))
    with pytest.raises(InputError, match="got 0 genuine, 0 impostor"):
        pairs_within(protocol, dataset_of(tmp_path / "none", ["c/0.jpg"]))


def test_a_key_may_be_the_end_of_a_photos_name(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, ["aligned images/Ann_1.jpg", "x/b/1.jpg", "y/b/1.jpg", "x/c/2.jpg"])
    assert find_rows(["Ann_1.jpg", "Ann_1", "c/2", "y/b/1"], dataset).tolist() == [0, 0, 3, 2]
    with pytest.raises(InputError, match=r"b/1, which fits x/b/1.jpg, y/b/1.jpg"):
        find_rows(["b/1"], dataset)
    with pytest.raises(InputError, match="1 of 1 missing: nn_1"):
        find_rows(["nn_1.jpg"], dataset)


@pytest.mark.parametrize("photos", [["x/J.Doe", "y/J.Doe.jpg"], ["y/J.Doe.jpg", "z/J.Doe"]])
def test_a_key_that_ends_two_names_with_and_without_an_ending_fits_both(photos: list[str]) -> None:
    with pytest.raises(InputError, match=f"J.Doe, which fits {', '.join(photos)}"):
        PhotoNames(photos).rows_of(["J.Doe"])
    assert PhotoNames(photos[:1]).rows_of(["J.Doe", "J.Doe.jpg"]) == {"J.Doe": 0, "J.Doe.jpg": 0}


def assert_holds(protocol: VerificationProtocol) -> None:
    """What every protocol promises, whatever it was read from."""
    assert len(protocol.left) == len(protocol.right) == len(protocol.same) == len(protocol.fold) > 0
    assert not any(re.search(LEAVES_FOLDER, name) for name in protocol.left + protocol.right)
    for fold in protocol.scored_folds:
        assert (protocol.fold == fold).any()
        assert set(protocol.same[protocol.fold != fold].tolist()) == {True, False}


_LISTS = {
    "pairs.txt": "2\t2\n" + "A\t1\t2\nB\t1\t2\nA\t1\tB\t1\nA\t2\tB\t2\n" * 2,
    "pairs.csv": "left,right,same,fold\n" + "a/1,a/2,1,1\na/1,b/1,0,1\nb/1,b/2,1,2\na/2,b/1,0,2\n",
    "lines.txt": "a_1.jpg 1\na_2.jpg 1\na_1.jpg 0\nb_1.jpg 0\n" * 10,
    "three.txt": "a/1.jpg a/2.jpg 1\na/1.jpg b/1.jpg 0\n" * 10,
}
_OPENINGS = [
    b"",
    b"10\t300\n",
    b"2\n",
    b"name,imagenum1,imagenum2,\nA,1,2,\n",
    b'left,right,same\n"',
    b"path1;path2;label;fold\n",
]


@pytest.mark.parametrize("name", _LISTS)
def test_other_pair_files_hold_what_a_protocol_promises_or_are_refused(tmp_path: Path, name: str) -> None:
    def read(content: bytes) -> bool:
        (tmp_path / name).write_bytes(content)
        try:
            protocol = protocol_alone(tmp_path / name)
        except InputError:
            return False
        assert_holds(protocol)
        assert protocol.sha256 == hashlib.sha256(content).hexdigest()
        return True

    opened = st.builds(bytes.__add__, st.sampled_from(_OPENINGS), st.binary(max_size=60))
    assert accepted(read, st.one_of(opened, spliced(_LISTS[name].encode())), examples=60) > 3


def test_other_cfp_files_hold_what_a_protocol_promises_or_are_refused(tmp_path: Path) -> None:
    protocol = write_cfp(tmp_path, people=3, per_kind=2).parent
    for file in ("Split/FF/01/same.txt", "Pair_list_F.txt"):
        whole = (protocol / file).read_bytes()

        def read(content: bytes, file: str = file) -> bool:
            (protocol / file).write_bytes(content)
            try:
                found = protocol_alone(protocol / "Split/FF", allow_partial=True)
            except InputError:
                return False
            assert_holds(found)
            assert all(re.fullmatch(r"\d{3}/frontal/\d{2}\.jpg", name) for name in found.left + found.right)
            return True

        assert accepted(read, st.one_of(st.binary(max_size=40), spliced(whole)), examples=40) > 3
        (protocol / file).write_bytes(whole)


@pytest.mark.real_data
def test_cfps_own_files(shared: Path, tmp_path: Path) -> None:
    split = shared / "data/cfp/Protocol/Split"
    ff, fp = protocol_alone(split / "FF"), protocol_alone(split / "FP")
    for protocol in (ff, fp):
        assert (len(protocol), int(protocol.same.sum())) == (7000, 3500)
        assert protocol.reading == "CFP's own pairs"
        assert np.bincount(protocol.fold).tolist() == [700] * 10
        people = [(left[:3], right[:3]) for left, right in zip(protocol.left, protocol.right, strict=True)]
        assert [left == right for left, right in people] == protocol.same.tolist()
    assert all(
        "frontal" in left and "profile" in right for left, right in zip(fp.left, fp.right, strict=True)
    )
    images = shared / "data/cfp/Data/Images"
    dataset = dataset_of(tmp_path, [p.relative_to(images).as_posix() for p in images.rglob("*.jpg")])
    part = pairs_within(ff, dataset)
    # The twenty people are in two folds, and one of those has no impostor pair left.
    assert part.partial == f"{len(part):,} of 7,000 pairs, in folds of its own"
    assert part.fold_rule.startswith("too little is left of the folds (10 splits")
    assert len(part) == 176
    assert {bool(kind) for kind in part.same[part.fold == 0]} == {True, False}
    with pytest.raises(InputError, match="missing"):
        find_rows(ff.left, dataset)
