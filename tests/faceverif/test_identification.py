"""The search of a gallery and its rates, against literal versions and against what must not change them."""

from __future__ import annotations

import math
from fractions import Fraction

import identification as literal
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep.errors import InputError
from faceverif.identification import flat_index
from faceverif.identification import search as engine
from faceverif.identification.metrics import (
    MOST_RANKS,
    TARGET_FPIRS,
    Cmc,
    IdentificationMetrics,
    Searches,
    open_set_curve,
    ranks,
)
from faceverif.identification.search import Candidates, Gallery, search

Blocks = tuple[int, int]
Vectors = NDArray[np.float64]
ROUNDING = 1e-12  # of sums in another order


def unit(vectors: NDArray[np.floating]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float64)


def drawn(count: int, *, dim: int = 6, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def in_blocks(monkeypatch: pytest.MonkeyPatch, size: Blocks) -> None:
    monkeypatch.setattr(engine, "ROWS", size[0])
    monkeypatch.setattr(engine, "COLUMNS", size[1])


def literal_candidates(probes: Vectors, gallery: Vectors, person: list[int], count: int) -> list[list[int]]:
    """People by falling similarity; of equals, the one whose best entry comes first in the gallery."""
    answers = []
    for probe in probes:
        scores = [float(np.einsum("d,d->", probe, entry)) for entry in gallery]
        order = sorted(range(len(scores)), key=lambda entry: (-scores[entry], entry))
        answers.append(list(dict.fromkeys(person[entry] for entry in order))[:count])
    return answers


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (1024, 4096)])
@pytest.mark.parametrize("count", [1, 3, 20, 99])
def test_the_search_finds_what_comparing_everything_finds(
    monkeypatch: pytest.MonkeyPatch, size: Blocks, count: int
) -> None:
    in_blocks(monkeypatch, size)
    gallery = drawn(40, seed=1).astype(np.float32)
    person = np.random.default_rng(2).integers(0, 25, 40) * 7
    probes = drawn(11, seed=3).astype(np.float32)
    found = search(probes, Gallery.of(gallery, person), count=count)
    expected = literal_candidates(
        probes.astype(np.float64), gallery.astype(np.float64), person.tolist(), count
    )
    assert found.person.tolist() == expected
    assert np.all(person[found.entry] == found.person)
    exact = np.einsum("pd,pcd->pc", probes.astype(np.float64), gallery[found.entry].astype(np.float64))
    np.testing.assert_allclose(found.similarity, exact, rtol=0, atol=1e-15)


@given(st.data())
@settings(max_examples=60)
def test_equal_similarities_stay_in_the_gallery_order_whatever_the_blocks(data: st.DataObject) -> None:
    few = drawn(4, dim=3, seed=5).astype(np.float32)  # so that ties are the rule
    entries = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    person = data.draw(st.lists(st.integers(0, 5), min_size=len(entries), max_size=len(entries)))
    size = data.draw(st.sampled_from([(1, 1), (2, 3), (1024, 4096)]))
    with pytest.MonkeyPatch.context() as patch:
        in_blocks(patch, size)
        found = search(few, Gallery.of(few[entries], np.array(person)), count=4)
    gallery = few[entries].astype(np.float64)
    assert found.person.tolist() == literal_candidates(few.astype(np.float64), gallery, person, 4)


@pytest.mark.parametrize("people", [300, 60, 4])
@pytest.mark.parametrize("alike", [False, True])
def test_faiss_lists_give_the_same_result(monkeypatch: pytest.MonkeyPatch, people: int, alike: bool) -> None:
    pytest.importorskip("faiss")
    gallery, probes = drawn(300, seed=1), drawn(20, seed=2)
    person = np.random.default_rng(3).permutation(np.arange(300) % people)
    if alike:  # whole lists of equals, which an index cuts anywhere
        gallery, probes[:10] = np.tile(gallery[:3], (100, 1)), gallery[0]
    enrolled = Gallery.of(gallery, person)
    plain = search(probes, enrolled, count=5)
    searched: list[int] = []
    blocks = engine._best
    monkeypatch.setattr(
        engine, "_best", lambda part, *rest: (searched.append(len(part)), blocks(part, *rest))[1]
    )
    monkeypatch.setattr(flat_index, "LARGE", 0)
    monkeypatch.setattr(flat_index, "_BY_PRODUCTS", 0)
    listed = search(probes, enrolled, count=5)
    for one, other in zip(listed, plain, strict=True):
        assert one.tolist() == other.tolist()
    assert (sum(searched) > 0) == (alike and people > 4)  # the lists were used, but where they cannot do


def test_embeddings_nearer_than_float32_tells_apart_keep_their_order() -> None:
    """In float32 alone the order of these depends on the block that they stand in."""
    base, other = np.eye(512)[:2]
    steps = np.linspace(0, 3e-3, 300)
    gallery = unit(base + steps[:, None] * other).astype(np.float32)
    found = search(unit(base[None]), Gallery.of(gallery, np.arange(300)), count=300)
    exact = gallery[:, 0].astype(np.float64)
    assert found.person[0].tolist() == np.lexsort((np.arange(300), -exact)).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 2.0])
def test_embeddings_that_are_not_unit_vectors_are_refused(bad: float) -> None:
    wrong = drawn(5).astype(np.float32)
    wrong[3] *= bad
    with pytest.raises(InputError, match=r"gallery: must be embeddings .* in row 3"):
        Gallery.of(wrong, np.arange(5))
    with pytest.raises(InputError, match=r"probes: must be embeddings .* in row 3"):
        search(wrong, Gallery.of(drawn(5), np.arange(5)), count=1)


def test_an_empty_gallery_is_refused_and_no_probe_is_no_error() -> None:
    with pytest.raises(InputError, match="must hold somebody"):
        Gallery.of(np.empty((0, 6)), np.empty(0, np.int64))
    found = search(np.empty((0, 6)), Gallery.of(drawn(3), np.arange(3)), count=2)
    assert found.person.shape == found.similarity.shape == (0, 2)


def searched(
    seed: int, *, people: int = 30, entries: int = 45, probes: int = 120
) -> tuple[Searches, list[dict]]:
    """Searches of noisy copies, with strangers and failed probes; and each probe's literal similarities."""
    rng = np.random.default_rng(seed)
    centres = drawn(people + 12, seed=seed)
    person = np.concatenate([np.arange(people), rng.integers(0, people, entries - people)])
    gallery = unit(centres[person] + 0.35 * rng.standard_normal((entries, 6))).astype(np.float32)
    shown = rng.integers(0, people + 12, probes)
    photos = unit(centres[shown] + 0.35 * rng.standard_normal((probes, 6))).astype(np.float32)
    usable = rng.random(probes) > 0.1
    enrolled = Gallery.of(gallery, person)
    found = search(photos[usable], enrolled, count=MOST_RANKS + 1)
    result = Searches.of(found, searched=usable, person=shown, mated=shown < people, people=people)
    rows = [(vector.tolist(), int(who)) for vector, who in zip(gallery, person, strict=True)]
    searches = [
        {
            "mate": int(who) if who < people else None,
            "scores": literal.person_similarities(photo.tolist(), rows) if fine else None,
        }
        for photo, who, fine in zip(photos, shown, usable, strict=True)
    ]
    return result, searches


@pytest.mark.parametrize("seed", range(5))
def test_cmc_and_open_set_rates_are_the_literal_ones(seed: int) -> None:
    result, searches = searched(seed)
    measured = IdentificationMetrics.of(result)
    mated = [row for row in searches if row["mate"] is not None]
    mates = [
        (None, -2.0)
        if row["scores"] is None
        else (literal.mate_rank(row["scores"], row["mate"]), row["scores"][row["mate"]])
        for row in mated
    ]
    for rank in range(1, MOST_RANKS + 1):
        assert Fraction(int(measured.cmc.found[rank - 1]), len(mated)) == literal.cmc(
            [r for r, _ in mates], rank
        )
    highest = [
        None if row["scores"] is None else max(row["scores"].values())
        for row in searches
        if row["mate"] is None
    ]
    assert measured.curve is not None
    assert (measured.curve.mated, measured.curve.non_mated) == (len(mates), len(highest))
    assert (measured.curve.point(0).hits, measured.curve.point(0).false_positives) == (0, 0)
    for index in range(1, len(measured.curve.thresholds)):
        point = measured.curve.point(index)
        limit = point.threshold - ROUNDING
        assert Fraction(point.hits, point.mated) == literal.tpir(mates, limit)
        assert Fraction(point.false_positives, point.non_mated) == literal.fpir(highest, limit)
    for target in TARGET_FPIRS:
        point = measured.tpir_at_fpir[target]
        if target * len(highest) < 1:
            assert point is None
            continue
        assert point is not None
        allowed = [
            t
            for t in measured.curve.thresholds
            if literal.fpir(highest, t - ROUNDING) <= Fraction(str(target))
        ]
        assert point.threshold == min(allowed)
        assert point.tpir == max(float(literal.tpir(mates, t - ROUNDING)) for t in allowed)


def test_failed_probes_stay_in_the_denominators() -> None:
    """A mated probe that cannot be searched is a miss; one of a stranger returns nobody."""
    candidates = Candidates(
        np.array([[0, 1], [1, 0]]), np.zeros((2, 2), np.int64), np.array([[0.9, 0.1], [0.4, 0.3]])
    )
    result = Searches.of(
        candidates,
        searched=np.array([True, False, True, False]),
        person=np.array([0, 1, 9, 9]),
        mated=np.array([True, True, False, False]),
        people=2,
    )
    measured = IdentificationMetrics.of(result)
    assert measured.curve is not None
    assert (measured.cmc.rate.tolist(), measured.cmc.mated) == ([0.5, 0.5], 2)
    last = measured.curve.point(-1)
    assert (last.threshold, last.tpir, last.fpir) == (0.4, 0.5, 0.5)


def test_a_model_to_which_all_look_alike_finds_nobody() -> None:
    alike = np.tile(drawn(1), (30, 1))
    found = search(alike[:5], Gallery.of(alike, np.arange(30)), count=MOST_RANKS + 1)
    assert ranks(found, np.arange(5)).tolist() == [0] * 5


def test_a_mate_whose_photos_all_failed_is_a_miss() -> None:
    found = search(drawn(1), Gallery.of(drawn(2), np.array([4, 5])), count=21)
    assert ranks(found, np.array([7])).tolist() == [0]


def test_a_rank_that_the_gallery_cannot_miss_has_no_rate() -> None:
    cmc = Cmc(np.array([3, 4, 4]), mated=4, people=3)
    assert (cmc.at(1), cmc.at(2), cmc.at(3), cmc.at(5)) == (0.75, 1.0, None, None)


@given(
    st.lists(st.integers(-3, 6), min_size=1, max_size=15),
    st.lists(st.integers(-6, 3), min_size=1, max_size=15),
    st.sampled_from([0.1, 0.2, 0.5, 1.0]),
)
def test_the_threshold_is_the_lowest_that_keeps_the_fpir(
    hits: list[int], alarms: list[int], fpir: float
) -> None:
    hit, alarm = np.array(hits) / 8, np.array(alarms) / 8
    curve = open_set_curve(hit, alarm)
    if len(alarms) * Fraction(str(fpir)) < 1:
        with pytest.raises(InputError, match=f"at least {math.ceil(1 / fpir)} searches of strangers"):
            curve.at_fpir(fpir)
        return
    point = curve.at_fpir(fpir)
    allowed = [t for t in curve.thresholds if literal.fpir(alarm.tolist(), t) <= Fraction(str(fpir))]
    assert point.threshold == min(allowed)


def test_probes_that_show_strangers_alone_are_refused() -> None:
    nobody = Searches(np.zeros(3, bool), np.zeros(3, np.int64), np.zeros(3), 5)
    with pytest.raises(InputError, match="must show people of the gallery"):
        IdentificationMetrics.of(nobody)
