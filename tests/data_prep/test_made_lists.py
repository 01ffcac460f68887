"""Lists made of aligned photos keep what they promise, whatever the people and their photos are."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.alignment import find_template
from data_prep.dataset.exclusions import ExclusionList
from data_prep.dataset.manifest import AlignedDataset, Status, header_for, write_manifest
from data_prep.errors import InputError
from data_prep.made_lists import spread
from data_prep.made_lists.gallery import draw_gallery
from data_prep.made_lists.gallery_files import make_gallery_lists
from data_prep.made_lists.held_out import HeldOut
from data_prep.made_lists.pair_file import make_pair_list
from data_prep.made_lists.pairs import MadePairs, draw_pairs
from data_prep.made_lists.people import People
from data_prep.protocols import VerificationProtocol, protocol_alone
from data_prep.protocols.identification import load_identification
from data_prep.sources.base import Skipped


def row(photo: str, identity: str | None, *, crop: str | None = None, failed: bool = False) -> dict[str, Any]:
    return {
        "photo": photo,
        "identity": identity,
        "crop": None if failed else f"crops/{photo}.png",
        "crop_sha256": crop,
        "status": (Status.FAILED if failed else Status.ALIGNED).value,
        "reason": "truncated" if failed else None,
    }


def dataset(folder: Path, rows: list[dict[str, Any]]) -> AlignedDataset:
    folder.mkdir(parents=True, exist_ok=True)
    header = header_for(find_template("arcface-112"), policy="centred-largest", min_face_px=20)
    write_manifest(folder, header, rows)
    return AlignedDataset.load(folder)


def rows_of(counts: list[int]) -> list[dict[str, Any]]:
    return [row(f"p{p:02d}/{i}.jpg", f"p{p:02d}") for p, photos in enumerate(counts) for i in range(photos)]


def people_of(counts: list[int]) -> People:
    names = [f"p{p:02d}" for p in range(len(counts))]
    photos = [f"{name}/{i}.jpg" for name, photos in zip(names, counts, strict=True) for i in range(photos)]
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return People(tuple(names), pa.array(photos), first, Skipped())


def person(photo: str) -> str:
    return photo.split("/")[0]


def pairs_of(made: MadePairs | VerificationProtocol) -> list[tuple[str, str, bool, int]]:
    return list(zip(made.left, made.right, made.same.tolist(), made.fold.tolist(), strict=True))


def folds_of(made: MadePairs) -> dict[str, set[int]]:
    """Person -> the folds that it is in."""
    found: dict[str, set[int]] = {}
    for left, right, _, fold in pairs_of(made):
        for photo in (left, right):
            found.setdefault(person(photo), set()).add(fold)
    return found


COUNTS = st.lists(st.integers(1, 7), min_size=1, max_size=14)


@settings(max_examples=150)
@given(COUNTS, st.integers(2, 5), st.one_of(st.none(), st.integers(1, 40)), st.integers(0, 3))
def test_pairs_keep_their_promises_or_the_way_out_works(
    counts: list[int], folds: int, per_fold: int | None, seed: int
) -> None:
    people = people_of(counts)
    pairs = None if per_fold is None else per_fold * 2 * folds
    try:
        made = draw_pairs(people, folds=folds, pairs=pairs, seed=seed)
    except InputError as error:
        way_out(people, error, folds=folds, pairs=pairs)
        return
    assert pairs is None or len(made.left) == pairs
    each = len(made.left) // (2 * folds)
    assert Counter(zip(made.fold.tolist(), made.same.tolist(), strict=True)) == {
        (fold, same): each for fold in range(1, folds + 1) for same in (True, False)
    }
    assert all((person(left) == person(right)) == same for left, right, same, _ in pairs_of(made))
    together = [frozenset(pair[:2]) for pair in pairs_of(made)]
    assert len(set(together)) == len(together)
    assert all(len(pair) == 2 for pair in together)
    assert all(len(found) == 1 for found in folds_of(made).values())
    assert pairs_of(made) == pairs_of(draw_pairs(people, folds=folds, pairs=pairs, seed=seed))


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["", "f", "m", "x"])), min_size=1, max_size=16),
    st.integers(2, 4),
    st.one_of(st.none(), st.integers(1, 20)),
)
def test_impostor_pairs_stay_within_a_group(
    counted: list[tuple[int, str]], folds: int, per_fold: int | None
) -> None:
    counts, groups = [list(each) for each in zip(*counted, strict=True)]
    people = people_of(counts)
    group_of = dict(zip(people.names, groups, strict=True))
    pairs = None if per_fold is None else per_fold * 2 * folds
    try:
        made = draw_pairs(people, folds=folds, pairs=pairs, seed=1, groups=groups)
    except InputError as error:
        if "--folds" in error.fix and error.field == "--folds":
            fewer = int(error.fix.split("--folds ")[1].split(",")[0])
            assert draw_pairs(people, folds=fewer, pairs=None, seed=1, groups=groups).folds == fewer
        return
    together = [frozenset(pair[:2]) for pair in pairs_of(made)]
    assert len(set(together)) == len(together)
    assert all(len(found) == 1 for found in folds_of(made).values())
    for (left, right, same, _), group in zip(pairs_of(made), made.group, strict=True):
        assert group_of[person(left)] == group_of[person(right)] == group
        assert (person(left) == person(right)) == same
        assert same or group


def way_out(people: People, error: InputError, *, folds: int, pairs: int | None) -> None:
    """What the message advises works, and only just."""
    if error.field == "--pairs":
        number = int(error.fix.split("--pairs ")[1].split()[0])
        assert pairs is not None
        assert number < pairs
        assert len(draw_pairs(people, folds=folds, pairs=number, seed=0).left) == number
        with pytest.raises(InputError):
            draw_pairs(people, folds=folds, pairs=number + 2 * folds, seed=0)
        return
    assert error.field == "--folds"
    several, everybody = int((people.counts > 1).sum()), len(people.names)
    assert several < folds or everybody < 2 * folds
    if "--folds" in error.fix:
        fewer = int(error.fix.split("--folds ")[1].split(",")[0])
        assert draw_pairs(people, folds=fewer, pairs=None, seed=0).folds == fewer
        with pytest.raises(InputError):
            draw_pairs(people, folds=fewer + 1, pairs=None, seed=0)
    else:
        assert several < 2 or everybody < 4


def test_a_seed_is_a_list_and_another_seed_another_one() -> None:
    people = people_of([5] * 20)
    lists = [pairs_of(draw_pairs(people, folds=5, pairs=100, seed=seed)) for seed in (0, 1)]
    assert lists[0] != lists[1]


def test_no_few_people_and_photos_make_most_of_the_pairs() -> None:
    people = people_of([300, *[4] * 39, *[1] * 60])
    made = draw_pairs(people, folds=5, pairs=None, seed=0)
    genuine, impostor = (Counter[str]() for _ in range(2))
    for left, right, same, _ in pairs_of(made):
        (genuine if same else impostor).update([left, right])
    assert max(genuine.values()) <= 2  # each photo in two pairs of its person
    assert max(impostor.values()) <= 10
    by_person = Counter[str]()
    for photo, uses in impostor.items():
        by_person[person(photo)] += uses
    assert set(by_person) == set(people.names)
    assert max(by_person.values()) - min(by_person.values()) <= 3
    assert {person(photo) for photo in genuine} == set(people.names[:40])


@pytest.mark.parametrize("pairs", [1, 19, 21, 1001])
def test_a_number_that_cannot_be_divided_names_its_neighbours(pairs: int) -> None:
    people = people_of([6] * 60)
    with pytest.raises(InputError, match="--pairs: must be a multiple of 20") as raised:
        draw_pairs(people, folds=10, pairs=pairs, seed=0)
    below, above = pairs // 20 * 20, (pairs // 20 + 1) * 20
    said = f"Use --pairs {below} or {above}." if below else f"Use --pairs {above}."
    assert raised.value.fix == said


def test_orders_hold_each_pair_once_and_spread() -> None:
    for things in range(2, 30):
        pairs = [spread.circle_pair(number, things) for number in range(spread.pair_count(things))]
        assert {frozenset(pair) for pair in pairs} == set(map(frozenset, combinations(range(things), 2)))
        assert len({thing for pair in pairs[: things // 2] for thing in pair}) == 2 * (things // 2)


@settings(max_examples=100)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_impostor_pairs_are_all_pairs_across_people(counts: list[int]) -> None:
    photos = [(who, photo) for who, its in enumerate(counts) for photo in range(its)]
    across = {frozenset(pair) for pair in combinations(photos, 2) if pair[0][0] != pair[1][0]}
    drawn = [
        frozenset([(one, photo), (other, its)]) for one, photo, other, its in spread.pairs_across(counts)
    ]
    assert len(drawn) == len(across)
    assert set(drawn) == across


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.data())
def test_dealing_evenly(most: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(most)))
    has = np.array(most)
    given = spread.dealt_evenly(has, total, np.random.default_rng(0))
    assert given.sum() == total
    assert (given <= has).all()
    assert given.max() - given[given < has].min(initial=10) <= 1


# --- from a manifest to a list


def test_the_order_of_the_manifest_does_not_matter(tmp_path: Path) -> None:
    rows = rows_of([4] * 8 + [1] * 3)
    texts = []
    for name, ordered in (("a", rows), ("b", rows[::-1]), ("c", rows[7:] + rows[:7])):
        make_pair_list(dataset(tmp_path / name, ordered), tmp_path / f"{name}.csv", folds=4, pairs=40, seed=3)
        texts.append((tmp_path / f"{name}.csv").read_bytes())
    assert texts[0] == texts[1] == texts[2]


def test_verify_reads_the_list_and_knows_how_it_was_made(tmp_path: Path) -> None:
    rows = rows_of([4] * 8)
    rows[0] |= {"photo": 'p00/a, "b".jpg', "crop": "crops/comma.png"}
    rows[1] |= {"photo": "p00/ü #1.jpg"}
    made = draw_pairs(People.of(dataset(tmp_path / "a", rows)), folds=4, pairs=40, seed=3)
    said = make_pair_list(AlignedDataset.load(tmp_path / "a"), tmp_path / "m.csv", folds=4, pairs=40, seed=3)
    protocol = protocol_alone(tmp_path / "m.csv")
    assert pairs_of(protocol) == pairs_of(made)
    assert (protocol.name, protocol.title) == ("m", "m")
    assert "`faceverif data pairs` made it: no person in two folds; seed 3; of 32 photos of 8 people" in (
        protocol.reading
    )
    assert "40 pairs in 4 folds that share no person, each with 5 genuine and 5 impostor pairs" in said


def test_a_list_that_was_changed_says_so(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    make_pair_list(dataset(tmp_path / "a", rows_of([4] * 8)), path, folds=4, pairs=40, seed=3)
    note, header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([note, header, lines[1], lines[0], *lines[2:]]))
    assert "it was changed after `faceverif data pairs` made it" in protocol_alone(path).reading
    path.write_text("\n".join([note, header, *lines[:-1]]))
    with pytest.raises(InputError, match="m has 40 pairs in 4 folds; got 39 pairs in 4"):
        protocol_alone(path)
    assert protocol_alone(path, allow_partial=True).partial == "39 of 40 pairs, 4 of 4 folds"


def test_photos_of_held_out_people_are_left_out_under_other_names_too(tmp_path: Path) -> None:
    rows = rows_of([3, 3, 3, 3, 1, 1])
    rows += [row(f"p{p:02d}/both.jpg", f"p{p:02d}", crop="b" * 64) for p in range(4)]
    rows += [row("nobody.jpg", None, crop="b" * 64)]
    data = dataset(tmp_path, rows)
    held = HeldOut.draw(People.of(data), data, share=0.5, seed=1)
    names = held.people.names
    assert (len(names), held.others, [int(n) for n in held.people.counts]) == (3, 3, [3, 3, 1])
    assert {person(photo) for photo in held.people.photos.to_pylist()} == set(names)
    others = {f"p{p:02d}/both.jpg" for p in range(4)} - {f"{name}/both.jpg" for name in names}
    assert set(held.copies) == {"nobody.jpg", *others}
    held.write(tmp_path / "x.csv")
    left = ExclusionList.read(tmp_path / "x.csv")
    assert (left.identities, left.photos) == (set(names), set(held.copies))
    for share, way_out in ((0.0, "larger"), (0.1, "larger"), (1.0, "smaller")):
        with pytest.raises(InputError, match=f"--hold-out: .*Use a {way_out} share"):
            HeldOut.draw(People.of(data), data, share=share, seed=1)


def test_too_few_held_out_people_for_the_folds(tmp_path: Path) -> None:
    data, settings = dataset(tmp_path / "a", rows_of([4] * 12)), {"pairs": None, "seed": 0, "hold_out": 0.4}
    with pytest.raises(InputError, match=r"10 folds and 5 people.*Use --folds 2, .* A larger --hold-out"):
        make_pair_list(data, tmp_path / "m.csv", folds=10, **settings)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a"]


def test_what_no_list_may_name_is_counted(tmp_path: Path) -> None:
    rows = rows_of([4] * 4)
    rows += [
        row("p00/broken.jpg", "p00", failed=True),
        row("nobody.jpg", None),
        row("p01/one.jpg", "p01", crop="a" * 64),
        row("p01/one (copy).jpg", "p01", crop="a" * 64),
        row("p02/both.jpg", "p02", crop="b" * 64),
        row("p03/both.jpg", "p03", crop="b" * 64),
    ]
    people = People.of(dataset(tmp_path, rows))
    photos = people.photos.to_pylist()
    assert len(photos) == 17
    assert "p01/one (copy).jpg" in photos  # the first of both by name
    assert people.left_out.text() == (
        "skipped 5: no_crop 1 (p00/broken.jpg), no_identity 1 (nobody.jpg), "
        "same_crop_under_several_people 2 (p02/both.jpg, p03/both.jpg), copy 1 (p01/one.jpg)"
    )


def test_names_that_no_list_can_hold_are_refused(tmp_path: Path) -> None:
    rows = rows_of([4] * 4)
    rows[0] |= {"photo": "p00/a\nb.jpg"}
    with pytest.raises(InputError, match=r"can hold; got .*Rename the photo"):
        make_pair_list(dataset(tmp_path / "a", rows), tmp_path / "m.csv", folds=2, pairs=None, seed=0)
    assert not (tmp_path / "m.csv").exists()
    with pytest.raises(InputError, match="must hold photos of people with a name"):
        People.of(dataset(tmp_path / "b", [row("a.jpg", None)]))


def test_the_group_of_each_pair_stands_in_the_list(tmp_path: Path) -> None:
    data = dataset(tmp_path / "a", rows_of([4] * 12))
    people = tmp_path / "people.csv"
    people.write_text("identity,sex,left\n" + "".join(f"p{i:02d},{'fm'[i % 2]},1\n" for i in range(11)))
    path = tmp_path / "m.csv"
    settings: dict[str, Any] = {"folds": 2, "pairs": 80, "seed": 0, "attributes": people}
    make_pair_list(data, path, within="sex", **settings)
    protocol = protocol_alone(path)
    groups = {(left[:3], sex) for left, sex in zip(protocol.left, protocol.columns["sex"], strict=True)}
    assert groups == {*((f"p{i:02d}", "fm"[i % 2]) for i in range(11)), ("p11", "")}
    assert Counter(protocol.columns["sex"][20:40]) == {"f": 10, "m": 10}  # the first fold's impostors
    assert "impostor pairs within one sex; seed 0" in protocol.reading
    with pytest.raises(InputError, match=r"--within: must name a column .* got age. There are: sex, left."):
        make_pair_list(data, path, within="age", **settings)
    with pytest.raises(InputError, match="--within: must not be left, right, same, fold"):
        make_pair_list(data, path, within="left", **settings)
    photos = tmp_path / "photos.csv"
    photos.write_text(
        "photo,age\n" + "".join(f"p{i:02d}/{j}.jpg,{j // 3}\n" for i in range(12) for j in range(4))
    )
    with pytest.raises(
        InputError, match="--within age: must have one value per person; got several for p00, p01"
    ):
        make_pair_list(data, path, within="age", **settings | {"attributes": photos})
    assert "within one sex" in protocol_alone(path).reading  # what was there stays


# --- a gallery and probes


@settings(max_examples=150)
@given(COUNTS, st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9]), st.integers(1, 3), st.integers(0, 3))
def test_a_gallery_keeps_its_promises_or_says_why_not(
    counts: list[int], strangers: float, enrol: int, seed: int
) -> None:
    people = people_of(counts)
    try:
        made = draw_gallery(people, strangers=strangers, enrol=enrol, seed=seed)
    except InputError as error:
        number = max(1, round(strangers * len(counts))) if strangers else 0
        assert max(counts) == 1 or number >= len(counts)
        if "--strangers" in error.fix:
            fewer = float(error.fix.split("--strangers ")[1].split()[0])
            draw_gallery(people, strangers=fewer, enrol=enrol, seed=seed)
        return
    photos = [photo for photo, _ in [*made.gallery, *made.probes]]
    assert sorted(photos) == people.photos.to_pylist()
    assert all(person(photo) == identity for photo, identity in [*made.gallery, *made.probes])
    enrolled = Counter(identity for _, identity in made.gallery)
    searched = Counter(identity for _, identity in made.probes)
    assert len(enrolled) == made.people == len(counts) - made.strangers
    assert made.strangers == (max(1, round(strangers * len(counts))) if strangers else 0)
    assert made.mated == sum(times for identity, times in searched.items() if identity in enrolled) > 0
    for identity, times in enrolled.items():
        assert times == min(enrol, max(1, times + searched[identity] - 1))
    assert made == draw_gallery(people, strangers=strangers, enrol=enrol, seed=seed)


def test_the_lists_are_read_as_they_are_and_both_or_none_are_written(tmp_path: Path) -> None:
    rows = rows_of([4] * 6 + [1] * 4)
    said = []
    for name, ordered in (("a", rows), ("b", rows[::-1])):
        data = dataset(tmp_path / name, ordered)
        said.append(make_gallery_lists(data, tmp_path / f"{name}-lists", strangers=0.5, enrol=2, seed=1))
    for name in ("gallery.csv", "probes.csv"):
        assert (tmp_path / "a-lists" / name).read_bytes() == (tmp_path / "b-lists" / name).read_bytes()
    read = load_identification(tmp_path / "a-lists")
    made = draw_gallery(People.of(data), strangers=0.5, enrol=2, seed=1)
    assert list(zip(read.gallery.photos, read.gallery.identities, strict=True)) == made.gallery
    assert list(zip(read.probes.photos, read.probes.identities, strict=True)) == made.probes
    assert "5 people in the gallery, 5 strangers (asked for: 0.5); up to 2 photos enrolled" in read.reading
    assert "a gallery of 8 photos of 5 people; 20 probes, 6 of these people and 14 of 5 strangers" in said[0]
    with pytest.raises(InputError, match="--out: must be a new or empty folder"):
        make_gallery_lists(data, tmp_path / "a-lists", strangers=0.5, enrol=2, seed=1)
    path = tmp_path / "a-lists/probes.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    assert "probes.csv separated by commas; columns photo, identity; it was changed after" in (
        load_identification(tmp_path / "a-lists").reading
    )
