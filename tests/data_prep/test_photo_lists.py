"""Lists of a gallery and of probes, and TinyFace's own: read by stated rules, or refused in one line."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from data_prep.errors import InputError
from data_prep.protocols.identification import load_identification, load_lists
from data_prep.protocols.list_note import ListNote

GALLERY = "photo,identity\nAnn/1.jpg,Ann\nBo/1.jpg,Bo\nBo/2.jpg,Bo\nx/1.jpg,\ny/1.jpg,\n"
PROBES = "photo,identity\nBo/3.jpg,Bo\nCy/1.jpg,Cy\nz.jpg,\n"


def write(folder: Path, gallery: str = GALLERY, probes: str = PROBES) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "gallery.csv", folder / "probes.csv"
    for path, text in zip(paths, (gallery, probes), strict=True):
        path.write_bytes(text.encode())
    return paths


def test_people_become_numbers_and_those_without_a_name_stay_apart(tmp_path: Path) -> None:
    found = load_lists(*write(tmp_path / "mine"))
    people = found.people()
    assert found.name == "mine"
    assert people.gallery.tolist() == [0, 1, 1, 2, 3]
    assert people.probes.tolist() == [1, -1, -1]
    assert people.names == ["Ann", "Bo", "", ""]
    assert "columns photo, identity" in found.reading
    assert load_identification(tmp_path / "mine").sha256 == found.sha256


@pytest.mark.parametrize("sign", [",", ";", "\t", " "])
@pytest.mark.parametrize("header", ["photo,identity", "Image,Person", "file_path,subject-id", ""])
def test_separators_headers_and_line_ends(tmp_path: Path, sign: str, header: str) -> None:
    rows = ["Ann/1.jpg,Ann", "Bo/1.jpg,Bo"]
    text = "\r\n".join([*([header] if header else []), *rows]).replace(",", sign)
    found = load_lists(*write(tmp_path, gallery=text))
    assert (found.gallery.photos, found.gallery.identities) == (("Ann/1.jpg", "Bo/1.jpg"), ("Ann", "Bo"))


def test_other_columns_backslashes_and_folders_of_another_machine(tmp_path: Path) -> None:
    gallery = "identity,quality,path\nAnn,0.3,D:\\faces\\Ann\\1.jpg\nBo,0.9,D:\\faces\\Bo\\1.jpg\n"
    found = load_lists(*write(tmp_path, gallery=gallery))
    assert found.gallery.photos == ("Ann/1.jpg", "Bo/1.jpg")
    assert "without quality" in found.reading


def test_a_row_number_is_nobodys_name(tmp_path: Path) -> None:
    gallery, probes = "id,file,name\n1,a.jpg,Anna\n2,b.jpg,Bob\n", "id,file,name\n1,c.jpg,Bob\n2,d.jpg,Anna\n"
    found = load_lists(*write(tmp_path, gallery=gallery, probes=probes))
    assert found.people().probes.tolist() == [1, 0]
    assert "; name names the people, not id; probes" in found.reading
    alone = load_lists(*write(tmp_path, gallery="id,file\n7,a.jpg\n", probes="id,file\n7,b.jpg\n"))
    assert alone.people().probes.tolist() == [0]


def test_nobody_is_an_empty_field(tmp_path: Path) -> None:
    probes = "photo,identity\na.jpg,Bo\nb.jpg,NA\nc.jpg,nan\nd.jpg,None\ne.jpg,nan\n"
    found = load_lists(*write(tmp_path, probes=probes))
    assert found.people().probes.tolist() == [1, -1, -1, -1, -1]
    assert found.probes.identities == ("Bo", "", "", "", "")
    assert found.reading.endswith("nobody is meant by NA, nan, None (4 photos)")
    for word in ("-1", "Unknown", "stranger"):
        with pytest.raises(
            InputError, match=r"probes\.csv, line 3: an identity must .* leave the identity empty"
        ):
            load_lists(*write(tmp_path, probes=f"photo,identity\na.jpg,Bo\nb.jpg,{word}\n"))


@pytest.mark.parametrize(
    ("one", "other"), [("Anna", "anna"), ("1", "1.0"), ("7", "007"), ("José", "Jose"), ("Al Gore", "al_gore")]
)
def test_a_person_is_spelled_in_one_way(tmp_path: Path, one: str, other: str) -> None:
    gallery, probes = f"photo,identity\na.jpg,{one}\n", f"photo,identity\nb.jpg,{other}\n"
    with pytest.raises(
        InputError, match=r"probes\.csv: must spell each person in one way, as .*gallery\.csv"
    ):
        load_lists(*write(tmp_path, gallery, probes))
    with pytest.raises(InputError, match="must spell each person in one way"):
        load_lists(*write(tmp_path, f"{gallery}c.jpg,{other}\n", PROBES))
    assert load_lists(*write(tmp_path, GALLERY, f"{probes}c.jpg,{one}\n")).people().probes.tolist() == [
        -1,
        -1,
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("かな", "がな"), ("m.0_1", "m.01"), ("n1", "n01"), ("Ann Li", "Annli"), ("1.5", "15")]
)
def test_names_that_differ_more_are_of_two_people(tmp_path: Path, one: str, other: str) -> None:
    gallery, probes = f"photo,identity\na.jpg,{one}\n", f"photo,identity\nb.jpg,{other}\nc.jpg,{one}\n"
    assert load_lists(*write(tmp_path, gallery, probes)).people().probes.tolist() == [-1, 0]


def test_an_accent_may_be_one_letter_or_two(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    assert one != two
    gallery, probes = f"photo,identity\na.jpg,{two}\n", f"photo,identity,mated\nb.jpg,{one}\tyes\n"
    found = load_lists(*write(tmp_path, gallery, probes.replace("\t", ",")))
    assert (found.people().probes.tolist(), found.people().names) == ([0], [one])
    assert found.gallery.identities == found.probes.identities == (one,)


def test_lists_as_they_were_made_keep_the_names_of_their_data(tmp_path: Path) -> None:
    gallery, probes = [("a.jpg", "NA"), ("b.jpg", "Bo"), ("c.jpg", "bo")], [("d.jpg", "-1"), ("e.jpg", "BO")]
    texts = []
    for photos in (gallery, probes):
        note = ListNote.of_photos(photos, holds=f"{len(photos)} photos", how="seed 0")
        texts.append("\n".join([note.line(), "photo,identity", *map(",".join, photos)]) + "\n")
    found = load_lists(*write(tmp_path, *texts))
    assert found.people().names == ["Bo", "NA", "bo"]
    with pytest.raises(InputError, match=r"probes\.csv, line 3: an identity must name a person; got '-1'"):
        load_lists(*write(tmp_path, texts[0], texts[1] + "f.jpg,Cy\n"))


def test_who_is_mated_may_be_said_and_must_be_true(tmp_path: Path) -> None:
    right = "photo,identity,mated\nBo/3.jpg,Bo,1\nCy/1.jpg,Cy,0\n"
    assert load_lists(*write(tmp_path, probes=right)).people().probes.tolist() == [1, -1]
    wrong = "photo,identity,mated\nBo/3.jpg,Bo,yes\nCy/1.jpg,Cy,yes\nDi/1.jpg,Di,no\n"
    with pytest.raises(
        InputError, match=r"probes.csv, line 3: .*got Cy/1.jpg of Cy, mated. Add a photo of Cy"
    ):
        load_lists(*write(tmp_path, probes=wrong))
    with pytest.raises(InputError, match=r"line 2: .*Bo, not mated"):
        load_lists(*write(tmp_path, probes="photo,identity,mated\nBo/3.jpg,Bo,0\nz.jpg,,1\n"))
    with pytest.raises(InputError, match="line 3: the column `mated` must be 1 or 0; got 'perhaps'"):
        load_lists(*write(tmp_path, probes="photo,identity,mated\nBo/3.jpg,Bo,1\nz.jpg,,perhaps\n"))


@pytest.mark.parametrize(
    ("gallery", "probes", "said"),
    [
        ("", PROBES, r"gallery.csv: must hold photos; got an empty file"),
        ("photo,identity\n", PROBES, r"gallery.csv: must hold gallery photos; got none"),
        (GALLERY, "photo,identity\n", r"probes.csv: must hold probe photos; got none"),
        (GALLERY + "Ann/1.jpg,Ann\n", PROBES, r"gallery.csv: must name each photo once; got Ann/1.jpg again"),
        (GALLERY + "Ann/1.jpg,Bo\n", PROBES, r"gallery.csv: must name each photo once"),
        (GALLERY, PROBES + "Bo/3.jpg,Bo\n", r"probes.csv: must name each photo once; got Bo/3.jpg again"),
        (GALLERY, PROBES + "Ann/1.jpg,Ann\n", r"which would find itself; got 1 such photo: Ann/1.jpg"),
        (GALLERY + "Ann/9.jpg,Ann,x\n", PROBES, r"gallery.csv, line 7: must have the header's columns"),
        (GALLERY + ",Ann\n", PROBES, r"gallery.csv, line 7"),
        (
            "left,right,same\na.jpg,b.jpg,1\n",
            PROBES,
            r"gallery.csv: must be a list of photos and their people",
        ),
        ("../a.jpg,Ann\n", PROBES, r"gallery.csv, line 1: a photo's name must stay inside its folder"),
    ],
)
def test_lists_that_break_the_rules(tmp_path: Path, gallery: str, probes: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_lists(*write(tmp_path, gallery, probes))
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    gallery, probes = write(tmp_path)
    with pytest.raises(InputError, match=r"^--probes: must be a list of photos"):
        load_lists(gallery, tmp_path / "none.csv")
    probes.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="must be a list of photos and their people in UTF-8 text"):
        load_lists(gallery, probes)
    with pytest.raises(
        InputError, match=r"^--protocol: must be a folder with gallery.csv and probes.csv or Tiny"
    ):
        load_identification(tmp_path / "none")


def write_tinyface(root: Path, *, gallery_ids: list[int], probe_ids: list[int], distractors: int = 2) -> Path:
    folder = root / "Testing_Set"
    for name, kind, ids in (("gallery_match", "gallery", gallery_ids), ("probe", "probe", probe_ids)):
        photos = np.empty((len(ids), 1), object)
        photos[:, 0] = [f"{person}_{place}.jpg" for place, person in enumerate(ids)]
        folder.mkdir(parents=True, exist_ok=True)
        content = {f"{kind}_set": photos, f"{kind}_ids": np.array(ids, np.uint16)[:, None]}
        savemat(folder / f"{name}_img_ID_pairs.mat", content)
    (folder / "Gallery_Distractor").mkdir()
    for number in range(distractors):
        (folder / "Gallery_Distractor" / f"{number}.jpg").write_bytes(b"photo")
    return folder


def test_tinyface_is_read_as_published(tmp_path: Path) -> None:
    folder = write_tinyface(tmp_path, gallery_ids=[7, 7, 9], probe_ids=[9, 7])
    found = load_identification(tmp_path)
    people = found.people()
    assert found.gallery.photos[:3] == (
        "Gallery_Match/7_0.jpg",
        "Gallery_Match/7_1.jpg",
        "Gallery_Match/9_2.jpg",
    )
    assert sorted(found.gallery.photos[3:]) == ["Gallery_Distractor/0.jpg", "Gallery_Distractor/1.jpg"]
    assert found.probes.photos == ("Probe/9_0.jpg", "Probe/7_1.jpg")
    assert people.gallery.tolist() == [0, 0, 1, 2, 3]
    assert people.probes.tolist() == [1, 0]
    assert found.title.startswith("tinyface (partial: 3 of 4,443 gallery photos, 2 of 3,728 probes")
    assert load_identification(folder).sha256 == found.sha256


def test_tinyface_with_something_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"every probe of TinyFace shows .*; got person 8"):
        load_identification(write_tinyface(tmp_path / "a", gallery_ids=[7], probe_ids=[7, 8]))
    folder = write_tinyface(tmp_path / "b", gallery_ids=[7], probe_ids=[7])
    (folder / "probe_img_ID_pairs.mat").write_bytes(b"no MATLAB file" * 20)
    with pytest.raises(InputError, match=r"probe_img_ID_pairs.mat: must be a list of TinyFace"):
        load_identification(folder)
    (folder / "probe_img_ID_pairs.mat").unlink()
    with pytest.raises(InputError, match="must lie beside the other list"):
        load_identification(folder)
    folder = write_tinyface(tmp_path / "c", gallery_ids=[7], probe_ids=[7], distractors=0)
    (folder / "Gallery_Distractor").rmdir()
    with pytest.raises(InputError, match=re.escape("must hold the photos of unknown people")):
        load_identification(folder)
