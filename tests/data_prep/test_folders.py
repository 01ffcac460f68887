"""Folders as people have them: nested, with splits, flat, with notes, links and pipes in them."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from data_prep.check import check
from data_prep.errors import InputError
from data_prep.photos import PhotoError
from data_prep.sources import find_format, list_source
from data_prep.sources.people_folders import people_level
from data_prep.walk import walk


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"photo")
    return folder


def identities(source: Path) -> dict[str, str | None]:
    return {photo.key: photo.identity for photo in list_source(source).photos}


# --- which folder names the person


@pytest.mark.parametrize(
    "above", ["", "lfw/", "lfw-deepfunneled/lfw-deepfunneled/", "data/images/", "train/"]
)
def test_folders_above_the_people_are_gone_through(
    tmp_path: Path, above: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, f"{above}Ann/1.jpg", f"{above}Bob/1.jpg", f"{above}Bob/more/2.jpg")
    assert identities(tmp_path) == {"Ann/1.jpg": "Ann", "Bob/1.jpg": "Bob", "Bob/more/2.jpg": "Bob"}
    assert ("name the people" in capsys.readouterr().err) == bool(above)


def test_a_cover_beside_the_only_folder_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "cover.jpg", "lfw/Ann/1.jpg", "lfw/Ann/2.jpg", "lfw/Bob/1.jpg")
    assert identities(tmp_path) == {
        "cover.jpg": None,
        "lfw/Ann/1.jpg": "Ann",
        "lfw/Ann/2.jpg": "Ann",
        "lfw/Bob/1.jpg": "Bob",
    }
    assert "almost everything lies in lfw/, so the folders in it name" in capsys.readouterr().err


def test_one_person_is_one_person(tmp_path: Path) -> None:
    assert set(identities(put(tmp_path, "Ann/1.jpg", "Ann/2.jpg", "Ann/old/3.jpg")).values()) == {"Ann"}


@pytest.mark.parametrize("kind", ["images", "train", "photos_2"])
def test_a_folder_of_loose_photos_is_nobody(tmp_path: Path, kind: str) -> None:
    assert set(identities(put(tmp_path, f"{kind}/1.jpg", f"{kind}/2.jpg")).values()) == {None}


@pytest.mark.parametrize(
    "names",
    [
        ["train/n1/1.jpg", "test/n2/1.jpg"],
        ["vgg/Train/n1/1.jpg", "vgg/Val/n2/1.jpg"],
        ["vggface2_train/n1/1.jpg", "vggface2_test/n2/1.jpg"],
        ["training_set/n1/1.jpg", "validation-set/n2/1.jpg", "test1/n3/1.jpg"],
        ["train/1.jpg", "test/2.jpg"],
        ["Ann/1.jpg", "Bob/1.jpg", "test/Cid/1.jpg"],
        ["data/Ann/1.jpg", "data/Bob/1.jpg", "samples/1.jpg"],
        ["lfw/Ann/Ann_0001.jpg", "lfw-deepfunneled/Ann/Ann_0001.jpg"],
        ["left/Ann/Ann_0001.jpg", "right/Ann/Ann_0002.jpg"],
        ["A/Ann/1.jpg", "A/Abe/1.jpg", "B/Bob/1.jpg", "C/Cid/1.jpg"],
        ["African/m.01/1.jpg", "African/m.02/1.jpg", "Asian/m.03/1.jpg", "Asian/m.04/1.jpg"],
    ],
)
def test_splits_and_groups_above_the_people_are_refused_with_the_command(
    tmp_path: Path, names: Sequence[str]
) -> None:
    with pytest.raises(InputError, match="must have a folder per person on top") as refused:
        list_source(put(tmp_path / "set of mine", *names))
    commands = refused.value.fix.split("faceverif align '")[1:]
    folders = [command.split("'")[0] for command in commands]
    assert len(folders) >= 1
    for folder in folders:
        assert list_source(Path(folder)).photos


@pytest.mark.parametrize(
    "names",
    [
        ["Ann/0/1.jpg", "Ann/1/1.jpg", "Bob/0/1.jpg"],
        ["Ann/0/0.555.jpg", "Ann/1/1.37.jpg", "Bob/0/0.12.jpg"],  # YouTube Faces: VIDEO/VIDEO.FRAME.jpg
        ["Ann/Ann_x/Ann_1.jpg", "Ann/Ann_y/Ann_2.jpg", "Bob/Bob_z/Bob_3.jpg"],
        ["Test/1.jpg", "Val_Kilmer/1.jpg", "Val_Kilmer/more/2.jpg"],
        ["Val_Kilmer/a/1.jpg", "Dev_Patel/a/1.jpg"],
        ["Kapil_Dev/0/1.jpg", "Ann/0/1.jpg", "Ann/1/1.jpg"],
        ["Ann/1.jpg", "Ann/x/1.jpg", "Ann/y/1.jpg", "Bob/z/1.jpg"],
    ],
)
def test_people_with_folders_of_their_own_stay(tmp_path: Path, names: Sequence[str]) -> None:
    assert people_level(names, tmp_path) == 0


# --- photos without identities


def test_a_flat_folder_and_a_single_photo(tmp_path: Path) -> None:
    put(tmp_path / "flat", "1.jpg", "2.PNG", "IMG_0003.jpg")
    assert identities(tmp_path / "flat") == {"1.jpg": None, "2.PNG": None, "IMG_0003.jpg": None}
    assert identities(tmp_path / "flat/1.jpg") == {"1.jpg": None}
    with pytest.raises(InputError, match="must hold photos; got none"):
        list_source(put(tmp_path / "texts", "1.txt"))
    with pytest.raises(InputError, match="must be a folder or file of photos"):
        list_source(tmp_path / "texts/1.txt")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("lfw.zip", "Unpack the archive, and give its folder."),
        (
            "train-00000.parquet",
            "`faceverif align` reads no Parquet: write .* Crops that are aligned already",
        ),
    ],
)
def test_photos_in_another_form_are_refused_with_the_way_out(tmp_path: Path, name: str, fix: str) -> None:
    source = put(tmp_path / "set", name)
    for given, got in ((source, f"none in .*{name}"), (source / name, str(source / name))):
        with pytest.raises(InputError, match=f"got {got}.*{fix}"):
            list_source(given)


def test_notes_are_skipped_and_named(tmp_path: Path) -> None:
    put(tmp_path, "Ann/1.jpg", "Ann/notes.txt", "Ann/1.5pt", "list.csv")
    put(tmp_path, "Ann/Thumbs.db", ".DS_Store", "__MACOSX/1.jpg", "Bob/.1.jpg", "Bob/@eaDir/1.jpg")
    (tmp_path / "Bob/no ending").write_bytes(b"\xff\xd8\xff\xe0 and so on")
    photos, skipped = list_source(tmp_path)
    assert [photo.key for photo in photos] == ["Ann/1.jpg", "Bob/no ending"]
    assert len(skipped) == 8
    assert "no_picture 3 (list.csv, Ann/1.5pt, Ann/notes.txt)" in skipped.text()
    assert "system_file 5 (.DS_Store, __MACOSX, Ann/Thumbs.db, ...)" in skipped.text()


# --- links, pipes, devices


def test_links_never_lead_round_in_circles(tmp_path: Path) -> None:
    put(tmp_path / "set", "Ann/1.jpg", "Bob/1.jpg")
    (tmp_path / "set/Ann/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/Ann/above").symlink_to(tmp_path)
    (tmp_path / "set/Ann/bob").symlink_to(tmp_path / "set/Bob")
    (tmp_path / "set/Bob/ann").symlink_to(tmp_path / "set/Ann")
    (tmp_path / "set/self").symlink_to(tmp_path / "set/self")
    photos, skipped = list_source(tmp_path / "set")
    assert [photo.key for photo in photos] == ["Ann/1.jpg", "Bob/1.jpg"]
    assert "linked_twice 4" in skipped.text()


def test_a_link_to_itself_costs_its_photo_alone(tmp_path: Path) -> None:
    """Also in sets whose links must stay inside, where every link is followed to its end."""
    put(tmp_path, "img/000001.jpg")
    (tmp_path / "img/000002.jpg").symlink_to("000002.jpg")
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 1\n000002.jpg 1\n")
    one, other = list_source(tmp_path).photos
    assert (one.read(), other.key) == (b"photo", "00001/000002.jpg")
    with pytest.raises(PhotoError, match="unreadable"):
        other.read()


def test_a_linked_folder_from_elsewhere_is_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "store", "Cid/1.jpg")
    put(tmp_path / "set", "Bob/1.jpg")
    (tmp_path / "set/Ann").symlink_to(tmp_path / "store/Cid")
    (tmp_path / "set/Dan").symlink_to(tmp_path / "store/Cid")
    photos, skipped = list_source(tmp_path / "set")
    assert [photo.key for photo in photos] == ["Ann/1.jpg", "Bob/1.jpg"]
    assert skipped.text() == "skipped 1: linked_twice 1 (Dan)"


def test_many_links_to_each_other_take_no_time(tmp_path: Path) -> None:
    for one in range(12):
        put(tmp_path, f"{one}/1.jpg")
        for other in range(12):
            (tmp_path / f"{one}/to{other}").symlink_to(tmp_path / str(other))
    assert len(list(walk(tmp_path))) == 13


def test_pipes_and_sockets_are_skipped_and_broken_links_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "Ann/1.jpg", "Ann/2.jpg")
    os.mkfifo(tmp_path / "Ann/pipe.jpg")
    (tmp_path / "Ann/null.jpg").symlink_to("/dev/null")
    (tmp_path / "Ann/gone.jpg").symlink_to(tmp_path / "nowhere")
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    listener.bind("s.jpg")
    listener.close()
    photos, skipped = list_source(tmp_path)
    assert [photo.key for photo in photos] == ["Ann/1.jpg", "Ann/2.jpg", "Ann/gone.jpg"]
    assert skipped.text() == "skipped 3: not_a_file 3 (s.jpg, Ann/null.jpg, Ann/pipe.jpg)"


def test_pipes_that_are_called_like_packs_are_never_opened(tmp_path: Path) -> None:
    put(tmp_path, "Ann/1.jpg")
    for name in ("train.rec", "a.tar", "set.bin", "pairs.txt", "identity_CelebA.txt"):
        os.mkfifo(tmp_path / name)
    assert [photo.key for photo in list_source(tmp_path).photos] == ["Ann/1.jpg"]
    assert "1 photo of 1 identity" in check(tmp_path).facts
    with pytest.raises(InputError, match="must be a folder or file of photos"):
        list_source(tmp_path / "train.rec")


# --- sets whose file names say whom they show


def test_agedb_as_released(tmp_path: Path) -> None:
    put(
        tmp_path / "AgeDB",
        "0_MariaCallas_35_f.jpg",
        "1_MariaCallas_41_f.jpg",
        "10_Al.Smith_9_m.jpg",
        "readme.txt",
    )
    for source in (tmp_path, tmp_path / "AgeDB"):
        assert identities(source) == {
            "0_MariaCallas_35_f.jpg": "MariaCallas",
            "1_MariaCallas_41_f.jpg": "MariaCallas",
            "10_Al.Smith_9_m.jpg": "Al.Smith",
        }


def calfw(root: Path) -> Path:
    names = ["Al_Gore_0001.jpg", "Al_Gore_0002.jpg", "Bo_1.jpg"]
    for folder in ("aligned images", "images&landmarks/images&landmarks/images"):
        put(root / folder, *names)
    (root / "pairs_CALFW.txt").write_text("".join(f"{name}\t1\n" for name in names))
    return root


def test_calfw_and_cplfw_as_released(tmp_path: Path) -> None:
    root = calfw(tmp_path / "calfw")
    expected = {"Al_Gore_0001.jpg": "Al_Gore", "Al_Gore_0002.jpg": "Al_Gore", "Bo_1.jpg": "Bo"}
    for source in (tmp_path, root, root / "aligned images", root / "images&landmarks"):
        assert identities(source) == expected
    assert "not_the_aligned_one 3" in list_source(root).skipped.text()
    (root / "pairs_CALFW.txt").rename(root / "pairs_CPLFW.txt")
    assert identities(root) == expected
    (root / "pairs_CPLFW.txt").unlink()  # without it, nothing tells such names from a camera's
    assert set(identities(root / "aligned images").values()) == {None}


def test_other_photos_beside_a_pair_list_are_not_named_by_it(tmp_path: Path) -> None:
    calfw(tmp_path)
    put(tmp_path / "mine", "IMG_0001.jpg", "IMG_0002.jpg")
    assert set(identities(tmp_path / "mine").values()) == {None}


def test_celebas_png_release_is_named_by_its_list(tmp_path: Path) -> None:
    put(tmp_path / "img_align_celeba_png", "000001.png", "000002.png")
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 7\n000002.jpg 8\n")
    assert identities(tmp_path) == {"00007/000001.png": "00007", "00008/000002.png": "00008"}
    with pytest.raises(InputError, match=f"Give the folder above: {tmp_path}$"):
        list_source(tmp_path / "img_align_celeba_png")
    put(tmp_path / "img_align_celeba", "000001.jpg")
    with pytest.raises(InputError, match="each photo once"):
        list_source(tmp_path)


def test_cfps_landmarks_are_no_photos(tmp_path: Path) -> None:
    put(
        tmp_path / "cfp-dataset/Data",
        *(f"{kind}.jpg" for kind in ("Images/001/frontal/01", "Images/001/profile/01")),
    )
    put(tmp_path / "cfp-dataset/Data/Fiducials", "001/frontal/01.txt", "001/profile/01.txt")
    put(tmp_path / "cfp-dataset", "poster.jpg")
    photos, skipped = list_source(tmp_path)
    assert [photo.key for photo in photos] == ["001/frontal/01.jpg", "001/profile/01.jpg"]
    assert "no_picture 2" in skipped.text()
    assert "outside_the_layout 1 (poster.jpg)" in skipped.text()
    put(tmp_path / "cfp-dataset/copy", "001/frontal/01.jpg")
    with pytest.raises(InputError, match=r"each photo once; got 001/frontal/01.jpg twice"):
        list_source(tmp_path)


def test_formats_are_found_one_folder_deeper(tmp_path: Path) -> None:
    put(tmp_path / "faces_emore", "train.rec")
    found = find_format(tmp_path)
    assert found is not None
    assert found[1] == tmp_path / "faces_emore"
