"""Looking data over: what it is, whole or not, and every kind of damage by name."""

from __future__ import annotations

import hashlib
import shutil
import struct
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from field_formats import picture, write_bin, write_rec, write_tar
from PIL import Image

from data_prep import photos
from data_prep.alignment import find_template
from data_prep.check import Look, check, look
from data_prep.check import photos as photo_check
from data_prep.check.names import doubtful_names
from data_prep.dataset.manifest import MANIFEST_NAME, AlignedDataset, Status, header_for, write_manifest
from data_prep.errors import InputError
from data_prep.fetching.known_sets import KnownSet
from data_prep.made_lists.pair_file import make_pair_list
from data_prep.protocols import protocol_alone


def write_photos(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(number))
    return folder


def problems(path: Path, *, every: bool = False) -> str:
    report = check(path, Look(every))
    assert report.whole == (not report.problems)
    assert report.text().endswith("not whole" if report.problems else "\nwhole")
    return "\n".join(report.problems)


def test_a_folder_in_order(tmp_path: Path) -> None:
    report = check(write_photos(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg"))
    assert report.whole
    assert report.kind == "a folder of photos per identity"
    assert "3 photos of 2 identities" in report.facts
    assert "looked at 3 of 3 pictures: 3 can be decoded" in report.facts


def test_empty_cut_and_foreign_files_are_counted_and_named(tmp_path: Path) -> None:
    write_photos(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    (tmp_path / "a/1.jpg").write_bytes(b"")
    (tmp_path / "a/2.jpg").write_bytes(picture(1, side=64)[:900])
    (tmp_path / "b/notes.txt").write_text("no photo")
    assert problems(tmp_path).splitlines() == [
        "1 file without content (zero bytes, or a dangling link): a/1.jpg",
        "1 photo that cannot be decoded (truncated): a/2.jpg",
    ]
    (tmp_path / "b/phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(80))
    assert "unsupported_format: HEIC, PDF and the like are not read" in check(tmp_path).text()
    assert "skipped 1: no_picture 1 (b/notes.txt)" in check(tmp_path).facts


def test_a_sample_says_so_and_all_finds_what_it_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_SAMPLED", 3)
    write_photos(tmp_path, *(f"a/{number}.jpg" for number in range(9)))
    (tmp_path / "a/1.jpg").write_bytes(b"broken")
    assert "looked at 3 of 9 pictures: 3 can be decoded; --all looks at every one" in check(tmp_path).facts
    assert "a/1.jpg" in problems(tmp_path, every=True)


def test_folders_above_the_people_are_gone_through_or_named(tmp_path: Path) -> None:
    assert check(write_photos(tmp_path / "nested", "lfw/a/1.jpg", "lfw/b/1.jpg")).whole
    splits = write_photos(tmp_path / "split", "train/a/1.jpg", "test/b/1.jpg")
    assert f"faceverif align {splits}/train OUT" in problems(splits)


@pytest.mark.parametrize("name", ["d", "plain.tar", "zipped.tar.gz", "within/d", "in/a.tar", "in/a.tgz"])
def test_small_pictures_for_classify_in_a_tar_or_a_folder(tmp_path: Path, name: str) -> None:
    names = [f"{split}/{label}/{n}.png" for split in ("train", "test") for label in "ab" for n in range(2)]
    write_photos(tmp_path / "within/d", *names)
    if name == "d":
        shutil.copytree(tmp_path / "within/d", tmp_path / name)
    elif ".t" in name:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
            archive.add(tmp_path / "within/d", arcname=".")
    report = check(tmp_path / ("in" if name.startswith("in/") else name))
    assert report.whole
    assert report.facts == [f"{split}: 4 pictures of 2 classes, 24 x 24" for split in ("train", "test")]


def test_photos_of_people_in_splits_are_no_pictures_for_classify(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "large" / split / "a").mkdir(parents=True)
        (tmp_path / "large" / split / "a/1.jpg").write_bytes(picture(0, side=65))
    with tarfile.open(tmp_path / "large.tar", "w") as archive:
        archive.add(tmp_path / "large", arcname=".")
    assert "a folder per person on top" in problems(tmp_path / "large")
    assert "a folder per person on top" in problems(tmp_path / "large.tar")
    (tmp_path / "large/test/a/1.jpg").write_bytes(b"broken")
    assert "a folder per person on top" in problems(tmp_path / "large")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "large.tar").read_bytes()[:-10_000])
    assert "must be a whole tar" in problems(tmp_path / "cut.tar")


def test_lfw_is_known_by_its_names_and_compared_with_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lfw = write_photos(
        tmp_path / "lfw", "George_W_Bush/George_W_Bush_0001.jpg", "George_W_Bush/George_W_Bush_0002.jpg"
    )
    pair = "George_W_Bush\t1\t2\n"
    (tmp_path / "pairs.txt").write_text(f"2\t1\n{pair}George_W_Bush\t1\tAnn\t1\n" + f"{pair}Ann\t1\tBob\t1\n")
    assert "13,233 photos of 5,749 people: this is not all of it" in problems(lfw)
    assert "pairs.txt: both photos of 2 of 4 pairs are there" in problems(lfw)
    small = KnownSet("lfw", "LFW", "page", "terms", photos=2, identities=1)
    monkeypatch.setattr(photo_check, "LFW", small)
    assert "as many as LFW has" in check(lfw).facts


def test_a_list_beside_the_photos_of_another_benchmark_is_not_compared_with_them(tmp_path: Path) -> None:
    """CALFW and CPLFW call their photos alike."""
    photos = [write_photos(tmp_path / name, "Ann_1.jpg", "Bob_1.jpg") for name in ("calfw", "cplfw")]
    lines = "Ann_1.jpg 1\nAnn_1.jpg 1\n\nAnn_1.jpg 0\nBob_1.jpg 0\n"
    (tmp_path / "pairs_CALFW.txt").write_text(lines * 2)
    calfw, cplfw = map(check, photos)
    assert "pairs_CALFW.txt: both photos of 4 of 4 pairs are there" in calfw.facts
    assert "pairs_CALFW.txt is about the photos of CALFW, not about these" in cplfw.facts


def test_celeba_misses_photos_by_name(tmp_path: Path) -> None:
    write_photos(tmp_path / "images", "000001.jpg", "000002.jpg", "stray.jpg")
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 7\n000002.jpg 8\n000003.jpg 7\n")
    found = problems(tmp_path)
    assert "1 photo missing that the identity file names: 000003" in found
    assert "202,599 photos of 10,177 people" in found
    assert "1 file not a part of it (no_identity)" in check(tmp_path).facts


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    rec = write_rec(tmp_path, [(1, picture(1)), (1, picture(2)), (2, picture(3))])
    assert check(tmp_path).whole
    offsets = [int(line.split()[1]) for line in rec.with_suffix(".idx").read_text().splitlines()]
    data = bytearray(rec.read_bytes())
    data[offsets[2] : offsets[2] + 4] = b"\0\0\0\0"
    rec.write_bytes(data)
    assert problems(tmp_path) == "1 photo that cannot be used (damaged_record): 0000002"
    data[offsets[2] : offsets[2] + 4] = data[offsets[1] : offsets[1] + 4]
    data[offsets[3] + 40 : offsets[3] + 60] = bytes(20)
    rec.write_bytes(data)
    assert "1 photo that cannot be decoded" in problems(tmp_path)


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"1.jpg": picture(1), "1.json": b"{", "2.jpg": picture(2)})
    assert "1 photo that cannot be used (damaged_json): a/1.jpg" in problems(path)


def test_without_believable_labels_nothing_is_whole(tmp_path: Path) -> None:
    flat = write_photos(tmp_path / "flat", "1.jpg", "2.jpg")
    assert "no photo has an identity" in problems(flat)
    assert "no photo has an identity" in problems(flat / "1.jpg")
    assert "no photo has an identity" in problems(write_tar(tmp_path / "a.tar", {"./1.jpg": picture(1)}))
    assert "all 2 photos have one identity, Ann" in problems(
        write_photos(tmp_path / "one", "Ann/1.jpg", "Ann/2.jpg")
    )
    some = write_photos(tmp_path / "some", "cover.jpg", "Ann/1.jpg", "Bob/1.jpg")
    assert problems(some) == "1 photo without an identity: cover.jpg"
    each = {f"{number}.jpg": picture(number) for number in range(21)}
    labels = {f"{number}.cls": b"%d" % number for number in range(21)}
    assert "has its own identity" in problems(write_tar(tmp_path / "b.tar", each | labels))
    labels = {f"{number}.cls": b"%d" % (number % 3) for number in range(20)} | {"20.cls": b"\0\xff"}
    assert (
        problems(write_tar(tmp_path / "c.tar", each | labels))
        == "1 photo that cannot be used (damaged_label): c/20.jpg"
    )


def test_a_name_forges_no_line_of_the_report(tmp_path: Path) -> None:
    forged = "x\nwhole\x1b[2J\u202e.jpg"
    path = write_tar(tmp_path / "a.tar", {forged: b"", f"notes{forged}.txt": b""})
    text = check(path).text()
    assert "x\\nwhole\\x1b[2J\\u202e.jpg" in text
    assert text.splitlines().count("whole") == 0
    assert "\x1b" not in text


def test_huge_photos_are_named_and_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path, "a/1.jpg", "b/1.jpg")
    monkeypatch.setattr(photos, "LARGEST_PX", 24 * 24 - 1)
    assert "2 photos too large without `align --allow-huge`: a/1.jpg, b/1.jpg" in check(tmp_path).facts


def test_a_bin_has_photos_and_pairs(tmp_path: Path) -> None:
    photos = [picture(number) for number in range(40)]
    same = [number % 2 == 0 for number in range(20)]
    report = check(write_bin(tmp_path / "set.bin", photos, same))
    assert report.whole
    assert any("20 pairs, 10 genuine and 10 impostor, 10 folds" in fact for fact in report.facts)
    assert "6,000 pairs" in problems(write_bin(tmp_path / "agedb_30.bin", photos, same))
    (tmp_path / "cut.bin").write_bytes((tmp_path / "set.bin").read_bytes()[:-30])
    assert "cut.bin" in problems(tmp_path / "cut.bin")


def test_lists_of_pairs(tmp_path: Path) -> None:
    lines = [f"a/{number},b/{number},{number % 2}" for number in range(8)]
    (tmp_path / "list.csv").write_text("\n".join(["left,right,same", *lines]))
    report = check(tmp_path / "list.csv")
    assert report.whole
    assert "list: 8 pairs, 4 genuine and 4 impostor, 4 folds" in report.facts[0]
    sha256 = hashlib.sha256((tmp_path / "list.csv").read_bytes()).hexdigest()
    assert report.facts[1].startswith("separated by commas; columns left, right, same")
    assert report.facts[1].endswith(f"sha256 {sha256}")
    (tmp_path / "list.csv").write_text("left,right,same\n../../etc/passwd,b,1\n")
    assert "must stay inside its folder" in problems(tmp_path / "list.csv")
    (tmp_path / "pairs.txt").write_text("2\t1\nA\t1\t2\nA\t1\tB\t1\nA\t1\t2\nA\t1\tB\t1\n")
    assert "a list in LFW's form, not LFW's own" in check(tmp_path / "pairs.txt").facts[1]


def test_names_that_make_trouble_later_are_named(tmp_path: Path) -> None:
    one, two = "\u00e9mile", "e\u0301mile"
    odd = ["a/new\nline.jpg", "a/back\\slash.jpg", "trail /1.jpg", "a/'quoted'.jpg", 'a/say "hi".jpg']
    photos = write_photos(
        tmp_path / "p", f"{one}/1.jpg", f"{two}/1.jpg", "Bo/1.jpg", "bo /1.jpg", "a/1.jpg", *odd
    )
    alike, unlistable = sorted(check(photos).named.items())
    assert alike[0].startswith("4 identities with a name that differs from another one in case")
    assert set(alike[1]) == {repr(one), repr(two), "'Bo'", "'bo '"}
    assert set(unlistable[1]) == {"'a/new\\nline.jpg'", r"'a/back\\slash.jpg'", "'trail '", "'bo '"}
    assert check(write_photos(tmp_path / "q", "Anna/1.jpg", "Ann/1.jpg")).whole


@pytest.mark.parametrize(
    "name", ["a\rb", "a\tb", "'a'", " a", "a\x85b", "#a", "a//b", "./a", "a\u2028b", '"a"']
)
def test_only_names_that_a_list_loses_are_doubtful(tmp_path: Path, name: str) -> None:
    photos = [name, *(f"p{person}/{photo}" for person in range(4) for photo in range(3))][:-1]
    rows = [{"photo": photo, "identity": f"p{place // 3}", "crop": "c"} for place, photo in enumerate(photos)]
    header = header_for(find_template("arcface-112"), policy="none", min_face_px=20)
    write_manifest(tmp_path, header, [row | {"status": "aligned"} for row in rows])
    refused = pytest.raises(InputError, match="must have names that a list can hold")
    with refused if doubtful_names([], [name]) else nullcontext():
        make_pair_list(AlignedDataset.load(tmp_path), tmp_path / "m.csv", folds=2, pairs=None, seed=0)


def test_pairs_that_contradict_themselves_are_named(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    rows = ["a/1,a/2,1", "a/1,b/1,0", "a/2,a/1,0", "b/1,b/1,0", "b/1,b/2,1", "a/2,b/1,0"]
    path.write_text("\n".join(["left,right,same", *rows]))
    said = problems(path)
    assert "1 impostor pair of a photo with itself: b/1" in said
    assert "1 pair both as genuine and as impostor: a/1 and a/2" in said


def test_a_text_that_is_no_list_is_refused_in_the_words_of_verify(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    for content, got in (
        (b"Chapter 1\n", "got first line 'Chapter 1'. Write a pair per line"),
        (b"left,right,same\n\xff,b,1\n", "save it again as UTF-8"),
        (b"", "got an empty file"),
    ):
        path.write_bytes(content)
        said = []
        for read in (check, protocol_alone):
            with pytest.raises(InputError) as raised:
                read(path)
            said.append(str(raised.value))
        assert said[0] == said[1]
        assert got in said[0]


def write_mnist(folder: Path) -> Path:
    for part, count in (("train", 3), ("t10k", 2)):
        for name, shape in (
            (f"{part}-images-idx3-ubyte", (count, 4, 4)),
            (f"{part}-labels-idx1-ubyte", (count,)),
        ):
            header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
            (folder / name).write_bytes(header + bytes(int(np.prod(shape))))
    return folder


def test_idx_files_are_counted(tmp_path: Path) -> None:
    assert problems(write_mnist(tmp_path)).splitlines() == [
        "train: 3 images with labels, 4 x 4; MNIST has 60,000",
        "t10k: 2 images with labels, 4 x 4; MNIST has 10,000",
    ]
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert "must hold t10k-labels-idx1-ubyte" in problems(tmp_path)


def test_other_things_and_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("Chapter 1\n")
    (tmp_path / "random").write_bytes(b"\xff\x00\x01")
    for path, rule in (
        (tmp_path / "thesis.txt", "must be a list of pairs"),
        (tmp_path / "random", "must be one of"),
        (tmp_path / "nowhere", "must be a data set"),
    ):
        with pytest.raises(InputError, match=rule):
            check(path)


# --- aligned data sets


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    rows = []
    for number in range(4):
        crop = tmp_path / f"{number}.png"
        Image.new("RGB", (112, 112), (number, 0, 0)).save(crop)
        row = {"photo": f"a/{number}.jpg", "identity": "a", "crop": crop.name, "status": Status.ALIGNED.value}
        rows.append(row | {"crop_sha256": hashlib.sha256(crop.read_bytes()).hexdigest()})
    rows.append({"photo": "b/1.jpg", "identity": "b", "status": Status.FAILED.value, "reason": "truncated"})
    write_manifest(tmp_path, header_for(find_template("arcface-112"), policy="test", min_face_px=20), rows)
    return tmp_path


def test_an_aligned_set_in_order(aligned: Path) -> None:
    report = check(aligned)
    assert report.whole
    assert "5 photos of 2 identities: 4 aligned, 0 no_face, 1 failed" in report.facts
    assert "truncated: b/1.jpg" in report.facts
    assert not any("no hashes" in fact for fact in report.facts)


def _smaller(crop: Path) -> None:
    Image.new("RGB", (64, 64)).save(crop)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (Path.unlink, ["1 crop missing or with zero bytes: 2.png"]),
        (
            lambda crop: shutil.copy(crop.with_name("1.png"), crop),
            ["1 crop changed since alignment: 2.png"],
        ),
        (lambda crop: crop.write_bytes(b""), ["1 crop missing or with zero bytes: 2.png"]),
        (
            _smaller,
            [
                "1 crop changed since alignment: 2.png",
                "1 crop that cannot be read as 112 x 112: 2.png",
            ],
        ),
    ],
    ids=["gone", "another", "empty", "smaller"],
)
def test_damaged_crops_are_named(aligned: Path, damage: Callable[[Path], None], found: list[str]) -> None:
    damage(aligned / "2.png")
    assert check(aligned).problems == found


def test_a_damaged_manifest_and_an_unfinished_alignment_are_problems(aligned: Path) -> None:
    (aligned / MANIFEST_NAME).write_bytes(b"PAR1 cut short")
    assert "the manifest must be one that `faceverif align` wrote" in problems(aligned)
    (aligned / MANIFEST_NAME).unlink()
    (aligned / "journal.jsonl").touch()
    assert "run the same `faceverif align` again" in problems(aligned)


@pytest.mark.real_data
def test_real_data_are_what_they_are_said_to_be(shared: Path) -> None:
    lfw = check(shared / "data/lfw/lfw-deepfunneled")
    assert lfw.whole
    assert "pairs.txt: both photos of 6,000 of 6,000 pairs are there" in lfw.facts
    assert "7,000 photos of 500 people: this is not all of it" in problems(shared / "data/cfp")
    for name in ("pairs.txt", "pairsDevTest.txt"):
        assert check(shared / "data/lfw" / name).facts[1].startswith("LFW's own pairs")
