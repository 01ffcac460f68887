"""IJB's galleries and probes: what is read, and what is wrong with a list."""

from __future__ import annotations

from pathlib import Path

import ijb_release
import numpy as np
import pytest

from data_prep.errors import InputError
from data_prep.ijb import SearchProtocol, find_ijb_files, load_search_protocol


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    meta = ijb_release.write_lists(tmp_path / "SMALL")
    ijb_release.write_galleries(meta)
    return meta


def _load(meta: Path, *, allow_partial: bool = False) -> SearchProtocol:
    files = find_ijb_files(meta)
    assert files is not None
    return load_search_protocol(files, allow_partial=allow_partial)


def test_lists_are_read_as_they_stand(meta: Path) -> None:
    protocol = _load(meta)
    ids = protocol.photos.ids
    for each, rows in zip(
        (*protocol.galleries, protocol.probes), ijb_release.searches().values(), strict=True
    ):
        assert list(zip(ids[each.template].tolist(), each.subject.tolist(), strict=True)) == rows
    assert protocol.reading == "3 IJB templates in G1, 2 IJB templates in G2, 10 probes"
    assert protocol.title == "small"


def test_ijb_bs_names_of_the_galleries(meta: Path) -> None:
    before = _load(meta)
    for number in "12":
        path = meta / f"small_1N_gallery_G{number}.csv"
        path.rename(meta / f"small_1N_gallery_S{number}.csv")
    after = _load(meta)
    assert [each.name for each in after.galleries] == ["G1", "G2"]
    assert after.sha256 == before.sha256


_BAD = {
    "torn": ("1004,5", "as many fields as its header"),
    "no number": ("x,51,a,1,", "whole numbers"),
    "empty": (",51,a,1,", "whole numbers"),
    "negative": ("1004,-3,a,1,", "whole numbers"),
    "unknown": ("9,51,a,1,", "got the unknown IJB template 9"),
    "two people": ("1004,99,a,1,", "one SUBJECT_ID per IJB template; got 99, after 51 for IJB template 1004"),
}


@pytest.mark.parametrize("bad", _BAD)
def test_a_bad_row_names_its_line(meta: Path, bad: str) -> None:
    line, says = _BAD[bad]
    path = meta / "small_1N_gallery_G2.csv"
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"small_1N_gallery_G2\.csv, line 3: .*{says}"):
        _load(meta)


def test_lists_that_are_missing_empty_or_of_another_header(meta: Path) -> None:
    path = meta / "small_1N_probe_mixed.csv"
    whole = path.read_text()
    path.write_text("TEMPLATE_ID,SUBJECT_ID\n")
    with pytest.raises(InputError, match=r"must hold IJB templates; got none"):
        _load(meta)
    path.write_text(whole.replace("SUBJECT_ID", "PERSON"))
    with pytest.raises(InputError, match=r"must open with a header that names TEMPLATE_ID and SUBJECT_ID"):
        _load(meta)
    path.unlink()
    with pytest.raises(InputError, match=r"small_1N_probe_mixed\.csv: must be there for a search"):
        _load(meta)


def test_a_probe_that_is_in_the_gallery(meta: Path) -> None:
    path = meta / "small_1N_probe_mixed.csv"
    path.write_text(path.read_text() + "1004,51,a,1,\n")
    with pytest.raises(InputError, match=r"must share no IJB template; got 1, such as 1004"):
        _load(meta)


def test_counts_that_are_not_the_benchmarks(tmp_path: Path) -> None:
    meta = ijb_release.write_lists(tmp_path, prefix="ijbb")
    ijb_release.write_galleries(meta, prefix="ijbb")
    with pytest.raises(InputError, match=r"IJB-B has 1,845 IJB templates in both .*--allow-partial"):
        _load(meta)
    assert "of 1,845 IJB templates" in (_load(meta, allow_partial=True).partial or "")


def test_a_part_leaves_out_ijb_templates_without_photos(meta: Path) -> None:
    protocol = _load(meta)
    part = protocol.part(protocol.photos.ids[protocol.photos.template] > ijb_release.FIRST + 1)
    assert part.reading == "2 IJB templates in G1, 2 IJB templates in G2, 9 probes"
    assert part.partial == f"{part.reading}; the whole has {protocol.reading}"
    assert np.isin(part.probes.template, protocol.probes.template).all()
