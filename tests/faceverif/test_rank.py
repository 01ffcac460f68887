"""Lists of a gallery and probes end to end on patterns: no probe is dropped, every file is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pages import check_page, plain
from small_faces import pattern_embedder, write_faces

from data_prep.dataset.manifest import AlignedDataset, Status, write_manifest
from data_prep.errors import InputError
from data_prep.protocols.identification import IdentificationProtocol, load_lists
from faceverif.identification.page import write_identification_report
from faceverif.identification.result import IdentificationResult
from faceverif.identification.runner import evaluate, rank
from faceverif.verification.embeddings import EmbeddedPhotos

ENROLLED, PEOPLE, PHOTOS = 12, 24, 4
HARD = 130  # noise at which a mate is sometimes first and sometimes not


def key(person: int, photo: int) -> str:
    return f"P{person:02d}/P{person:02d}_{photo:04d}"


def write_lists(folder: Path, *, gallery_photos: int = 1, more: str = "") -> IdentificationProtocol:
    """The first people enrolled by their first photos; all other photos searched."""
    rows = [(key(p, n), f"P{p:02d}") for p in range(PEOPLE) for n in range(1, PHOTOS + 1)]
    enrolled = {key(p, n) for p in range(ENROLLED) for n in range(1, gallery_photos + 1)}
    for name, mine in (("gallery", True), ("probes", False)):
        lines = [f"{photo},{person}" for photo, person in rows if (photo in enrolled) == mine]
        text = "\n".join(["photo,identity", *lines, *([more] if more and not mine else [])])
        (folder / f"{name}.csv").write_text(text + "\n")
    return load_lists(folder / "gallery.csv", folder / "probes.csv")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "data"
    write_faces(root, people=PEOPLE, photos=PHOTOS, noise=HARD)
    return root


def run(data: Path, protocol: IdentificationProtocol) -> IdentificationResult:
    return evaluate(EmbeddedPhotos(pattern_embedder(), AlignedDataset.load(data), flip=False), protocol)


def test_every_file_is_written_and_agrees(data: Path, tmp_path: Path) -> None:
    protocol = write_lists(tmp_path)
    out = tmp_path / "out"
    result = rank(pattern_embedder(), data, protocol, out=out, flip=False)
    facts = json.loads((out / "result.json").read_text())
    assert (facts["mated_probes"], facts["non_mated_probes"], facts["people"]) == (36, 48, 12)
    assert 0.3 < facts["rank"]["1"] < 1
    assert facts["rank"]["1"] < facts["rank"]["5"] < facts["rank"]["10"] <= 1
    assert facts["tpir_at_fpir"]["0.01"] is None
    assert facts["tpir_at_fpir"]["0.1"]["false_positives"] <= 4
    assert facts["warnings"] == []
    table = pq.read_table(out / "searches.parquet").to_pylist()
    assert [row["probe"] for row in table] == list(protocol.probes.photos)
    first = [row["person"] == row["identity"] for row in table if row["mated"]]
    assert np.mean(first) == facts["rank"]["1"] == np.mean([r["rank"] == 1 for r in table if r["mated"]])
    assert {path.name for path in (out / "figures").iterdir()} >= {"cmc.svg", "det.svg", "wrong", "strangers"}
    page = out / "report.html"
    check_page(page)
    before = page.read_text()
    assert result.sentence() in plain(before)
    assert "people with 12 photos" in before
    page.unlink()
    write_identification_report(out)
    assert page.read_text() == before
    assert "FPIR 0.01 is not resolved by 48 probes of strangers" in result.text()


def test_a_stopped_second_search_leaves_the_files_of_the_first(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    rank(pattern_embedder(), data, write_lists(tmp_path), out=out, flip=False)
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("faceverif.identification.page.write_page", stop)
    with pytest.raises(KeyboardInterrupt):
        rank(pattern_embedder(), data, write_lists(tmp_path), out=out, flip=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first


def test_each_search_finds_the_gallery_photo_with_the_largest_cosine(data: Path, tmp_path: Path) -> None:
    protocol = write_lists(tmp_path, gallery_photos=2)
    result = run(data, protocol)
    dataset, embedder = AlignedDataset.load(data), pattern_embedder()
    raw = embedder.embed(dataset.crops.read(np.arange(len(dataset)))).astype(np.float64)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    cosines = unit[result.probes.rows] @ unit[result.gallery.rows].T
    assert result.best.tolist() == cosines.argmax(axis=1).tolist()
    np.testing.assert_allclose(result.metrics.searches.similarity, cosines.max(axis=1), atol=1e-6)


def test_photos_that_failed_are_counted_and_stay_in_the_denominators(tmp_path: Path) -> None:
    status = {
        key(0, 1): Status.FAILED,  # the only gallery photo of its person: three probes have no mate to find
        key(1, 1): Status.NO_FACE,
        key(2, 2): Status.FAILED,
        key(13, 1): Status.FAILED,
        key(13, 2): Status.NO_FACE,
    }
    write_faces(tmp_path / "data", people=PEOPLE, photos=PHOTOS, noise=0, status=status)
    protocol = write_lists(tmp_path)
    result = run(tmp_path / "data", protocol)
    counts = result.counts()
    assert (counts["mated_probes"], counts["non_mated_probes"]) == (36, 48)
    assert (counts["people"], counts["gallery_people"]) == (11, 12)
    assert (counts["gallery_without_crop"], counts["gallery_without_face"]) == (1, 1)
    assert (counts["probes_without_crop"], counts["probes_without_face"]) == (2, 1)
    assert result.rank1 == 32 / 36  # without noise all others are found
    assert result.rank1_fallback_as_misses == 29 / 36
    rows = {row["probe"]: row for row in result.table().to_pylist()}
    assert rows[key(2, 2)]["person"] is None
    assert rows[key(0, 2)]["rank"] is None
    assert rows[key(0, 2)]["fallback"]


def test_distractors_are_people_of_their_own(data: Path, tmp_path: Path) -> None:
    protocol = write_lists(tmp_path)
    gallery = (tmp_path / "gallery.csv").read_text().replace(",P00", ",").replace(",P01", ",")
    (tmp_path / "gallery.csv").write_text(gallery)
    result = run(data, load_lists(tmp_path / "gallery.csv", tmp_path / "probes.csv"))
    assert result.counts()["distractors"] == 2
    assert result.counts()["mated_probes"] == 30
    assert result.counts()["people"] == 12
    assert protocol.sha256 != result.protocol.sha256


def test_copies_of_gallery_photos_are_warned_of(tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "data", people=PEOPLE, photos=PHOTOS, noise=30)
    alike = [row | {"sha256": "0" * 64} for row in faces.table.to_pylist()]
    write_manifest(tmp_path / "data", faces.header, alike)
    [warning] = run(tmp_path / "data", write_lists(tmp_path)).warnings
    assert warning.startswith("84 probes with the bytes of a gallery photo")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("P00/P00_0001.jpg,P00", "must not name a photo of the gallery, which would find itself"),
        ("P00/P00_0002.jpg,P00", "must name each photo once; got P00/P00_0002.jpg again"),
        ("P00/nobody.jpg,P00", "1 of 97 missing: P00/nobody.jpg"),
    ],
)
def test_what_the_lists_say_twice_or_the_data_lack_is_refused(
    data: Path, tmp_path: Path, more: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(data, write_lists(tmp_path, more=more))


def test_a_gallery_without_a_crop_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    status = {key(p, 1): Status.FAILED for p in range(ENROLLED)}
    write_faces(tmp_path / "data", people=PEOPLE, photos=PHOTOS, status=status)
    protocol = write_lists(tmp_path)
    with pytest.raises(InputError, match=r"gallery.csv: must name at least one photo that has a crop"):
        rank(pattern_embedder(), tmp_path / "data", protocol, out=tmp_path / "out", flip=False)
    assert not (tmp_path / "out").exists()


def test_without_strangers_there_is_a_cmc_and_no_open_set(data: Path, tmp_path: Path) -> None:
    write_lists(tmp_path)
    lines = (tmp_path / "probes.csv").read_text().splitlines()
    (tmp_path / "probes.csv").write_text("\n".join(line for line in lines if not line[1:3] > "11") + "\n")
    out = tmp_path / "out"
    protocol = load_lists(tmp_path / "gallery.csv", tmp_path / "probes.csv")
    text = rank(pattern_embedder(), data, protocol, out=out, flip=True).text()
    assert "open set    not measured: no probe shows a stranger" in text
    check_page(out / "report.html")
