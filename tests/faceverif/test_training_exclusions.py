"""A list of exclusions decides what is trained on, and stands wherever the model is spoken of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_faces import manifest_row, write_faces, write_pairs
from small_runs import checkpoint, run_config

from data_prep.dataset.exclusions import ExclusionList
from data_prep.dataset.manifest import write_manifest
from data_prep.errors import InputError
from faceverif.config.run import DataConfig
from faceverif.models import MODEL_NAME, load_model
from faceverif.training.checkpoint import load_checkpoint
from faceverif.training.data import load_training_photos
from faceverif.training.loop import train
from faceverif.training.provenance import describe_photos

pytestmark = pytest.mark.usefixtures("small_inputs")

LIST = "kind,name\nidentity,P01\nphoto,P02/P02_0003.jpg\n"


def write_list(path: Path, text: str = LIST) -> Path:
    path.write_text(text)
    return path


def short(data: Path, listed: Path, **sections: Any) -> Any:
    return run_config(
        data, data={"exclude": str(listed)}, training={"epochs": 1, "batch_size": 4}, **sections
    )


def test_classes_are_labelled_anew_without_gaps(data: Path, tmp_path: Path) -> None:
    config = DataConfig(path=data, exclude=write_list(tmp_path / "list.csv"))
    photos = load_training_photos(config, input_px=32, seed=0)
    assert photos.identities == ("P00", "P02", "P03")
    assert photos.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 5
    names = photos.dataset.column("photo")[photos.rows]
    assert not [name for name in names if name.startswith("P01/") or "P02_0003" in name]
    assert len(names) == 14
    whole = load_training_photos(DataConfig(path=data), input_px=32, seed=0)
    assert photos.sha256 != whole.sha256 == whole.dataset.sha256


def test_nobody_left_and_unknown_photos_are_refused(data: Path, tmp_path: Path) -> None:
    for text, complaint in (
        ("kind,name\nphoto,P09/P09_0001.jpg\n", "must be in data.path"),
        ("kind,name\n" + "".join(f"identity,P0{person}\n" for person in range(3)), "two people or more"),
    ):
        config = DataConfig(path=data, exclude=write_list(tmp_path / "list.csv", text))
        with pytest.raises(InputError, match=complaint):
            load_training_photos(config, input_px=32, seed=0)


def test_every_number_of_a_run_says_which_list(data: Path, tmp_path: Path) -> None:
    listed, run = write_list(tmp_path / "list.csv"), tmp_path / "run"
    pairs = write_pairs(tmp_path / "pairs.csv", people=4, photos=5)
    entry = {"name": "pairs", "data": str(data), "protocol": str(pairs)}
    train(short(data, listed, verification=[entry]), run, resume=False)
    described = ExclusionList.read(listed).described()
    assert described["photos"] == described["identities"] == 1
    assert json.loads((run / "provenance.json").read_text())["data"]["exclusions"] == described
    assert checkpoint(run)["exclusions"] == described
    assert load_model(run / MODEL_NAME).exclusions == described
    result = json.loads((run / "verification/pairs/result.json").read_text())
    assert result["training_exclusions"] == described
    assert f"1 identity, sha256 {described['sha256'][:12]}" in (run / "report.html").read_text()

    moved = tmp_path / "elsewhere.csv"
    listed.rename(moved)
    photos = load_training_photos(DataConfig(path=data, exclude=moved), input_px=32, seed=0)
    assert load_checkpoint(run, short(data, moved), data_sha256=photos.sha256)["exclusions"] == described
    write_list(moved, LIST + "photo,P00/P00_0001.jpg\n")
    with pytest.raises(InputError, match="a run that began with other data"):
        train(short(data, moved), run, resume=True)


def of_quality(data: Path, **least: float) -> Any:
    return load_training_photos(DataConfig(path=data, min_quality=least), input_px=32, seed=0)


def test_photos_below_a_quality_are_left_out_and_counted(tmp_path: Path) -> None:
    """Photos number 1 to 5 have these scores; sharpness is known of the last two of each person."""
    dataset = write_faces(tmp_path, people=3, photos=5)
    rows = [
        manifest_row(photo.removesuffix(".jpg"))
        | {"score": int(photo[-5]), "sharpness": 50.0 if int(photo[-5]) > 3 else None}
        for photo in dataset.column("photo").tolist()
    ]
    write_manifest(tmp_path, dataset.header, rows)
    whole, scored, sharp = (
        of_quality(tmp_path),
        of_quality(tmp_path, score=3),
        of_quality(tmp_path, sharpness=9),
    )
    assert [len(each) for each in (whole, scored, sharp)] == [15, 9, 6]
    assert [each.below_quality for each in (whole, scored, sharp)] == [0, 6, 9]
    assert len(of_quality(tmp_path, score=5, sharpness=9)) == 3
    assert len({whole.sha256, scored.sha256, sharp.sha256, of_quality(tmp_path, score=2).sha256}) == 4
    assert describe_photos(scored)["min_quality"] == {"score": 3}
    assert describe_photos(scored)["below_quality"] == 6
    assert describe_photos(scored)["left_out"] == 6


@pytest.mark.parametrize(
    ("least", "said"),
    [
        ({"frontal": 0.5}, r"data\.min_quality\.frontal: must be known of the photos; got none of 20 in"),
        ({"score": 1}, r"data\.min_quality\.score: must be known of the photos"),
    ],
)
def test_a_quality_that_is_not_known_is_refused(data: Path, least: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        of_quality(data, **least)


def test_a_quality_that_no_photo_has_is_refused(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path, people=3, photos=5)
    rows = [manifest_row(photo.removesuffix(".jpg")) | {"score": 7} for photo in dataset.column("photo")]
    write_manifest(tmp_path, dataset.header, rows)
    said = r"must be reached by some photos; got 8; of the 15 photos so far the best has 7. Lower it: half of"
    with pytest.raises(InputError, match=said):
        of_quality(tmp_path, score=8)


def test_a_quality_that_the_photos_left_do_not_have_is_refused(tmp_path: Path) -> None:
    dataset = write_faces(tmp_path, people=3, photos=5)
    rows = [manifest_row(photo.removesuffix(".jpg")) for photo in dataset.column("photo")]
    known = [{"score": 7}, *[{"score": 2, "sharpness": 5.5}] * (len(rows) - 1)]
    write_manifest(tmp_path, dataset.header, [row | each for row, each in zip(rows, known, strict=True)])
    said = r"must be known of some photos; got none of the 1 photo with score >= 5 has it. Lower score, or"
    with pytest.raises(InputError, match=said):
        of_quality(tmp_path, score=5, sharpness=1)


def test_an_unknown_measure_in_a_config_is_named(data: Path) -> None:
    with pytest.raises(InputError, match=r"data\.min_quality\.sharp: is not a key"):
        run_config(data, data={"min_quality": {"sharp": 3}})
