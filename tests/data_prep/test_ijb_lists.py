"""IJB's lists: what is read, and that one torn line in millions is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ijb_release
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.check import check
from data_prep.errors import InputError
from data_prep.ijb import find_ijb_files, load_template_protocol, read_landmarks
from data_prep.ijb.files import IjbFiles
from data_prep.ijb.sizes import SIZES
from data_prep.ijb.templates import read_template_photos


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    return ijb_release.write_lists(tmp_path / "SMALL")


def _load(meta: Path, *, allow_partial: bool = False):  # type: ignore[no-untyped-def]
    files = find_ijb_files(meta)
    assert files is not None
    return load_template_protocol(files, allow_partial=allow_partial)


def _change(path: Path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")


def test_lists_are_read_as_they_stand(meta: Path) -> None:
    protocol = _load(meta)
    names, templates = protocol.photos.names.to_pylist(), protocol.photos.ids[protocol.photos.template]
    assert list(zip(names, templates.tolist(), strict=True)) == [each[:2] for each in ijb_release.photos()]
    pairs = protocol.pairs
    ids = protocol.photos.ids
    listed = zip(ids[pairs.left].tolist(), ids[pairs.right].tolist(), pairs.same.astype(int), strict=True)
    assert list(listed) == ijb_release.pairs()
    assert (protocol.name, protocol.partial, protocol.title) == ("small", None, "small")
    assert protocol.reading == "60 photos of 30 media in 15 IJB templates, 50 pairs of them"


def test_a_medium_is_of_its_ijb_template(meta: Path) -> None:
    photos = _load(meta).photos  # the same two numbers of media in every IJB template
    groups = {}
    for (_, template, medium), group in zip(ijb_release.photos(), photos.medium.tolist(), strict=True):
        groups.setdefault((template, medium), set()).add(group)
    assert all(len(numbers) == 1 for numbers in groups.values())
    assert len(set.union(*groups.values())) == len(groups)


@pytest.mark.parametrize(
    "place", [".", "meta", "meta/small_face_tid_mid.txt", "meta/small_name_5pts_score.txt"]
)
def test_lists_are_found_from_the_release_its_meta_or_a_list(meta: Path, place: str) -> None:
    files = find_ijb_files(meta.parent / place)
    assert files == IjbFiles(meta, "small")
    assert files.pictures == meta.parent / "loose_crop"


@pytest.mark.parametrize(("prefix", "name"), [("ijbb", "IJB-B"), ("ijbc", "IJB-C"), ("IJBC", "IJB-C")])
def test_the_benchmark_is_recognised_by_the_names(tmp_path: Path, prefix: str, name: str) -> None:
    assert IjbFiles(tmp_path, prefix).name == name


def test_what_a_system_leaves_beside_the_lists_is_none(meta: Path) -> None:
    for path in list(meta.iterdir()):
        (meta / f"._{path.name}").write_bytes(b"\0\5\26\7")
    assert find_ijb_files(meta) == IjbFiles(meta, "small")


def test_pairs_that_come_again_are_counted_by_check(meta: Path) -> None:
    pairs = meta / "small_template_pair_label.txt"
    one, two, same = pairs.read_text().splitlines()[0].split()
    added = [f"{one} {two} {same}", f"{two} {one} {same}", f"{two} {one} {1 - int(same)}"]
    pairs.write_text(pairs.read_text() + "\n".join(added) + "\n")
    report = check(meta)
    assert any("2 repeated pairs, counted each time" in fact for fact in report.facts)
    [problem] = report.problems
    assert f"1 pair of IJB templates both as genuine and as impostor: {two} and {one}" in problem


def test_other_folders_and_files_hold_no_lists(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("10 300\n")
    assert find_ijb_files(tmp_path) is find_ijb_files(tmp_path / "pairs.txt") is None
    assert find_ijb_files(tmp_path / "nothing") is None


def test_lists_of_two_benchmarks_in_one_folder(meta: Path) -> None:
    ijb_release.write_lists(meta.parent, prefix="other")
    with pytest.raises(InputError, match=r"other and small\. Name one of its files .*other_template_pair"):
        find_ijb_files(meta)
    assert find_ijb_files(meta / "small_template_pair_label.txt") == IjbFiles(meta, "small")


def test_line_ends_of_windows_blank_lines_and_a_byte_order_mark(meta: Path) -> None:
    before = _load(meta)
    for path in meta.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    after = _load(meta)
    assert after.photos.names == before.photos.names
    assert (after.pairs.left == before.pairs.left).all()
    assert len(read_landmarks(meta / "small_name_5pts_score.txt")) == ijb_release.PHOTOS


_BAD_PAIRS = {
    "torn": "1001 10",  # the rest of the line is gone
    "too long": "1001 1002 1 1001 1003 0",
    "label": "1001 1002 2",
    "negative": "1001 1002 -1",
    "word": "1001 x 1",
    "spaces": "1001  1002 1",
    "tab": "1001\t1002\t1",
    "end": "1001 1002 1 ",
    "huge": "1001 99999999999999999999 1",
    "unknown": "1001 9 1",
    "itself": "1001 1001 1",
    "bytes": "1001 1002 1\x00",
}


@pytest.mark.parametrize("bad", _BAD_PAIRS)
def test_a_bad_pair_names_its_line(meta: Path, bad: str) -> None:
    _change(meta / "small_template_pair_label.txt", 17, _BAD_PAIRS[bad])
    with pytest.raises(InputError, match=r"small_template_pair_label\.txt, line 17: must "):
        _load(meta)


def test_a_line_may_end_as_on_old_macs(meta: Path) -> None:
    path = meta / "small_template_pair_label.txt"
    _change(path, 17, _BAD_PAIRS["itself"])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    with pytest.raises(InputError, match=r"line 17: must be two different IJB templates; got '1001 1001 1'"):
        _load(meta)


def test_blank_lines_count_as_lines_of_the_file(meta: Path) -> None:
    path = meta / "small_template_pair_label.txt"
    _change(path, 1, "\n\n1001 1002 1")
    _change(path, 30, "1001 5 0")
    with pytest.raises(InputError, match=r"line 30: .* got the unknown IJB template 5"):
        _load(meta)


@settings(max_examples=30)
@given(line=st.integers(1, ijb_release.PAIRS), cut=st.integers(0, 9))
def test_a_torn_pair_is_never_read(tmp_path_factory: pytest.TempPathFactory, line: int, cut: int) -> None:
    meta = ijb_release.write_lists(tmp_path_factory.mktemp("torn"))
    path = meta / "small_template_pair_label.txt"
    whole = path.read_text().splitlines()
    torn = whole[line - 1][:cut]  # 10 letters and the label
    _change(path, line, torn)
    if not torn:
        assert len(_load(meta).pairs) == ijb_release.PAIRS - 1  # a blank line
        return
    with pytest.raises(InputError, match=f"line {line}: "):
        _load(meta)


_BAD_PHOTOS = {
    "twice": ("1.jpg 1001 7", "got '1.jpg'"),
    "outside": ("../1.jpg 1001 7", "inside its folder"),
    "torn": ("9.jp", "single spaces"),
    "no number": ("9.jpg a 7", "Get a complete copy"),
    "tabs": ("9.jpg\t1001\t7", "Write single spaces between the fields, and none around them"),
    "space at the end": ("9.jpg 1001 7 ", "Write single spaces between the fields"),
}


@pytest.mark.parametrize("bad", _BAD_PHOTOS)
def test_a_bad_photo_names_its_line(meta: Path, bad: str) -> None:
    line, says = _BAD_PHOTOS[bad]
    _change(meta / "small_face_tid_mid.txt", 9, line)
    with pytest.raises(InputError, match=rf"small_face_tid_mid\.txt, line 9: .*{says}"):
        read_template_photos(meta / "small_face_tid_mid.txt")


_BAD_LANDMARKS: dict[str, Callable[[list[str]], list[str]]] = {
    "nan": lambda fields: [*fields[:4], "nan", *fields[5:]],
    "inf": lambda fields: [*fields[:4], "inf", *fields[5:]],
    "score nan": lambda fields: [*fields[:11], "nan"],
    "score above 1": lambda fields: [*fields[:11], "1.5"],
    "score below 0": lambda fields: [*fields[:11], "-0.1"],
    "four landmarks": lambda fields: [*fields[:9], fields[11]],
    "word": lambda fields: [*fields[:4], "x", *fields[5:]],
    "twice": lambda fields: ["1.jpg", *fields[1:]],
}


@pytest.mark.parametrize("bad", _BAD_LANDMARKS)
def test_bad_landmarks_name_their_line(meta: Path, bad: str) -> None:
    path = meta / "small_name_5pts_score.txt"
    fields = path.read_text().splitlines()[11].split()
    _change(path, 12, " ".join(_BAD_LANDMARKS[bad](fields)))
    with pytest.raises(InputError, match=r"small_name_5pts_score\.txt, line 12: must "):
        read_landmarks(path)


def test_landmarks_are_x_and_y_of_five_points(meta: Path) -> None:
    path = meta / "small_name_5pts_score.txt"
    _change(path, 3, "3.jpg 1 2 3 4 5 6 7 8 9.5 10 0.25")
    given = read_landmarks(path)
    assert given.points[2].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9.5, 10]]
    assert given.scores[2] == 0.25


@pytest.mark.parametrize("name", ["small_face_tid_mid.txt", "small_template_pair_label.txt"])
def test_a_missing_or_empty_list(meta: Path, name: str) -> None:
    (meta / name).write_text("")
    with pytest.raises(InputError, match=f"{name}: must be .* got an empty file"):
        _load(meta)
    (meta / name).unlink()
    with pytest.raises(InputError, match=f"{name}: must be there, beside the other lists; got no such file"):
        _load(meta)


@pytest.mark.parametrize("label", "01")
def test_pairs_of_one_kind_alone(meta: Path, label: str) -> None:
    path = meta / "small_template_pair_label.txt"
    path.write_text("".join(f"{line[:-1]}{label}\n" for line in path.read_text().splitlines()))
    with pytest.raises(InputError, match="must leave genuine and impostor pairs"):
        _load(meta)


def test_counts_that_are_not_the_benchmarks(tmp_path: Path) -> None:
    meta = ijb_release.write_lists(tmp_path, prefix="ijbc")
    with pytest.raises(InputError, match=r"IJB-C has 469,375 photos .*--allow-partial"):
        _load(meta)
    protocol = _load(meta, allow_partial=True)
    assert protocol.partial is not None
    assert protocol.partial.startswith(
        "60 photos of 15 IJB templates, 10 genuine and 40 impostor pairs, of 469"
    )
    assert protocol.title == f"IJB-C (partial: {protocol.partial})"


def test_the_official_pairs_are_those_of_the_list() -> None:
    assert SIZES["IJB-C"].genuine + SIZES["IJB-C"].impostors == 15_658_489
    assert SIZES["IJB-B"].genuine + SIZES["IJB-B"].impostors == 8_010_270


def test_a_part_has_no_pair_of_an_ijb_template_without_photos(meta: Path) -> None:
    protocol = _load(meta)
    kept = protocol.photos.ids[protocol.photos.template] != ijb_release.FIRST + 1
    kept[0] = False  # of an IJB template that keeps others
    part = protocol.part(kept)
    listed = [pair for pair in ijb_release.pairs() if ijb_release.FIRST + 1 not in pair[:2]]
    assert part.photos.ids[part.pairs.right].tolist() == [other for _, other, _ in listed]
    assert part.partial is not None
    assert part.partial.startswith("55 photos of 14 IJB templates, 9 genuine and 36 impostor pairs, of 60")
    with pytest.raises(InputError, match="must leave genuine and impostor pairs"):
        protocol.part(np.zeros(len(protocol.photos), dtype=bool))
