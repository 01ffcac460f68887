"""Who of a gallery, or nobody: what the threshold rests on, and every photo's answer."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from app_photos import Photos, write_photos
from PIL import Image
from small_faces import PatternNet, face, pattern_embedder, write_faces
from torch import Tensor

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset, Status, write_manifest
from data_prep.errors import InputError
from faceverif.cli import main
from faceverif.identification import enrolment
from faceverif.identification.enrolment import (
    Enrolled,
    NamedPhoto,
    enrol,
    left_out_note,
    photos_of_people,
)
from faceverif.identification.identify import Identification
from faceverif.identification.naming_threshold import (
    bounded_threshold,
    load_strangers,
    measured_threshold,
)
from faceverif.models import TorchEmbedder
from faceverif.verification.calibration import CalibratedPoint, Calibration
from faceverif.verification.photo_faces import FoundFace
from faceverif.verification.scoring import normalised


def calibration(*fars: float) -> Calibration:
    points = [
        CalibratedPoint(
            far=far,
            threshold=0.5 - far,
            measured_far=round(far * 10_000) / 10_000,
            false_accepts=round(far * 10_000),
            far_low=far / 2,
            far_high=min(1.0, far * 2),
            tar=0.9,
        )
        for far in fars
    ]
    words = dict.fromkeys(
        ("protocol", "protocol_sha256", "data_sha256", "model_sha256", "template_sha256"), "made up"
    )
    return Calibration(
        **words,
        flip=True,
        genuine_pairs=100,
        impostor_pairs=10_000,
        threshold_rule="r",
        interval_rule="i",
        points=tuple(points),
    )


@pytest.mark.parametrize(
    ("photos", "fpir", "far"),
    [(1, 0.1, 0.1), (5, 0.01, 0.001), (10, 0.01, 0.001), (11, 0.01, 0.0001), (100, 1, 0.01)],
)
def test_the_bound_takes_the_largest_far_that_keeps_it(photos: int, fpir: float, far: float) -> None:
    found = bounded_threshold(calibration(0.1, 0.01, 0.001, 0.0001), photos, fpir=fpir)
    assert found.point.far == far
    assert found.bound == pytest.approx(photos * far)
    assert found.threshold == 0.5 - far
    assert found.as_json()["fpir_at_most"] <= fpir * (1 + 1e-9)
    assert f"at most {counted(photos, 'photo')} x FAR {far:g}" in found.text()


def test_a_far_that_is_not_calibrated_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        InputError, match=r"0.01 allows at most 10 gallery photos, .* smallest .* is 0.001"
    ) as caught:
        bounded_threshold(calibration(0.01, 0.001), 11, fpir=0.01)
    assert "add --strangers ALIGNED with 100 or more photos" in str(caught.value)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of three people, and strangers."""
    root = tmp_path_factory.mktemp("aligned")
    status = {"P00/P00_0002": Status.NO_FACE, "P01/P01_0001": Status.FAILED}
    write_faces(root / "gallery", people=3, photos=2, status=status)
    write_faces(root / "all", people=20, photos=2, noise=90)
    rows = AlignedDataset.load(root / "all").table.to_pylist()[6:]
    strangers = [row | {"sha256": f"{place:064x}"} for place, row in enumerate(rows, 1)]
    write_manifest(root / "all", AlignedDataset.load(root / "all").header, strangers)
    return root


def test_an_aligned_set_is_a_gallery_without_its_faceless_photos(aligned: Path) -> None:
    found = enrol(aligned / "gallery", pattern_embedder(), flip=False)
    assert found.people == ("P00", "P01", "P02")
    assert found.photos == ("P00/P00_0001.jpg", "P01/P01_0002.jpg", "P02/P02_0001.jpg", "P02/P02_0002.jpg")
    assert {photo for _, photo in found.left_out} == {"P00/P00_0002.jpg", "P01/P01_0001.jpg"}


def test_strangers_give_the_threshold_that_comparing_all_of_them_gives(aligned: Path) -> None:
    embedder = pattern_embedder()
    enrolled = enrol(aligned / "gallery", embedder, flip=False)
    strangers = load_strangers(aligned / "all", fpir=0.1)
    found = measured_threshold(strangers, enrolled, embedder, flip=False, fpir=0.1)
    raw = embedder.embed(strangers.crops.read(np.arange(len(strangers))))
    cosines = normalised(raw) @ enrolled.gallery.embeddings.T.astype(np.float64)
    highest = np.sort(cosines.max(axis=1))[::-1]
    assert len(highest) == 34
    assert found.threshold == pytest.approx(highest[2], abs=1e-6)  # of 34, 3 are at most a tenth
    assert (found.point.false_positives, found.people) == (3, 17)
    assert found.closest.similarity == pytest.approx(highest[0], abs=1e-6)
    content = found.as_json()
    assert (content["rests_on"], content["measured_fpir"]) == ("strangers", 3 / 34)
    assert "34 photos of 17 strangers searched in this gallery: measured 8.82 %" in found.text()


def test_strangers_who_are_too_few_or_in_the_gallery_are_refused(aligned: Path) -> None:
    with pytest.raises(
        InputError, match=r"must hold at least 100 photos with a face for --fpir 0.01; got 34"
    ):
        load_strangers(aligned / "all", fpir=0.01)
    embedder = pattern_embedder()
    known = Enrolled.of([NamedPhoto("p 05", "a")], normalised(np.ones((1, 147))), left_out={})
    with pytest.raises(InputError, match=r"who are not in the gallery; got P05"):
        measured_threshold(load_strangers(aligned / "all", fpir=0.1), known, embedder, flip=False, fpir=0.1)


class Sick(PatternNet):
    """Gives the same number everywhere for a black crop."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, pixels: Tensor) -> Tensor:
        found = super().forward(pixels)
        found[pixels.flatten(1).amax(1) == 0] = self.value
        return found


@pytest.mark.parametrize(
    ("value", "rule"), [(torch.nan, "must give finite embeddings"), (0, "embeddings that are not zero")]
)
def test_a_photo_without_an_embedding_is_left_out(
    value: float, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = {"Ann.jpg": face(0, 1, side=112), "Bea.jpg": np.zeros((112, 112, 3), np.uint8)}
    for name in crops:
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(
        enrolment, "find_face", lambda path, _: FoundFace(str(path), crops[path.name], faces=1)
    )
    model = TorchEmbedder(Sick(value), pattern_embedder().spec)
    enrolled = enrol(tmp_path, model, flip=True)
    assert (enrolled.people, enrolled.lost) == (("Ann",), ("Bea",))
    assert rule in enrolled.left_out[NamedPhoto("Bea", "Bea.jpg")]
    (tmp_path / "Ann.jpg").unlink()
    with pytest.raises(InputError, match=rule):
        enrol(tmp_path, model, flip=True)


@pytest.mark.parametrize(
    ("value", "rule"),
    [(torch.nan, "got NaN or infinity"), (torch.inf, "got NaN or infinity"), (0, "got zeros")],
)
def test_an_aligned_photo_without_an_embedding_is_left_out(value: float, rule: str, tmp_path: Path) -> None:
    model = TorchEmbedder(Sick(value), pattern_embedder().spec)
    for name, people in (("gallery", 3), ("strangers", 20)):
        write_faces(tmp_path / name, people=people, photos=2, noise=90)
        black = tmp_path / name / "crops/P01/P01_0001.png"
        Image.fromarray(np.zeros((112, 112, 3), np.uint8)).save(black)
    enrolled = enrol(tmp_path / "gallery", model, flip=True)
    assert enrolled.left_out == {NamedPhoto("P01", "P01/P01_0001.jpg"): "no_embedding"}
    assert left_out_note(enrolled) == [
        "1 gallery photo left out, without a face, not readable or without an embedding: P01/P01_0001.jpg"
    ]
    assert len(enrolled.photos) == len(enrolled.gallery.embeddings) == 5
    strangers = load_strangers(tmp_path / "strangers", fpir=0.1)
    named = strangers.table.to_pylist()
    for place, row in enumerate(named):
        row |= {"identity": f"S{row['identity']}", "sha256": f"{place:064x}"}
    write_manifest(tmp_path / "strangers", strangers.header, named)
    strangers = load_strangers(tmp_path / "strangers", fpir=0.1)
    found = measured_threshold(strangers, enrolled, model, flip=False, fpir=0.1)
    assert (found.point.non_mated, found.people) == (39, 20)

    for crop in (tmp_path / "gallery").rglob("*.png"):
        crop.write_bytes((tmp_path / "gallery/crops/P01/P01_0001.png").read_bytes())
    with pytest.raises(InputError, match=rf"{rule} from .* for P00/P00_0001\.jpg and 5 more"):
        enrol(tmp_path / "gallery", model, flip=False)


def test_photos_and_numbers_of_the_gallery_among_the_strangers_are_noticed(aligned: Path) -> None:
    strangers, embedder = load_strangers(aligned / "all", fpir=0.1), pattern_embedder()
    own = strangers.column("sha256")[4]
    photo, unit = NamedPhoto("7", "7/1.jpg"), normalised(np.ones((1, 147)))
    copied = Enrolled.of([photo], unit, left_out={}, hashes=[own])
    with pytest.raises(InputError, match=rf"got {strangers.photos([4])[0]}, with the bytes of gallery"):
        measured_threshold(strangers, copied, embedder, flip=False, fpir=0.1)
    numbered = strangers.table.set_column(
        strangers.table.schema.get_field_index("identity"),
        "identity",
        pa.array([str(row // 2) for row in range(len(strangers))]),
    )
    other = Enrolled.of([photo], unit, left_out={}, hashes=["another"])
    found = measured_threshold(replace(strangers, table=numbered), other, embedder, flip=False, fpir=0.1)
    assert "1 stranger with the number of somebody in the gallery (7)" in found.notes()[0]


def test_people_of_whom_no_photo_is_left_are_named() -> None:
    here, lost = NamedPhoto("Ann", "Ann/1.jpg"), NamedPhoto("Bo", "Bo.jpg")
    reasons = {NamedPhoto("Ann", f"Ann/{n}.jpg"): "no face" for n in range(2, 9)} | {lost: "no face"}
    enrolled = Enrolled.of([here], normalised(np.ones((1, 3))), left_out=reasons)
    assert left_out_note(enrolled)[1].endswith("no photo of theirs could be enrolled: Bo")


def test_a_tie_and_a_near_answer_are_said() -> None:
    people = ["Ann", "Bo", "Bo"]
    same = normalised(np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]))
    enrolled = Enrolled.of([NamedPhoto(name, f"{n}.jpg") for n, name in enumerate(people)], same, left_out={})
    matches = tuple(enrolled.most_similar(np.array([0.8, 0.6, 0]), count=2))
    answer = Identification("x.jpg", 0.5, matches, faces=2)
    assert [(match.person, match.photo) for match in matches] == [("Ann", "0.jpg"), ("Bo", "1.jpg")]
    assert answer.text() == "x.jpg: Ann: similarity 0.8000 >= 0.5000; next Bo 0.8000"
    assert [note.partition(":")[0] for note in answer.notes()] == ["x.jpg shows 2 faces", "x.jpg"]
    nobody = Identification("x.jpg", 0.9, matches)
    assert nobody.person is None
    assert nobody.text().startswith("x.jpg: nobody of the gallery: most similar is Ann, 0.8000 < 0.9000")


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_people_are_folders_or_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "a", "Ann/1.jpg", "Ann/old/2.png", "Bo.jpeg", "Cy/3.jpg", "notes.txt")
    found = sorted(named for named, _ in photos_of_people(tmp_path / "a"))
    assert found == [("Ann", "Ann/1.jpg"), ("Ann", "Ann/old/2.png"), ("Bo", "Bo.jpeg"), ("Cy", "Cy/3.jpg")]
    put(tmp_path / "b", "staff/anna/1.jpg", "staff/bob/1.jpg", "Cem.jpg")
    assert {named.person for named, _ in photos_of_people(tmp_path / "b")} == {"anna", "bob", "Cem"}
    assert "almost everything lies in staff/" in capsys.readouterr().err
    put(tmp_path / "c", "train/Ann/1.jpg", "test/Ann/2.jpg")
    with pytest.raises(InputError, match=rf"^--gallery: .*Name one of them, such as {tmp_path}/c/test; or"):
        photos_of_people(tmp_path / "c")


# --- the command, on drawn people and the model of the package


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    found = write_photos(folder)
    gallery = folder / "gallery"
    for name, path in (("Ann/1.jpg", found.same), ("Cem.jpg", found.second), ("notes.jpg", found.text)):
        (gallery / name).parent.mkdir(parents=True, exist_ok=True)
        (gallery / name).write_bytes(path.read_bytes())
    return found


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["faceverif", "identify", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    output, errors = capsys.readouterr()
    return int(stopped.value.code or 0), output, errors


def test_photos_are_named_or_belong_to_nobody(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = photos.people.parent / "gallery"
    asked = ("--gallery", gallery, "--fpir", "0.2")
    code, output, errors = run(monkeypatch, capsys, photos.first, photos.empty, photos.both, *asked, "--json")
    content = json.loads(output)
    assert code == 1
    named, faceless, two = content["photos"]
    assert (named["person"], named["runner_up"]["person"], named["error"]) == ("Ann", "Cem", None)
    assert named["similarity"] >= content["threshold"] > named["runner_up"]["similarity"]
    assert (faceless["person"], faceless["similarity"]) == (None, None)
    assert "must show a face" in faceless["error"]
    assert two["faces"] == 2
    assert (content["rests_on"], content["fpir_at_most"], content["far"]) == ("calibration", 0.2, 0.1)
    assert (content["gallery"]["people"], list(content["gallery"]["left_out"])) == (2, ["notes.jpg"])
    left_out = "1 gallery photo left out, without a face, not readable or without an embedding: notes.jpg"
    assert left_out in errors
    assert "1 of 3 photos could not be searched" in errors

    code, output, _ = run(monkeypatch, capsys, photos.first, *asked, "--csv")
    [row] = csv.DictReader(io.StringIO(output))
    assert (code, row["person"], row["gallery_photo"], row["error"]) == (0, "Ann", "Ann/1.jpg", "")
    assert float(row["similarity"]) == named["similarity"]

    code, output, _ = run(monkeypatch, capsys, photos.first, "--gallery", gallery, "--fpir", "0.0002")
    assert (code, "nobody of the gallery: most similar is Ann" in output) == (0, True)
    assert "at most 2 photos x FAR 0.0001 = 0.0002" in output


def test_what_cannot_be_searched_is_one_line(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = photos.people.parent / "gallery"
    refused = [
        ((photos.empty, "--gallery", gallery, "--fpir", "0.2"), "photo: must show a face"),
        ((photos.first, "--gallery", gallery, "--fpir", "0.0001"), "0.0001 allows at most 1 gallery photo,"),
        ((photos.first, "--gallery", tmp_path), f"got no photo in {tmp_path}"),
        (
            (photos.first, "--gallery", photos.first),
            "--gallery: must be a folder of photos, or an aligned set",
        ),
    ]
    for arguments, said in refused:
        code, output, errors = run(monkeypatch, capsys, *arguments)
        assert (code, output) == (2, "")
        assert said in errors
