"""A list of exclusions decides what is trained on, and stands wherever the model is spoken of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_faces import write_faces, write_pairs
from small_runs import checkpoint, run_config

from data_prep.dataset.exclusions import ExclusionList
from data_prep.errors import InputError
from faceverif.config.run import DataConfig
from faceverif.models import MODEL_NAME, load_model
from faceverif.training.checkpoint import load_checkpoint
from faceverif.training.data import load_training_photos
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")

LIST = "kind,name\nidentity,P01\nphoto,P02/P02_0003.jpg\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data"), people=4, photos=5).root


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
    assert f"1 identities, sha256 {described['sha256'][:12]}" in (run / "report.html").read_text()

    moved = tmp_path / "elsewhere.csv"
    listed.rename(moved)
    photos = load_training_photos(DataConfig(path=data, exclude=moved), input_px=32, seed=0)
    assert load_checkpoint(run, short(data, moved), data_sha256=photos.sha256)["exclusions"] == described
    write_list(moved, LIST + "photo,P00/P00_0001.jpg\n")
    with pytest.raises(InputError, match="a run that began with other data"):
        train(short(data, moved), run, resume=True)
