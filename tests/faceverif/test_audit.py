"""An audit finds what was planted, nothing else, and never holds a matrix of all pairs."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from pages import check_page, plain
from PIL import Image
from small_faces import PatternNet, face, manifest_row, pattern_embedder

from data_prep.alignment import find_template
from data_prep.dataset.exclusions import ExclusionList
from data_prep.dataset.manifest import AlignedDataset, header_for, write_manifest
from data_prep.errors import InputError
from faceverif.audit import people as people_module
from faceverif.audit import result, similarity, vector_file
from faceverif.audit import run as run_module
from faceverif.audit.cells import compared_in_cells
from faceverif.audit.duplicates import pixel_correlation
from faceverif.audit.people import People, plain_name, unit
from faceverif.audit.questions import Answer, copies
from faceverif.audit.result import Audit
from faceverif.audit.run import AuditSettings, audit
from faceverif.audit.similarity import Pairs, largest_within, nearest_other, pairs_from, pairs_in_cells
from faceverif.audit.thresholds import (
    MatchThreshold,
    StrangerThreshold,
    match_threshold,
    refuse_unfit,
    stranger_threshold,
)
from faceverif.audit.vector_file import reordered, write_vectors
from faceverif.verification import embedding_parts

SETTINGS = AuditSettings(false_match_rate=1e-4, false_alarm_rate=0.02, flip=False)


def vectors(count: int, *, seed: int = 0, dim: int = 6) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def people(embeddings: NDArray[np.float32], labels: list[int]) -> People:
    names = tuple(f"P{label:03d}" for label in sorted(set(labels)))
    dataset: Any = None  # only names and pictures need it
    return People(dataset, np.arange(len(labels)), embeddings, np.array(labels), names)


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "ROWS", 3)
    monkeypatch.setattr(similarity, "COLUMNS", 5)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("within", [True, False])
def test_pairs_are_those_of_the_whole_matrix(within: bool) -> None:
    left, right = vectors(14), vectors(11, seed=1)
    whole = left @ (left if within else right).T
    i, j = np.nonzero(np.triu(whole >= 0.2, k=1) if within else whole >= 0.2)
    found = pairs_from(0.2, left, None if within else right)
    assert {(a, b) for a, b, _ in found.rows()} == set(zip(i.tolist(), j.tolist(), strict=True))
    assert len(i) == len(found.scores) > 5
    np.testing.assert_allclose(found.scores, whole[found.left, found.right], rtol=1e-5)
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("count", [1, 7, 500])
def test_largest_within_are_the_end_of_the_sorted_scores(count: int) -> None:
    left = vectors(13)
    expected = np.sort((left @ left.T)[np.triu_indices(13, k=1)])[::-1][:count]
    np.testing.assert_allclose(largest_within(count, left), expected, rtol=1e-5)


@pytest.mark.usefixtures("_small_blocks")
def test_nearest_other_skips_its_own() -> None:
    left, centres, own = vectors(9), vectors(12, seed=2), np.arange(9) % 12
    whole = left @ centres.T
    whole[np.arange(9), own] = -9
    which, scores = nearest_other(left, centres, own)
    assert which.tolist() == whole.argmax(axis=1).tolist()
    np.testing.assert_allclose(scores, whole.max(axis=1), rtol=1e-5)


def test_a_photo_is_compared_with_the_others_of_its_identity() -> None:
    x = vectors(5)
    group = people(x, [0, 0, 0, 1, 1])
    expected = x[0] @ (x[1] + x[2]) / np.linalg.norm(x[1] + x[2])
    assert group.own_scores[0] == pytest.approx(expected, abs=1e-6)
    assert group.own_scores[3] == pytest.approx(x[3] @ x[4], abs=1e-6)
    assert np.isnan(people(x[:1], [0]).own_scores[0])
    first, second = group.half_centres()
    np.testing.assert_allclose(first, unit(np.stack([x[0] + x[2], x[3]])), atol=1e-6)
    np.testing.assert_allclose(second, unit(np.stack([x[1], x[4]])), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("José_María  Aznar", "josemariaaznar"),
        ("Jose-Maria Aznar", "josemariaaznar"),
        ("00123", ""),
        ("n000012", "n000012"),
        ("李 明", "李明"),
    ],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_people_under_two_names_do_not_move_the_match_threshold() -> None:
    clean = vectors(300, dim=32)
    dirty = np.concatenate([clean, clean[:8]])  # eight people under a second name
    twice = [*range(300), *range(300)]
    clean_threshold = match_threshold(people(np.tile(clean, (2, 1)), twice), false_match_rate=1e-5)
    dirty_threshold = match_threshold(
        people(np.concatenate([dirty, dirty]), [*range(308), *range(308)]), false_match_rate=1e-5
    )
    assert clean_threshold.reached == 0
    assert dirty_threshold.reached == 8
    assert dirty_threshold.threshold == pytest.approx(clean_threshold.threshold, abs=0.05)
    assert 0.5 < dirty_threshold.threshold < 0.99  # where the last pairs alone would put it: at 1
    assert dirty_threshold.true_match_rate == 1
    assert dirty_threshold.expected_false_alarms(200_000) == pytest.approx(2)


def test_the_tail_falls_as_it_is_said_to() -> None:
    # In three dimensions the cosines of random directions are uniform, so it is known where the tail begins.
    group = people(np.repeat(vectors(400, dim=3, seed=3), 2, axis=0), [i // 2 for i in range(800)])
    found = match_threshold(group, false_match_rate=1e-4)
    assert found.tail_pairs == 100
    assert found.tail_begins == pytest.approx(1 - 2 * 100 / found.impostor_pairs, abs=1e-3)
    expected = found.tail_begins + found.tail_scale * np.log(100 / found.impostor_pairs / 1e-4)
    assert found.threshold == pytest.approx(expected)


@pytest.mark.parametrize(
    ("photos", "rates", "complaint"),
    [
        ([2] * 40, (1e-4, 0.1), "people for 1,000 pairs"),
        ([1] * 60, (1e-4, 0.1), "60 people, 0 with two photos"),
        ([3] * 60, (0.2, 0.1), "--false-match-rate: must lie above 0 and below 0.056"),
        ([3] * 60, (0.0, 0.1), "--false-match-rate"),
        ([3] * 60, (1e-4, 0.005), "--false-alarm-rate: must lie above 0.0056 and below 1"),
        ([2] * 60, (1e-4, 0.1), "--false-alarm-rate: must lie above 1 and"),
    ],
)
def test_rates_that_cannot_be_shown_are_refused(
    photos: list[int], rates: tuple[float, float], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        refuse_unfit(np.array(photos), false_match_rate=rates[0], false_alarm_rate=rates[1])


def test_stranger_threshold_leaves_the_stated_share_below() -> None:
    group = people(vectors(300), [i // 3 for i in range(300)])
    found = stranger_threshold(group, false_alarm_rate=0.02)
    assert (found.photos, found.false_alarms) == (300, 6)
    assert (group.own_scores < found.threshold).sum() == 6


def test_copies_are_seen_through_what_happens_to_pictures() -> None:
    picture = face(1, 1, side=32)[..., 0]
    darker = (picture * 0.6).astype(np.uint8)
    assert pixel_correlation(picture, darker) > 0.99
    assert pixel_correlation(picture, picture[:, ::-1]) == pytest.approx(1)
    assert pixel_correlation(picture, face(2, 1, side=32)[..., 0]) < 0.6
    assert pixel_correlation(picture, np.full((32, 32), 7, np.uint8)) == 0


@pytest.mark.parametrize("fit", list(permutations((0.1, 0.5, 0.9))))
def test_of_three_copies_the_one_that_fits_its_identity_best_stays(
    fit: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them are under one name, the third is under another."""
    group = people(vectors(3), [0, 0, 1])
    vars(group)["own_scores"] = np.array(fit, np.float32)
    pairs = Pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([0.99, 0.98, 0.97], np.float32))
    monkeypatch.setattr("faceverif.audit.questions.duplicates", lambda _: pairs)
    monkeypatch.setattr(People, "photo_name", lambda _, photo: str(photo))
    gone = {suspicion.exclusion.name for suspicion in copies(group).suspicions}
    assert gone == {"0", "1", "2"} - {str(np.argmax(fit))}


# --- a whole audit, with everything planted


class Planted(NamedTuple):
    name: str
    person: int
    photo: int


def write_set(root: Path, photos: list[Planted]) -> Path:
    rows = []
    for name, person, photo in photos:
        row = manifest_row(f"{name}/{person}_{photo}")
        (root / row["crop"]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face(person, photo, side=112)).save(root / row["crop"], compress_level=1)
        rows.append(row)
    write_manifest(root, header_for(find_template("arcface-112"), policy="test", min_face_px=20), rows)
    return root


def evaluation_set() -> list[Planted]:
    """Fifty people, three photos of each."""
    return [Planted(f"P{person:02d}", person, photo) for person in range(50) for photo in (1, 2, 3)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    against = evaluation_set() + [
        Planted("Quentin", 9, photo) for photo in (31, 32)
    ]  # P09 under a second name
    train = [Planted(f"A{i}", 100 + i, photo) for i in range(6) for photo in (1, 2, 3, 4)]
    train += [Planted("T", 0, photo) for photo in (11, 12, 13)]  # P00
    train += [Planted("p-05", 200, photo) for photo in (1, 2, 3)]  # called as P05 is
    train += [Planted("A0", 7, 1)]  # a photo of P07
    train += [Planted("A2", 103, 9)]  # A3
    train += [Planted("B", 104, photo) for photo in (21, 22)]  # A4 under a second name
    train += [Planted("A5", 101, 1)]  # a photo of A1
    folder = tmp_path_factory.mktemp("sets")
    return write_set(folder / "train", train), write_set(folder / "against", against)


@pytest.fixture(scope="module")
def out(sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    audit(pattern_embedder(), *sets, out=folder, settings=SETTINGS)
    return folder


def test_everything_planted_is_found_and_nothing_else(out: Path, sets: tuple[Path, Path]) -> None:
    with (out / "exclusions.csv").open(newline="") as file:
        lines = [(row["kind"], row["name"], row["reason"], row["evidence"]) for row in csv.DictReader(file)]
    mislabelled = [line[:3] for line in lines if line[2] == "mislabelled"]
    assert [line for line in lines if line[2] != "mislabelled"] == [
        ("identity", "p-05", "shared_name", "P05"),
        ("identity", "T", "shared_person", "P00"),
        ("photo", "A0/7_1.jpg", "copy_of_evaluation", "P07/7_1.jpg"),
        ("photo", "A5/101_1.jpg", "copy_under_another_name", "A1/101_1.jpg"),
        ("identity", "B", "split_identity", "A4"),
    ]
    assert sorted(mislabelled) == [
        ("photo", f"{name}.jpg", "mislabelled") for name in ("A0/7_1", "A2/103_9", "A5/101_1")
    ]
    assert ("photo", "A2/103_9.jpg", "mislabelled", "A3") in lines
    listed = ExclusionList.read(out / "exclusions.csv")
    assert listed.kept(AlignedDataset.load(sets[0])).sum() == 4 * 6  # A0 to A5, as they were meant


def test_numbers_and_page_say_how_it_was_found(out: Path) -> None:
    facts = json.loads((out / "audit.json").read_text())
    sections = {section["reason"]: section for section in facts["sections"]}
    assert sections["split_evaluation"]["worst"][0]["name"] == "Quentin"
    shared = sections["shared_person"]
    assert (shared["found"], shared["compared"]) == (1, 9 * 51)
    assert shared["expected_false_alarms"] == pytest.approx(9 * 51 * 1e-4)
    assert shared["estimated_precision"] == pytest.approx(1 - 9 * 51 * 1e-4)
    page = (out / "report.html").read_text()
    assert page.count('<div class="pair">') == sum(section["found"] for section in facts["sections"])
    assert facts["exclusions"]["sha256"] in page
    check_page(out / "report.html")


def test_a_killed_audit_keeps_its_embeddings(
    out: Path, sets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_parts, "_PORTION", 16)
    calls: list[int] = []
    forward = PatternNet.forward

    def dying(self: PatternNet, pixels: Any) -> Any:
        calls.append(len(pixels))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(self, pixels)

    monkeypatch.setattr(PatternNet, "forward", dying)
    with pytest.raises(KeyboardInterrupt):
        audit(pattern_embedder(), *sets, out=tmp_path, settings=SETTINGS)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    audit(pattern_embedder(), *sets, out=tmp_path, settings=SETTINGS)
    assert sum(calls) == 35 + 152 + calls[3]  # each photo once, except the batch that was lost
    assert (tmp_path / "exclusions.csv").read_bytes() == (out / "exclusions.csv").read_bytes()


def test_what_does_not_belong_together_is_refused(out: Path, sets: tuple[Path, Path], tmp_path: Path) -> None:
    train, against = sets
    (tmp_path / "thesis.txt").touch()
    (tmp_path / "embeddings").mkdir()
    nameless = write_set(tmp_path / "nameless", [Planted("x", 1, 1)])
    rows = AlignedDataset.load(nameless).table.to_pylist()
    header = AlignedDataset.load(nameless).header
    write_manifest(nameless, header, [row | {"identity": None} for row in rows])
    for arguments, complaint in (
        ((train, train, out), "another set than TRAIN"),
        ((nameless, against, out), "1 of 1 without one"),
        ((against, train, tmp_path / "new"), "people for 1,000 pairs"),
        ((train, against, tmp_path), "begun by `faceverif data audit`"),
        (
            (against, write_set(tmp_path / "more", evaluation_set()), out),
            "same model, --preprocess, --output, data",
        ),
    ):
        with pytest.raises(InputError, match=complaint):
            audit(pattern_embedder(), *arguments[:2], out=arguments[2], settings=SETTINGS)
    assert not (tmp_path / "new").exists()


def test_damaged_embeddings_are_made_again_and_a_damaged_description_is_one_line(
    out: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(out, tmp_path / "again")
    (portion, *_) = sorted((tmp_path / "again").rglob("*.safetensors"))
    whole = portion.read_bytes()
    portion.write_bytes(whole[:-5] + b"\x00" + whole[-4:])
    audit(pattern_embedder(), *sets, out=tmp_path / "again", settings=SETTINGS)
    assert portion.read_bytes() == whole
    assert (tmp_path / "again/exclusions.csv").read_bytes() == (out / "exclusions.csv").read_bytes()
    about = tmp_path / "again/embeddings/train/about.json"
    for content in (b"", b"[]", b"\xff", b'{"model_sha256"', b"[" * 5000):
        about.write_bytes(content)
        with pytest.raises(InputError, match=r"about\.json: must hold a JSON object"):
            audit(pattern_embedder(), *sets, out=tmp_path / "again", settings=SETTINGS)


# --- a model that cannot judge


def facts(**changes: float) -> MatchThreshold:
    plain = {"threshold": 0.6, "false_match_rate": 1e-4, "true_match_rate": 0.9, "impostor_pairs": 100}
    rest = {"reached": 0, "tail_begins": 0.4, "tail_pairs": 100, "tail_scale": 0.1, "genuine_pairs": 9}
    return MatchThreshold(**{**plain, **rest, **changes})  # type: ignore[arg-type]


def answer(found: int, expected: float | None) -> Answer:
    suspicion: Any = None  # only their number is asked for
    return Answer("mislabelled", "Wrong labels", "rule", [suspicion] * found, 9, expected)


@pytest.mark.parametrize(
    ("match", "answers", "said"),
    [
        (facts(), [answer(26, 2.0), answer(0, 5.0), answer(3, None)], []),
        (facts(threshold=1.02), [], ["its match threshold is 1.020, and no cosine lies above 1"]),
        (facts(true_match_rate=0.3), [], ["30.0 % of the pairs of the same person reach"]),
        (facts(), [answer(26, 25.7)], ["'wrong labels': 25.7 of the 26 found are expected to be false"]),
        (facts(), [answer(2, 9.0)], ["2.0 of the 2 found"]),
    ],
)
def test_a_model_that_cannot_judge_is_named_first(
    match: MatchThreshold, answers: list[Answer], said: list[str]
) -> None:
    nobody = people(vectors(3), [0, 0, 0])
    stranger = StrangerThreshold(0.2, 0.01, 100, 1)
    found = Audit(nobody, nobody, match, stranger, answers)
    assert len(found.warnings) == len(said)
    assert all(part in warning for part, warning in zip(said, found.warnings, strict=True))
    assert found.text().startswith(
        "\n".join([*(f"warning: {line}" for line in said and found.warnings), "one person from cosine"])
    )


def test_its_warnings_open_the_report_and_the_list(
    sets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "_FEWEST_MATCHES", 1.01)
    found = audit(pattern_embedder(), *sets, out=tmp_path, settings=SETTINGS)
    (warning,) = found.warnings
    assert (tmp_path / "exclusions.csv").read_text().startswith(f"# warning: {warning}\nkind,")
    assert f"Warning: {warning}" in plain((tmp_path / "report.html").read_text())
    assert json.loads((tmp_path / "audit.json").read_text())["warnings"] == [warning]
    assert ExclusionList.read(tmp_path / "exclusions.csv").identities


def test_a_model_to_which_all_photos_look_alike_is_refused(
    sets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatternNet, "forward", lambda self, pixels: self.pool(pixels).flatten(1))
    with pytest.raises(InputError, match=r"must tell people apart; got .* nearly the same embedding"):
        audit(pattern_embedder(), *sets, out=tmp_path / "out", settings=SETTINGS)
    assert [path.name for path in (tmp_path / "out/embeddings").iterdir()] == ["against"]


# --- large sets


def drawn(people: int, photos: int, *, spread: float = 0.3) -> NDArray[np.float32]:
    """Unit vectors around centres; each tenth is nearly the one before it."""
    random = np.random.default_rng(5)
    vectors = np.repeat(random.normal(size=(people, 32)), photos, axis=0)
    vectors += random.normal(size=vectors.shape) * spread * 4
    vectors[1::10] = vectors[::10][: len(vectors[1::10])] + 0.01
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_cells_find_the_pairs_that_all_comparisons_find(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    vectors = drawn(40, 30)
    every = {(i, j): score for i, j, score in pairs_from(0.9, vectors).rows()}
    assert len(every) > 100
    in_all = pairs_in_cells(0.9, vectors, cells=12, probes=12)
    assert {(i, j): score for i, j, score in in_all.rows()} == pytest.approx(every, abs=1e-5)
    assert (np.diff(in_all.scores) <= 0).all()
    monkeypatch.setattr(similarity, "LARGEST_EXACT", len(vectors) - 1)
    monkeypatch.setattr(similarity, "PER_CELL", 100)
    some = {(i, j) for i, j, _ in pairs_from(0.9, vectors).rows()}
    assert some <= set(every)
    assert len(some) > 0.95 * len(every)


@pytest.mark.parametrize("megabytes", [256, 0])  # one bucket; as many as there may be
def test_cells_of_a_file_give_the_pairs_of_the_same_rows_in_memory(
    megabytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(vector_file, "_ROWS", 50)
    monkeypatch.setattr(vector_file, "_BUCKET_MB", megabytes)
    vectors = drawn(40, 30)
    stored = write_vectors(tmp_path / "all.npy", vectors.shape, [vectors[:700], vectors[700:]])
    assert isinstance(stored, np.memmap)
    order = np.random.default_rng(0).permutation(len(vectors))
    with reordered(stored, order) as ordered:
        assert not ordered.flags.owndata
        np.testing.assert_array_equal(ordered, vectors[order])
    found, wanted = (pairs_in_cells(0.9, each, cells=12, probes=4) for each in (stored, vectors))
    assert len(found.scores) > 100
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (found.left < found.right).all()
    assert [path.name for path in tmp_path.iterdir()] == ["all.npy"]


def test_a_cell_lies_in_one_stretch_of_what_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that lie apart cost a read each where the file is larger than the memory."""
    pytest.importorskip("faiss")
    compared = []

    def watched(near: NDArray[np.int32]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for visitors, members in compared_in_cells(near):
            compared.append(members)
            yield visitors, members

    monkeypatch.setattr(similarity, "compared_in_cells", watched)
    pairs_in_cells(0.9, drawn(40, 30), cells=12, probes=4)
    assert len(compared) == 12
    np.testing.assert_array_equal(np.concatenate(compared), np.arange(1200))


def test_a_disk_without_room_for_the_embeddings_is_one_line(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_vectors(full, (4096, 32), [np.zeros((4096, 32), np.float32)])


def test_a_large_set_without_faiss_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(similarity, "LARGEST_EXACT", 10)
    with pytest.raises(InputError, match=r"pip install 'faceverif\[scale\]'"):
        pairs_from(0.9, drawn(2, 10))


def test_blocks_and_a_file_of_embeddings_change_no_similarity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vectors, labels = drawn(5, 8), np.arange(40) % 5
    names = tuple("abcde")
    nothing: Any = None
    whole = People(nothing, np.arange(40), vectors, labels, names)
    monkeypatch.setattr(people_module, "_ROWS", 7)
    monkeypatch.setattr(run_module, "_IN_MEMORY", 39)
    joined = run_module._joined(iter([vectors[:30] * 3, vectors[30:] * 2]), 40, tmp_path)
    assert (tmp_path / "all.npy").is_file()
    parts = People(nothing, np.arange(40), joined, labels, names)
    assert np.allclose(whole.own_scores, parts.own_scores, atol=1e-6)
    assert np.allclose(whole.centres, parts.centres, atol=1e-6)
    for photo in range(40):
        others = [each for each in range(40) if labels[each] == labels[photo] and each != photo]
        centre = vectors[others].mean(axis=0)
        assert parts.own_scores[photo] == pytest.approx(
            vectors[photo] @ centre / np.linalg.norm(centre), abs=1e-5
        )
    own = np.flatnonzero(labels == 3)
    assert parts.most_similar(3, vectors[17]) == own[(vectors[own] @ vectors[17]).argmax()]
