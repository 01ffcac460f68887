"""Pairs of photos from a CSV, and answers as JSON and CSV."""

from __future__ import annotations

import csv
import json
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from drawn_photos import drawn_photos
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.alignment import find_template
from data_prep.errors import InputError
from faceverif.backbones import build_backbone
from faceverif.cli import main
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.models import MODEL_NAME, PreprocessingSpec, save_model
from faceverif.verification import compare
from faceverif.verification.calibration import CALIBRATION_NAME
from faceverif.verification.compare import Comparer
from faceverif.verification.compare_pairs import compare_pairs
from faceverif.verification.photo_faces import NoFaceError
from faceverif.verification.photo_pairs import PhotoPair, read_photo_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nothing, crops and pairs to calibrate it on, and two photos."""
    folder = tmp_path_factory.mktemp("compare")
    config = MobileFaceNetConfig(name="mobilefacenet", embedding_dim=16, input_px=112)
    torch.manual_seed(0)
    spec = PreprocessingSpec.of(find_template("arcface-112"), input_px=112)
    backbone = build_backbone(config)
    (folder / "m").mkdir()
    save_model(
        folder / "m" / MODEL_NAME, backbone, backbone_config=config.model_dump(), spec=spec, provenance={}
    )
    write_faces(folder / "data", people=6, photos=3)
    write_pairs(folder / "pairs.csv", people=6, photos=3)
    for number, photo in enumerate(drawn_photos(folder / "photos", identities=1, photos=2)):
        photo.rename(folder / f"{number}.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["faceverif", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    output, errors = capsys.readouterr()
    return int(stopped.value.code or 0), output, errors


def test_a_calibrated_model_compares_photos_and_lists_of_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    code, _, errors = run(monkeypatch, capsys, "compare", "0.jpg", "1.jpg", "--model", "m")
    assert code == 2
    assert "Set them: faceverif calibrate --model m --data ALIGNED --protocol PAIRS" in errors
    calibrating = ("calibrate", "--model", "m", "--data", "data", "--protocol", "pairs.csv")
    code, text, _ = run(monkeypatch, capsys, *calibrating)
    assert code == 0
    assert "FAR 0.1" in text
    written = (folder / "m" / CALIBRATION_NAME).read_text()
    assert run(monkeypatch, capsys, *calibrating, "--out", "mine.json")[0] == 0
    assert (folder / "mine.json").read_text() == written

    asked = ("--model", "m", "--far", "0.1", "--calibration", "mine.json")
    code, output, _ = run(monkeypatch, capsys, "compare", "0.jpg", "1.jpg", *asked, "--json")
    answer = json.loads(output)
    points = {point["far"]: point for point in json.loads(written)["points"]}
    assert code == 0
    assert (answer["threshold"], answer["tar"]) == (points[0.1]["threshold"], points[0.1]["tar"])
    assert answer["far"] == 0.1
    assert answer["same"] == (answer["similarity"] >= answer["threshold"])
    assert answer["model"].endswith(MODEL_NAME)

    looked_at = []
    find_face = compare.find_face
    monkeypatch.setattr(compare, "find_face", lambda *given: looked_at.append(given[0]) or find_face(*given))
    Path("list.csv").write_text("note,second,first\nx,1.jpg,0.jpg\n,0.jpg,0.jpg\n,0.jpg,broken.jpg\n,0.jpg\n")
    code, output, errors = run(monkeypatch, capsys, "compare", "--pairs", "list.csv", *asked, "--json")
    rows = json.loads(output)["pairs"]
    assert code == 1
    assert "2 of 4 rows could not be compared" in errors
    assert [row["similarity"] for row in rows[:2]] == pytest.approx([answer["similarity"], 1.0], abs=1e-5)
    assert "readable picture; got broken.jpg, which is not a picture" in rows[2]["error"]
    assert "line 5: must name two photos; got 0.jpg" in rows[3]["error"]
    assert sorted(photo.name for photo in looked_at) == ["0.jpg", "1.jpg", "broken.jpg"]

    code, output, _ = run(monkeypatch, capsys, "compare", "--pairs", "list.csv", *asked, "--csv")
    table = list(csv.DictReader(output.splitlines()))
    assert [row["same"] for row in table[1:]] == ["true", "", ""]
    assert float(table[0]["threshold"]) == answer["threshold"]
    code, output, _ = run(monkeypatch, capsys, "compare", "--pairs", "list.csv", *asked)
    assert output.splitlines()[1].startswith("same person: similarity 1.0000 >= ")
    assert output.splitlines()[2].startswith("error: photo: must be a readable picture")


@pytest.mark.parametrize(("spread", "warned"), [(0.1, True), (10.0, False)])
def test_a_model_to_which_all_photos_look_alike_is_warned_of(spread: float, warned: bool) -> None:
    def embed(photos: list[Path]) -> np.ndarray:
        noise = np.random.default_rng(int(photos[0].stem)).normal(0, spread, 16)
        return np.array([(1 + noise) / np.linalg.norm(1 + noise)])

    point = SimpleNamespace(threshold=0.5)
    comparer = SimpleNamespace(
        embedder=pattern_embedder(), point=point, find=lambda photo: photo, embed=embed
    )
    pairs = [PhotoPair(line, f"{line}.jpg", "0.jpg", Path()) for line in range(1, 41)]
    rows, warning = compare_pairs(cast(Comparer, comparer), [*pairs, PhotoPair(41, "1.jpg", "", Path())])
    assert (warning is not None) == warned
    assert len(rows) == 41
    assert rows[40].error


def test_a_photo_without_a_face_does_not_stay_in_memory() -> None:
    """An error holds the frames that it came through, and one of them the decoded photo."""
    decoded: list[weakref.ref[np.ndarray]] = []

    def find(photo: Path) -> None:
        assert not any(pixels() is not None for pixels in decoded)
        pixels = np.zeros((8, 8, 3), np.uint8)
        decoded.append(weakref.ref(pixels))
        raise NoFaceError("photo", "must show a face", got=photo, fix="Give another.")

    comparer = SimpleNamespace(
        embedder=pattern_embedder(), point=SimpleNamespace(threshold=0.5), find=find, embed=list
    )
    pairs = [PhotoPair(line, f"{line % 2}.jpg", "2.jpg", Path()) for line in range(1, 5)]
    rows, _ = compare_pairs(cast(Comparer, comparer), pairs)
    assert [row.error for row in rows] == [
        f"photo: must show a face; got {line % 2}.jpg. Give another." for line in range(1, 5)
    ]
    assert len(decoded) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.jpg,b.jpg\n\nc.jpg,d.jpg\n", [(1, "a.jpg", "b.jpg"), (3, "c.jpg", "d.jpg")]),
        ("\ufeffFirst;Second\na, b.jpg ; c.jpg\n", [(2, "a, b.jpg", "c.jpg")]),
        ("first\tsecond\na.jpg\n", [(2, "a.jpg", "")]),
        ('"a,1.jpg",b.jpg\n', [(1, "a,1.jpg", "b.jpg")]),
    ],
)
def test_lists_are_read_as_people_write_them(
    tmp_path: Path, text: str, found: list[tuple[int, str, str]]
) -> None:
    (tmp_path / "list.csv").write_text(text)
    pairs = read_photo_pairs(tmp_path / "list.csv")
    assert [(pair.line, pair.first, pair.second) for pair in pairs] == found
    assert {pair.folder for pair in pairs} == {tmp_path}


@pytest.mark.parametrize("content", [b"", b"first,second\n", b"\xff\xfe\x00", b'"a.jpg,b.jpg\n'])
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(InputError, match="--pairs: must be a CSV of photos with the columns first,second"):
        read_photo_pairs(tmp_path / "list.csv")
