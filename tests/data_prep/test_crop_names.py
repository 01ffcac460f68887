"""Every photo gets a crop of its own, under a name that every file system takes."""

from __future__ import annotations

import itertools
from pathlib import Path, PurePosixPath

import pytest

from data_prep.errors import InputError
from data_prep.own_names import LOCK_NAME
from data_prep.prepare.crop_names import crop_name, merges_names, refuse_merged


@pytest.mark.parametrize(
    "photo", ["Ann/x.jpg", "Zoë Müller/more/portrait.png", "J.R. Ö/1.jpg", "a/" + "x" * 251]
)
def test_ordinary_names_are_kept(photo: str) -> None:
    assert crop_name(photo, ending="jpg") == f"crops/{photo}.jpg"


_UNUSUAL = [
    "a/" + "x" * 252,
    "a/" + "x" * 253,
    "a/" + "李" * 90,
    "y" * 256 + "/1.jpg",
    "a/" + "\\xff" * 70,
    "V: The Artist/1.jpg",
    "V_ The Artist/1.jpg",
    "who?/1.jpg",
    "a*b/1.jpg",
    'a"b/<1>|.jpg',
    "a\nb/\x1b[2J.jpg",
    "dots./1.jpg",
    "dots /1.jpg",
    "CON/1.jpg",
    "con.d/1.jpg",
    "a/NUL.png",
    "COM1/lpt9",
    "x//p",
    "x/./p",
    "x/../p",
    "x/p",
    "/p",
    "p",
    "id/a",
    "id/a.jpg/x",
    "id/a.PNG/x",
]


def test_unusual_names_become_legal_and_stay_apart() -> None:
    crops = [PurePosixPath(crop_name(photo, ending="jpg")) for photo in _UNUSUAL]
    assert len(set(crops)) == len(crops)
    for crop in crops:
        assert crop.parts[0] == "crops"
        for part in crop.parts:
            assert len(part.encode()) <= 255
            assert not set(part) & set('<>:"\\|?*\n\x1b')
            assert part.rstrip(". ") == part
            assert part.partition(".")[0].lower() not in {"con", "nul", "com1", "lpt9"}
    for one, other in itertools.permutations(crops, 2):
        assert one not in other.parents, "a crop where a folder must be"


def test_nobody_can_ask_for_the_name_of_another() -> None:
    taken = crop_name("who?/1.jpg", ending="jpg")
    assert crop_name(taken.removeprefix("crops/").removesuffix(".jpg"), ending="jpg") != taken


def test_names_that_a_file_system_merges_are_refused_there_only(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch()
    assert merges_names(tmp_path) == (tmp_path / ".LoCk").exists()
    (tmp_path / LOCK_NAME.upper()).touch()  # as such a file system shows it
    assert merges_names(tmp_path)
    refuse_merged(["Ann/1.jpg", "Ann/2.jpg", "Bob/1.jpg"])
    for one, other in (("Ann/1.jpg", "ann/1.JPG"), ("Zo\u00eb/1.jpg", "Zoe\u0308/1.jpg")):
        with pytest.raises(InputError, match="tells upper from lower case"):
            refuse_merged([one, other])
