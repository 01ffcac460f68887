"""Crops in shards and records are a data set as their folder is: rows, pixels, header, what is broken."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from field_formats import picture, write_aligned, write_rec, write_tar

from data_prep.dataset import already_aligned, export, packed
from data_prep.dataset.export import export_webdataset
from data_prep.dataset.manifest import AlignedDataset, Status, write_manifest
from data_prep.dataset.packed import load_aligned, load_part
from data_prep.dataset.part import Part
from data_prep.errors import InputError
from data_prep.sources import shard_index

PHOTOS = {
    f"{person}/{number}.{form.lower()}": picture(10 * number, side=112, form=form)
    for person, number, form in [
        ("ada", 1, "JPEG"),
        ("ada", 2, "PNG"),
        ("A.J. Eve", 3, "PNG"),
        ("bob", 4, "PNG"),
    ]
}


@pytest.fixture
def folder(tmp_path: Path) -> AlignedDataset:
    return write_aligned(tmp_path / "aligned", PHOTOS, faceless=["bob/4.png"])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def contents_of(dataset: AlignedDataset) -> dict[str, bytes]:
    return dict(zip(dataset.column("photo"), dataset.crops.contents(range(len(dataset))), strict=True))


def refused(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        load_aligned(path)
    return str(raised.value)


# --- shards


@pytest.mark.parametrize("shard_mb", [500, 0.08, 0])
def test_exported_shards_are_the_same_data_set(
    folder: AlignedDataset, tmp_path: Path, shard_mb: float
) -> None:
    summary = export_webdataset(folder, tmp_path / "shards", shard_mb=shard_mb)
    assert (summary.crops, summary.left_behind) == (3, 1)
    assert summary.shards == {500: 1, 0.08: 2, 0: 3}[shard_mb] == len(files(tmp_path / "shards"))
    assert (
        all(len(content) <= 1e6 * shard_mb for content in files(tmp_path / "shards").values()) or not shard_mb
    )
    shards = load_aligned(tmp_path / "shards")
    rows = folder.with_status(Status.ALIGNED)
    for column in ("photo", "identity", "sha256", "landmarks", "status"):
        assert shards.table[column].to_pylist() == folder.table[column].take(rows).to_pylist()
    assert shards.header == folder.header
    np.testing.assert_array_equal(shards.crops.read([2, 0, 1]), folder.crops.read(rows[[2, 0, 1]]))
    assert export_webdataset(shards, tmp_path / "again", shard_mb=shard_mb).left_behind == 0
    assert files(tmp_path / "again") == files(tmp_path / "shards")
    assert load_aligned(tmp_path / "again").sha256 == shards.sha256


def test_hashes_and_landmarks_of_many_photos_are_read_when_they_are_asked_for(
    folder: AlignedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_webdataset(folder, tmp_path / "shards", shard_mb=0)
    whole = load_aligned(tmp_path / "shards").table
    monkeypatch.setattr(shard_index, "_MOST_WITH_DETAILS", 1)
    shards = load_aligned(tmp_path / "shards")
    assert set(whole.column_names) - set(shards.table.column_names) == {"sha256", "landmarks"}
    names = ["photo", "landmarks", "identity", "sha256"]
    assert shards.columns(names).to_pylist() == whole.select(names).to_pylist()
    export_webdataset(shards, tmp_path / "again", shard_mb=0)
    assert files(tmp_path / "again") == files(tmp_path / "shards")
    (tmp_path / "shards/shard-000001.tar").unlink()
    with pytest.raises(InputError, match="changed since it was opened"):
        shards.columns(["sha256"])


def test_a_folder_that_begins_like_a_drive_survives_an_export(tmp_path: Path) -> None:
    named = write_aligned(tmp_path / "aligned", {"ada/1.png": picture(1, side=112)})
    row = named.table.to_pylist()[0] | {"photo": "V: The Artist/1.png", "identity": "V: The Artist"}
    write_manifest(tmp_path / "aligned", named.header, [row])
    export_webdataset(AlignedDataset.load(tmp_path / "aligned"), tmp_path / "shards", shard_mb=1)
    shards = load_aligned(tmp_path / "shards")
    assert shards.table.select(["photo", "identity"]).to_pylist() == [
        {"photo": "V: The Artist/1.png", "identity": "V: The Artist"}
    ]


def test_photos_of_nobody_stay_nameless(tmp_path: Path) -> None:
    root = tmp_path / "aligned"
    named = write_aligned(root, {"ada/1.png": picture(1, side=112), "x/2.png": picture(2, side=112)})
    rows = named.table.to_pylist()
    write_manifest(root, named.header, [rows[0], rows[1] | {"identity": None}])
    export_webdataset(AlignedDataset.load(root), tmp_path / "shards", shard_mb=1)
    assert load_aligned(tmp_path / "shards").table["identity"].to_pylist() == ["ada", None]


def test_a_lost_shard_and_two_exports_in_one_folder_are_refused(
    folder: AlignedDataset, tmp_path: Path
) -> None:
    export_webdataset(folder, tmp_path / "shards", shard_mb=0)
    other = write_aligned(tmp_path / "other", {"carl/1.png": picture(7, side=112, form="PNG")})
    export_webdataset(other, tmp_path / "more", shard_mb=0)
    os.replace(tmp_path / "more/shard-000000.tar", tmp_path / "shards/shard-000007.tar")
    assert "must hold the shards of one export" in refused(tmp_path / "shards")
    (tmp_path / "shards/shard-000007.tar").unlink()
    (tmp_path / "shards/shard-000001.tar").unlink()
    assert "must hold the 3 crops that its shards announce; got 2" in refused(tmp_path / "shards")


def test_an_export_is_there_whole_or_not_at_all(folder: AlignedDataset, tmp_path: Path) -> None:
    (tmp_path / "aligned/crops/ada/2.png").unlink()
    with pytest.raises(InputError, match=r"ada/2\.png"):
        export_webdataset(folder, tmp_path / "shards", shard_mb=0)
    assert [path.name for path in tmp_path.iterdir()] == ["aligned"]
    with pytest.raises(InputError, match="OUT: must be a new or empty folder"):
        export_webdataset(folder, tmp_path / "aligned", shard_mb=1)


def test_of_two_exports_into_one_folder_the_second_is_refused(
    folder: AlignedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = export._write_shards

    def write_while_another_ends(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        (tmp_path / "shards").mkdir()
        (tmp_path / "shards/shard-000000.tar").touch()

    monkeypatch.setattr(export, "_write_shards", write_while_another_ends)
    with pytest.raises(InputError, match="OUT: must be a new or empty folder"):
        export_webdataset(folder, tmp_path / "shards", shard_mb=0)
    assert {path.name for path in tmp_path.iterdir()} == {"aligned", "shards"}


def test_a_set_without_faces_has_nothing_to_export(tmp_path: Path) -> None:
    faceless = write_aligned(tmp_path / "aligned", {"a/1.png": picture(0)}, faceless=["a/1.png"])
    with pytest.raises(InputError, match="must hold aligned crops"):
        export_webdataset(faceless, tmp_path / "shards", shard_mb=1)


@pytest.mark.parametrize("about", [b"{", b'{"photos": 1, "header": {}}', b'{"photos": 1, "header": 3}'])
def test_a_header_that_nobody_exported_is_refused(tmp_path: Path, about: bytes) -> None:
    write_tar(tmp_path / "a.tar", {"__faceverif__": about, "1.jpg": picture(0)})
    assert "faceverif data export" in refused(tmp_path)


# --- records and shards of others: whether they are aligned is for `already_aligned` to say


@pytest.fixture
def aligned_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(already_aligned.Sample, "form", lambda self: already_aligned.FORMS[1])


@pytest.mark.usefixtures("aligned_by_others")
def test_records_are_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = list(PHOTOS.values())
    path = write_rec(tmp_path, [(number % 2, content) for number, content in enumerate([*contents, b""])])
    dataset = load_aligned(tmp_path)
    assert dataset.table["identity"].to_pylist() == ["000000", "000000", None, "000001", "000001"]
    assert dataset.table["reason"].to_pylist() == [None, None, "damaged_record", None, None]
    assert "1 of 5 photos in" in capsys.readouterr().err
    assert (dataset.header.policy, dataset.header.template) == ("already aligned", "arcface-112")
    assert list(dataset.crops.contents([4, 0])) == [contents[3], contents[0]]
    assert dataset.sha256 == load_aligned(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("aligned_by_others")
@pytest.mark.parametrize("pack", ["records", "shards"])
def test_what_breaks_after_indexing_is_named_with_the_way_out(tmp_path: Path, pack: str) -> None:
    good, bad = picture(0, side=112, form="PNG"), picture(1, side=64, form="PNG")
    if pack == "records":
        path = write_rec(tmp_path, [(0, good), (0, bad)])
    else:
        path = write_tar(tmp_path / "a.tar", {"1.png": good, "2.png": bad})
    crops = load_aligned(path).crops
    assert crops.missing([0, 1]) == []
    with pytest.raises(
        InputError, match=rf"at byte .* of {path}. Run `faceverif align {path} {path}-aligned`"
    ):
        crops.read([0, 1])
    path.write_bytes(path.read_bytes()[:700])
    assert list(crops.decoded([0])) == [None]
    path.unlink()
    assert list(crops.decoded([0, 1])) == [None, None]


def test_photos_that_are_no_crops_are_sent_to_align(tmp_path: Path) -> None:
    path = write_rec(tmp_path, [(0, picture(0, side=112))])
    assert (
        f"must hold aligned crops of the side of a template, to be used without a manifest; "
        f"got other photos in {path}" in refused(path)
    )


# --- a pack's form is asked for once


class Asked:
    """How often the detector was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        monkeypatch.setattr(already_aligned.Sample, "form", lambda sample: self._answer())

    def _answer(self) -> already_aligned.CropForm:
        self.times += 1
        return already_aligned.FORMS[1]


@pytest.mark.parametrize("pack", ["file", "folder", "tar", "tars"])
def test_a_pack_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    asked = Asked(monkeypatch)
    photo = picture(0, side=112)
    if pack in ("file", "folder"):
        written = write_rec(tmp_path, [(0, photo)])
    else:
        written = write_tar(tmp_path / "a.tar", {"1.jpg": photo})
    path = written if pack in ("file", "tar") else tmp_path
    headers = [load_aligned(path).header for _ in range(3)]
    assert asked.times == 1
    assert headers[0] == headers[2]
    written.unlink()
    if pack in ("file", "folder"):
        write_rec(tmp_path, [(0, picture(1, side=112))])
    else:
        write_tar(tmp_path / "a.tar", {"1.jpg": picture(1, side=112)})
    load_aligned(path)
    assert asked.times == 2, "the answer was about other photos"


@pytest.mark.parametrize(
    "memory", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 9999, b'{"sample_sha256": 1, "template": []}']
)
def test_a_damaged_memory_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: bytes) -> None:
    asked = Asked(monkeypatch)
    write_rec(tmp_path, [(0, picture(0, side=112))])
    (tmp_path / ".faceverif.json").write_bytes(memory)
    assert load_aligned(tmp_path).header.template == "arcface-112"
    assert asked.times == 1
    load_aligned(tmp_path)
    assert asked.times == 1


def test_of_a_pack_that_cannot_be_written_beside_the_user_keeps_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, pack = Asked(monkeypatch), tmp_path / "pack"
    pack.mkdir()
    write_rec(pack, [(0, picture(0, side=112))])
    (pack / ".faceverif.json").mkdir()  # root may write anywhere, but not over a folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    headers = [load_aligned(pack).header for _ in range(2)]
    assert asked.times == 1
    assert headers[0] == headers[1]
    (tmp_path / "file").touch()
    monkeypatch.setenv(
        "XDG_CACHE_HOME", str(tmp_path / "file")
    )  # no cache either: it is asked again, and opens
    assert load_aligned(pack).header == headers[0]
    assert asked.times == 2


def test_a_pack_of_narrow_crops_is_sent_to_align(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(already_aligned.Sample, "form", lambda self: already_aligned.FORMS[-1])
    path = write_rec(tmp_path, [(0, picture(0, side=112))])
    assert "got 96 x 112 crops" in refused(path)


# --- a part for each machine


def only_part_of(path: Path, part: Part, *, photos: int) -> bytes:
    """A `.rec` with zeros in place of all photos but those of a part."""
    begins = [int(line.split()[1]) for line in path.with_suffix(".idx").read_text().splitlines()]
    own = part.span(photos)
    first, begin, end, last = (begins[at] for at in (1, 1 + own.start, 1 + own.stop, 1 + photos))
    whole = path.read_bytes()
    return whole[:first] + bytes(begin - first) + whole[begin:end] + bytes(last - end) + whole[last:]


@pytest.mark.usefixtures("aligned_by_others")
def test_parts_of_a_rec_give_the_whole_and_read_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "SAMPLED", 3)
    contents = [picture(seed, side=112) for seed in range(11)]
    path = write_rec(tmp_path / "pack", [(seed // 3, content) for seed, content in enumerate(contents)])
    whole = load_aligned(path)
    export_webdataset(whole, tmp_path / "whole", shard_mb=1)
    together = tmp_path / "together"
    together.mkdir()
    for number in (1, 2, 3):
        intact, part = path.read_bytes(), Part.parse(f"{number}/3")
        path.write_bytes(only_part_of(path, part, photos=len(contents)))
        dataset, rows = load_part(path, part)
        export_webdataset(dataset, tmp_path / f"part-{number}", shard_mb=1, rows=rows, part=part)
        path.write_bytes(intact)
        for shard in (tmp_path / f"part-{number}").glob("*.tar"):
            shard.rename(together / shard.name)
        if number < 3:
            assert "must hold the shards of all 3 parts; got parts 1" in refused(together)
    assert sorted(load_aligned(together).column("photo")) == sorted(whole.column("photo"))
    assert list(load_aligned(together).crops.contents(range(11))) == list(whole.crops.contents(range(11)))
    (together / "part-0001-of-0003-000000.tar").rename(tmp_path / "kept.tar")
    assert "must hold the shards of all 3 parts; got parts 2, 3" in refused(together)
    path.with_suffix(".idx").unlink()
    with pytest.raises(InputError, match="needs the index beside the records"):
        load_part(path, Part(1, 3))


@pytest.mark.parametrize("of", [2, 4, 7])
def test_parts_of_a_rec_are_equal_and_any_number_of_them_gives_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], of: int
) -> None:
    """Each person has a header record at the end of the file, here as many as there are photos."""
    asked = Asked(monkeypatch)
    path = write_rec(tmp_path / "pack", [(number, picture(number, side=112)) for number in range(5)])
    path.with_name("property").write_text("5,112,112")
    whole, memory = load_aligned(path), files(path.parent)
    together = tmp_path / "together"
    together.mkdir()
    crops = []
    for part in (Part(number, of) for number in range(1, of + 1)):
        dataset, rows = load_part(path, part)
        crops.append(export_webdataset(dataset, tmp_path / "part", shard_mb=1, rows=rows, part=part).crops)
        for shard in (tmp_path / "part").glob("*.tar"):
            shard.rename(together / shard.name)
        (tmp_path / "part").rmdir()
    assert sum(crops) == 5
    assert max(crops) - min(crops) <= 1
    assert len(files(together)) == of
    assert contents_of(load_aligned(together)) == contents_of(whole)
    assert "announces" not in capsys.readouterr().err
    assert files(path.parent) == memory
    assert asked.times == 1


@pytest.mark.usefixtures("aligned_by_others")
def test_a_part_has_no_say_in_the_form_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SAMPLED", 2)
    path = write_rec(tmp_path / "pack", [(0, picture(number, side=112)) for number in range(5)])
    load_part(path, Part(1, 2))
    assert set(files(path.parent)) == {"train.rec", "train.idx"}


@pytest.mark.usefixtures("aligned_by_others")
def test_parts_are_recognised_without_a_first_record_and_not_with_a_short_index(tmp_path: Path) -> None:
    path = write_rec(tmp_path, [(number, picture(number, side=112)) for number in range(5)])
    index = path.with_suffix(".idx").read_text().splitlines()
    path.with_suffix(".idx").write_text("\n".join(index[:4]) + "\n")
    with pytest.raises(InputError, match="2 of the 5 photos missing"):
        load_part(path, Part(1, 2))
    path.with_suffix(".idx").write_text("\n".join(index[1:]) + "\n")
    assert sum(len(load_part(path, Part(number, 3))[1]) for number in (1, 2, 3)) == 5


def test_a_folder_has_parts_without_crops_too(folder: AlignedDataset, tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    for part in (Part(number, 5) for number in range(1, 6)):
        dataset, rows = load_part(folder.root, part)
        export_webdataset(dataset, tmp_path / f"{part.number}", shard_mb=1, rows=rows, part=part)
        for shard in (tmp_path / f"{part.number}").glob("*.tar"):
            shard.rename(together / shard.name)
    assert len(files(together)) == 5
    assert contents_of(load_aligned(together)) == {
        photo: content for photo, content in PHOTOS.items() if photo != "bob/4.png"
    }


def test_a_part_of_a_set_without_faces_is_refused(tmp_path: Path) -> None:
    faceless = write_aligned(tmp_path / "aligned", PHOTOS, faceless=list(PHOTOS))
    with pytest.raises(InputError, match="ALIGNED: must hold aligned crops; got none in"):
        load_part(faceless.root, Part(1, 2))


@pytest.mark.parametrize("text", ["0/8", "9/8", "1", "1/0", "-1/2", "a/b", "1/2/3", ""])
def test_a_part_beyond_the_last_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must be a part and how many there are"):
        Part.parse(text)


def test_parts_of_any_number_cover_all_once() -> None:
    for count, of in ((10, 3), (2, 5), (7, 7), (0, 2)):
        spans = [Part(number, of).span(count) for number in range(1, of + 1)]
        assert [place for span in spans for place in range(count)[span]] == list(range(count))
