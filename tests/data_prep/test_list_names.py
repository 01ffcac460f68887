"""What lists are called: benchmarks by their pairs, or by name and size together; never by a guess."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from field_formats import picture, write_bin
from test_protocols import dataset_of

from data_prep.errors import InputError
from data_prep.fetching.known_sets import KNOWN_SETS
from data_prep.protocols import (
    ProtocolSize,
    VerificationProtocol,
    find_rows,
    list_names,
    own_lists,
    protocol_alone,
    protocol_on,
)
from data_prep.protocols.benchmarks import BENCHMARKS, FURTHER_BENCHMARKS, RFW_GROUPS
from data_prep.protocols.list_note import ListNote
from data_prep.protocols.own_lists import fingerprint, repeats_fingerprint
from data_prep.protocols.photo_sets import on_photos, photos_of_set, set_letters
from data_prep.protocols.suite_lists import find_lists
from data_prep.sources import list_source

# Two sets of two genuine and two impostor pairs.
NUMBERED = ["Ann\t1\t2", "Bo\t1\t2", "Ann\t1\tBo\t1", "Ann\t2\tCy\t1"] * 2
PAIRS = [
    "Ann_1.jpg\tAnn_2.jpg\t1",
    "Bo_1.jpg\tBo_2.jpg\t1",
    "Ann_1.jpg\tBo_1.jpg\t0",
    "Cy_1.jpg\tBo_2.jpg\t0",
]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks of eight pairs in two folds."""
    for name in FURTHER_BENCHMARKS:
        monkeypatch.setitem(FURTHER_BENCHMARKS, name, ProtocolSize(pairs=8, folds=2))
    monkeypatch.setitem(BENCHMARKS, "LFW", ProtocolSize(pairs=8, folds=2))


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def as_lfws(path: Path, monkeypatch: pytest.MonkeyPatch) -> VerificationProtocol:
    """A list whose pairs are LFW's own from now on."""
    protocol = protocol_alone(path)
    printed = fingerprint(protocol.left, protocol.right, protocol.same, protocol.fold)
    monkeypatch.setitem(own_lists._OWN, printed, "lfw-view2")
    return protocol_alone(path)


@pytest.mark.parametrize("name", ["xqlfw_pairs.txt", "XQLFW.txt", "XQLFW/pairs.txt", "pairs-xqlfw.csv"])
def test_xqlfw_is_called_so_by_name_and_size(tmp_path: Path, name: str) -> None:
    protocol = protocol_alone(write(tmp_path / name, ["2\t2", *NUMBERED]))
    assert protocol.name == "xqlfw"
    by = "folder's name" if "/" in name else "file name"
    why = f"XQLFW by its {by} and its size; not the authors' own file, or saved again by others; a list"
    assert protocol.reading.startswith(why)
    with pytest.raises(InputError, match="xqlfw has 8 pairs in 2 folds; got 4 pairs"):
        protocol_alone(write(tmp_path / name, ["2\t2", *NUMBERED[:4]]))
    other = protocol_alone(write(tmp_path / name, ["3\t2", *NUMBERED, *NUMBERED[:4]]))
    assert other.name in ("xqlfw_pairs", "XQLFW", "pairs", "pairs-xqlfw")


def test_xqlfws_own_file_is_known_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "renamed.txt", ["2\t2", *NUMBERED])
    monkeypatch.setitem(list_names._OWN_FILES, hashlib.sha256(path.read_bytes()).hexdigest(), "XQLFW")
    protocol = protocol_alone(path)
    assert (protocol.name, protocol.title) == ("xqlfw", "xqlfw")
    assert protocol.reading.startswith("XQLFW's own file, by its hash; a list in LFW's form, not LFW's own")


def test_mlfw_keeps_the_folds_of_its_order(tmp_path: Path) -> None:
    pairs = [line for line in PAIRS for _ in range(5)]
    pairs = [pairs[place] for place in np.argsort(np.arange(20) % 10, kind="stable")]
    FURTHER_BENCHMARKS["MLFW"] = ProtocolSize(pairs=20, folds=10)
    protocol = protocol_alone(write(tmp_path / "MLFW/pairs.txt", pairs))
    assert (protocol.name, protocol.fold.tolist()) == ("mlfw", np.repeat(np.arange(10), 2).tolist())
    assert protocol.fold_rule == "the 10 folds of mlfw, in file order"
    assert protocol_alone(write(tmp_path / "MLFW/pairs.txt", pairs[:12])).name == "pairs"


def test_sllfw_needs_no_flags(tmp_path: Path) -> None:
    genuine = ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bo/Bo_0001.jpg", "Bo/Bo_0002.jpg"]
    impostors = ["Ann/Ann_0001.jpg", "Bo/Bo_0001.jpg", r"Cy\Cy_0001.jpg", "Bo/Bo_0002.jpg"]
    lines = [*genuine, *impostors] * 2
    protocol = protocol_alone(write(tmp_path / "pair_SLLFW.txt", lines))
    assert protocol.name == "sllfw"
    assert protocol.same.tolist() == [True, True, False, False] * 2
    assert protocol.fold_rule == "2 sets of 2 + 2 pairs, in file order"
    assert (protocol.left[3], protocol.right[3]) == ("Cy/Cy_0001.jpg", "Bo/Bo_0002.jpg")
    assert protocol.reading.startswith(
        "SLLFW by its file name and its form; its pairs are not known here; gen"
    )
    with pytest.raises(InputError, match="sllfw has 8 pairs in 2 folds; got 4"):
        protocol_alone(write(tmp_path / "SLLFW/pairs.txt", lines[:8]))
    with pytest.raises(
        InputError, match=r"line 7: must be a photo with its folder, and two such lines a pair"
    ):
        protocol_alone(write(tmp_path / "pair_SLLFW.txt", lines[:7]))
    with pytest.raises(InputError, match=r"got first line 'Ann/Ann_0001.jpg'"):  # a list of photos
        protocol_alone(write(tmp_path / "images.txt", lines))


def rfw_lists(folder: Path, *, lines: list[str] = NUMBERED) -> Path:
    for group in RFW_GROUPS:
        write(folder / f"test/txts/{group}/{group}_pairs.txt", lines)
    return folder / "test/txts"


def test_rfws_groups_are_called_so_and_find_their_photos(tmp_path: Path) -> None:
    txts = rfw_lists(tmp_path / "RFW")
    protocol = protocol_alone(txts / "Asian/Asian_pairs.txt")
    assert (protocol.name, protocol.left[0]) == ("rfw-asian", "Asian/Ann/Ann_0001")
    assert protocol.columns == {"race": ("Asian",) * 8}
    assert protocol.reading.startswith(
        "RFW-Asian by its file name and its size; its pairs are not known here"
    )
    photos = ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg"]
    both = dataset_of(
        tmp_path / "both", [f"{group}/{photo}" for group in ("African", "Asian") for photo in photos]
    )
    assert find_rows(protocol.left[:1], both).tolist() == [2]  # a person may be in two groups
    assert find_rows(protocol.left[:1], dataset_of(tmp_path / "one", photos)).tolist() == [0]
    with pytest.raises(InputError, match="rfw-asian has 8 pairs in 2 folds; got 4 pairs"):
        protocol_alone(rfw_lists(tmp_path / "RFW", lines=NUMBERED[:4]) / "Asian/Asian_pairs.txt")
    part = protocol_alone(txts / "Asian/Asian_pairs.txt", allow_partial=True)
    assert part.reading.startswith("RFW-Asian by its file name and its folder; its pairs are not known here")
    loose = protocol_alone(write(tmp_path / "Asian_pairs.txt", NUMBERED[:4]))
    assert (loose.name, loose.left[0], dict(loose.columns)) == ("Asian_pairs", "Ann/Ann_0001", {})
    assert protocol_alone(write(tmp_path / "Asian.txt", NUMBERED)).name == "Asian"


def test_rfw_as_a_whole_joins_the_folds_of_its_groups(tmp_path: Path) -> None:
    txts = rfw_lists(tmp_path / "RFW")
    protocol = protocol_alone(txts)
    assert (protocol.name, protocol.size) == ("rfw", ProtocolSize(32, 2))
    assert protocol.columns["race"] == tuple(group for group in RFW_GROUPS for _ in range(8))
    assert protocol.fold.tolist() == ([0] * 4 + [1] * 4) * 4
    assert protocol.reading.startswith("RFW's four groups: RFW-African by its file name and its size; its pa")
    (txts / "Indian/Indian_pairs.txt").unlink()
    said = r"lists of RFW's four groups; got no Indian/Indian_pairs\.txt\. .* such as .*/African_pairs\.txt"
    with pytest.raises(InputError, match=said):
        protocol_alone(txts)


@pytest.mark.parametrize("place", ["", "test", "test/data"])
def test_rfw_is_aligned_as_a_whole_and_its_lists_find_their_photos(tmp_path: Path, place: str) -> None:
    names = {(line.split()[0], number) for line in NUMBERED for number in (1, 2)} | {("Cy", 1)}
    people = {"Ann": "m.0A0", "Bo": "m.0_b1", "Cy": "Cy"}  # who are in all groups
    lines = [" ".join(people.get(field, field) for field in line.split()) for line in NUMBERED]
    txts = rfw_lists(tmp_path / "RFW", lines=[line.replace(" ", "\t") for line in lines])
    for group in RFW_GROUPS:
        for name, number in names:
            photo = tmp_path / f"RFW/test/data/{group}/{people[name]}/{people[name]}_000{number}.jpg"
            photo.parent.mkdir(parents=True, exist_ok=True)
            photo.write_bytes(picture(number))
        write(tmp_path / f"RFW/test/data/{group}/stray.jpg", [""])
    listing = list_source(tmp_path / "RFW" / place)
    assert listing.skipped.text().startswith("skipped 4: outside_the_layout 4 (African/stray.jpg")
    by_identity = {photo.identity for photo in listing.photos}
    assert by_identity == {"m.0A0", "m.0_b1", *(f"{group}/Cy" for group in RFW_GROUPS)}
    dataset = dataset_of(tmp_path / "aligned/rfw", [photo.key for photo in listing.photos])
    for path in (txts, txts / "Asian/Asian_pairs.txt"):
        protocol = protocol_on(path, dataset, allow_partial=False)
        found = dataset.photos(find_rows(protocol.left, dataset))
        assert found == [f"{photo}.jpg" for photo in protocol.left]


@pytest.mark.parametrize("name", ["TALFW/pairs.txt", "talfw_pairs.txt"])
def test_talfw_is_lfws_pairs_under_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write(tmp_path / name, ["2\t2", *NUMBERED])
    assert protocol_alone(path).name in ("pairs", "talfw_pairs.txt")  # other pairs
    protocol = as_lfws(path, monkeypatch)
    assert protocol.name == "talfw"
    assert protocol.reading.startswith("LFW's own pairs, of TALFW's adversarial photos, as its ")
    assert as_lfws(write(tmp_path / "lfw/pairs.txt", ["2\t2", *NUMBERED]), monkeypatch).name == "lfw-view2"


def test_a_benchmark_is_not_run_on_the_photos_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{name}/{name}_000{number}.jpg" for name in ("Ann", "Bo", "Cy") for number in (1, 2)]
    sets = {
        name: dataset_of(tmp_path / name, keys) for name in ("lfw-112", "xqlfw", "talfw", "mine", "lfwcrop")
    }
    xqlfw = write(tmp_path / "lists/xqlfw_pairs.txt", ["2\t2", *NUMBERED])

    def names(path: Path) -> dict[str, str]:
        found = {}
        for folder, dataset in sets.items():
            with suppress(InputError):
                found[folder] = protocol_on(path, dataset, allow_partial=False).name
        return found

    assert names(xqlfw) == {"xqlfw": "xqlfw", "mine": "xqlfw"}
    with pytest.raises(
        InputError,
        match=r"photos of XQLFW, which xqlfw is about; .* whose name is that of LFW's photos. Give",
    ):
        protocol_on(xqlfw, sets["lfw-112"], allow_partial=True)
    mine = write(tmp_path / "lists/mine.txt", ["2\t2", *NUMBERED])
    assert set(names(mine).values()) == {"mine"}
    assert len(names(mine)) == len(sets)
    lfw = write(tmp_path / "lists/pairs.txt", ["2\t2", *NUMBERED])
    as_lfws(lfw, monkeypatch)
    called = {"lfw-112": "lfw-view2", "talfw": "talfw", "mine": "lfw-view2", "lfwcrop": "lfw-view2"}
    assert names(lfw) == called
    assert names(write(tmp_path / "TALFW/pairs.txt", ["2\t2", *NUMBERED])) == {"talfw": "talfw"}


@pytest.mark.parametrize(
    ("folder", "name"),
    [(file.folder, known.name) for known in KNOWN_SETS.values() for file in known.files if file.folder],
)
def test_a_set_called_as_the_folder_of_an_archive_holds_its_photos(folder: str, name: str) -> None:
    # CFP is two benchmarks, so its folder names neither.
    assert photos_of_set(Path(f"{folder}-112")) == (None if name == "cfp" else name.upper())
    assert set_letters(Path(f"{folder}-112")).startswith(name)


def test_both_halves_of_cfp_are_about_one_set_of_photos(tmp_path: Path) -> None:
    mine = protocol_alone(write(tmp_path / "mine.csv", PAIRS))
    halves = [replace(mine, name=name) for name in ("cfp-ff", "cfp-fp")]
    for folder in ("cfp", "cfp-112", "cfp_fp-112", "CFP_FF", "cfp-dataset"):
        dataset = dataset_of(tmp_path / folder, ["Ann_1.jpg"])
        assert [on_photos(half, dataset.root).name for half in halves] == ["cfp-ff", "cfp-fp"]
    with pytest.raises(InputError, match=r"that of LFW's photos.* name their folder cfp\."):
        on_photos(halves[0], tmp_path / "lfw")


@pytest.mark.parametrize("name", ["xqlfw.csv", "MLFW/pairs.csv", "Asian_pairs.csv"])
def test_a_list_that_was_made_here_is_no_benchmark(tmp_path: Path, name: str) -> None:
    lines = ["left,right,same,fold", *(f"{PAIRS[i % 4]}\t{i // 4}".replace("\t", ",") for i in range(8))]
    path = write(tmp_path / name, lines)
    assert protocol_alone(path).name in ("xqlfw", "mlfw", "rfw-asian", "Asian_pairs")
    found = protocol_alone(path)
    note = ListNote.of_pairs(found.left, found.right, found.same, found.fold, how="seed 0")
    write(path, [note.line(), *lines])
    assert protocol_alone(path).name == path.name
    [listed] = find_lists(path.parent, [], allow_partial=False)
    assert listed.title == path.name
    assert on_photos(protocol_alone(path), tmp_path / "lfw").name == path.name


def test_calfw_may_be_recognised_by_its_folder(tmp_path: Path) -> None:
    lines = ["a_1.jpg 1", "a_2.jpg 1", "", "a_1.jpg 0", "b_1.jpg 0"] * 4
    protocol = protocol_alone(write(tmp_path / "calfw/pairs.txt", lines), allow_partial=True)
    assert (protocol.name, len(protocol)) == ("calfw", 8)
    assert protocol.reading.startswith(
        "CALFW by its folder's name and its form; its pairs are not known here"
    )


def test_a_bin_of_talfw_is_not_lfws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, same = [picture(number) for number in range(40)], [True, False] * 10
    printed = repeats_fingerprint(pictures, np.array(same))
    monkeypatch.setitem(own_lists._OWN_BINS, printed, "lfw-view2")
    for name in ("LFW", "TALFW"):
        (FURTHER_BENCHMARKS if name == "TALFW" else BENCHMARKS)[name] = ProtocolSize(20, 10)
        write_bin(tmp_path / f"{name.lower()}.bin", pictures, same)
    assert protocol_alone(tmp_path / "lfw.bin").name == "lfw-view2"
    assert protocol_alone(tmp_path / "talfw.bin").name == "talfw.bin"
