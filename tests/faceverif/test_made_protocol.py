"""From a folder of crops to a result: the lists that faceverif makes, run as any other."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from small_faces import pattern_embedder, write_faces

from data_prep.alignment import find_template
from data_prep.dataset.exclusions import ExclusionList
from data_prep.dataset.manifest import AlignedDataset
from data_prep.made_lists.held_out import exclusions_beside
from data_prep.protocols import protocol_alone
from data_prep.protocols.identification import load_identification
from faceverif.cli import main
from faceverif.config.reading import validate_config
from faceverif.config.run import RunConfig
from faceverif.config.yaml_text import parse_yaml
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.runner import evaluate


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["faceverif", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_a_made_list_is_verified_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / "mine", people=12, photos=4)
    run(monkeypatch, "data", "pairs", "mine", "--out", "mine.csv", "--folds", "3", "--seed", "5")
    said = capsys.readouterr().out
    assert "mine.csv: 96 pairs in 3 folds that share no person, each with 16 genuine and 16 impostor" in said
    assert "next: faceverif verify --data mine --protocol mine.csv --out results/mine" in said
    photos = EmbeddedPhotos(pattern_embedder(), AlignedDataset.load(tmp_path / "mine"), flip=False)
    result = evaluate(photos, protocol_alone(Path("mine.csv")), subtract_mean=False)
    assert (result.accuracy, result.metrics.roc.genuine, result.metrics.roc.impostors) == (1.0, 48, 48)
    assert (
        "list        `faceverif data pairs` made it: no person in two folds; seed 5; of 48 photos"
        in result.text()
    )


def test_the_people_of_a_test_are_left_out_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = write_faces(tmp_path / "mine", people=12, photos=2)
    run(monkeypatch, "data", "pairs", "mine", "--out", "t.csv", "--folds", "2", "--hold-out", "0.4")
    said = capsys.readouterr().out
    assert "t-exclude.csv: for data.exclude; it names the 5 people, and leaves 7 people to train on" in said
    assert (
        "next: faceverif train CONFIG --run runs/t --set data.path=mine --set data.exclude=t-exclude" in said
    )
    protocol = protocol_alone(Path("t.csv"))
    tested = {photo.partition("/")[0] for photo in (*protocol.left, *protocol.right)}
    kept = ExclusionList.read(Path("t-exclude.csv")).kept(dataset)
    trained = set(dataset.column("identity")[kept])
    assert (len(trained), tested & trained) == (7, set())
    assert "held out of 24 photos of 12 people" in protocol.reading


def test_the_config_of_the_page_leaves_out_the_people_that_its_commands_hold_out() -> None:
    page = (Path(__file__).parents[2] / "docs/howto/train_own_photos.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```yaml\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    config = validate_config(RunConfig, parse_yaml(text), source="mine.yaml")
    [pairs] = re.findall(r"data pairs (\S+) --out (\S+) --hold-out", page)
    assert (str(config.data.path), config.data.exclude) == (pairs[0], exclusions_beside(Path(pairs[1])))
    assert config.backbone.input_px <= find_template("arcface-112").crop_px


def test_made_lists_of_a_gallery_are_read_by_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / "mine", people=12, photos=4)
    run(monkeypatch, "data", "gallery", "mine", "--out", "lists", "--strangers", "0.25")
    assert (
        "next: faceverif rank --data mine --protocol lists --out results/lists-1n" in capsys.readouterr().out
    )
    lists = load_identification(Path("lists"))
    assert (len(lists.gallery), len(lists.probes)) == (9, 39)
