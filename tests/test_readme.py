"""README's commands and its Python run as printed, in order, on small sets of synthetic people.

The configs that README names keep their paths, names and sections. Only the settings in `SHORTER` change, so
that a training takes seconds. `a.jpg` and `b.jpg` are two of the drawn photos. `runs/demo` holds what
`make demo` would leave there: photos of a person, and a model that is not trained.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from itertools import combinations, cycle, islice
from pathlib import Path
from typing import Any

import pytest

from data_prep.alignment import find_template
from data_prep.face_model import load_face_model
from data_prep.synthetic import synthesise_photos
from faceverif.backbones import build_backbone
from faceverif.cli import main
from faceverif.cli.app import command_line
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.config.reading import read_yaml
from faceverif.models import MODEL_NAME, PreprocessingSpec, save_model

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PEOPLE, PHOTOS = 8, 3
VIEW2 = (2, 60)  # sets, and pairs of a kind in each
VIEW1 = {"pairsDevTrain.txt": 1100, "pairsDevTest.txt": 500}  # pairs of a kind; its size is fixed

SHORTER: dict[str, dict[str, Any]] = {
    "configs/faces/celeba_cosface.yaml": {
        "backbone": {"width": 8},
        "training": {"epochs": 1, "batch_size": 8, "workers": 0},
        "schedule": {"warmup_epochs": 0, "margin_warmup_epochs": 0},
    },
    "configs/rejection/digits.yaml": {
        "training": {
            "network": {"name": "strided_conv", "width": 8},
            "training": {"epochs": 2, "evaluate_every_epochs": 2},
        },
        "attacks": [{"name": "fgsm", "epsilons": [0.1]}],
        "controls": {"changes": ["noise"]},
    },
}


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The command lines of the shell blocks, as words without comments."""
    lines = "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: merged(settings[key], value) if isinstance(settings.get(key), dict) else value
        for key, value in changes.items()
    }
    return settings | both


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shortened configs and the photos that README expects."""
    place = tmp_path_factory.mktemp("readme")
    for name, changes in SHORTER.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        settings = merged(read_yaml(ROOT / name), changes)
        (place / name).write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    draw_people(place)
    write_pair_files(place / "data" / "lfw")
    leave_a_demo(place / "runs" / "demo", photos=place / "drawn")
    return place


def draw_people(place: Path) -> None:
    synthesise_photos(load_face_model(), place / "drawn", identities=PEOPLE, photos=PHOTOS, seed=0)
    for person in sorted((place / "drawn").glob("person-*")):
        for photo in person.glob("*.jpg"):
            lfw = place / "lfw" / "lfw-deepfunneled" / person.name / f"{person.name}_00{photo.name}"
            for copy in (place / "celeba" / "images" / person.name / photo.name, lfw):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(photo, copy)
    (place / "photos.csv").write_text("first,second\na.jpg,b.jpg\n")
    for name, number in (("a.jpg", "01.jpg"), ("b.jpg", "02.jpg")):
        shutil.copy(place / "drawn" / "person-0001" / number, place / name)


def write_pair_files(folder: Path) -> None:
    """Files in the form of LFW's, with repeated pairs: View 2 with fewer sets, View 1 in full."""
    names = [f"person-{person:04d}" for person in range(1, PEOPLE + 1)]
    numbers = range(1, PHOTOS + 1)
    genuine = cycle([f"{name}\t{a}\t{b}" for name in names for a, b in combinations(numbers, 2)])
    impostor = cycle([f"{a}\t{n}\t{b}\t{n}" for a, b in combinations(names, 2) for n in numbers])

    def pairs(count: int) -> list[str]:
        return [*islice(genuine, count), *islice(impostor, count)]

    folder.mkdir(parents=True)
    sets, size = VIEW2
    view2 = [line for _ in range(sets) for line in pairs(size)]
    (folder / "pairs.txt").write_text("\n".join([f"{sets}\t{size}", *view2, ""]))
    for name, count in VIEW1.items():
        (folder / name).write_text("\n".join([str(count), *pairs(count), ""]))


def leave_a_demo(demo: Path, *, photos: Path) -> None:
    shutil.copytree(photos / "person-0001", demo / "photos" / "held-out" / "person-0001")
    config = {"name": "mobilefacenet", "embedding_dim": 16, "input_px": 96, "dropout": 0.0}
    spec = PreprocessingSpec.of(find_template("arcface-112"), input_px=96)
    (demo / "run").mkdir()
    save_model(
        demo / "run" / MODEL_NAME,
        build_backbone(MobileFaceNetConfig(**config)),
        backbone_config=config,
        spec=spec,
        provenance={},
    )


def faceverif(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line in this process, so that torch is imported once for all commands."""
    monkeypatch.setattr(sys, "argv", ["faceverif", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, words


def test_the_python_of_the_readme_runs_in_ten_lines(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = blocks(README, "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(place)
    exec(code, {})
    shape, similarity, attacked = capsys.readouterr().out.splitlines()
    assert shape == "embedding (16,)"
    assert float(attacked.split()[0]) < float(similarity.split()[-1])
    assert 0 < float(similarity.removeprefix("cosine similarity")) <= 1


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_their_order(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = [words[1:] for words in commands(README) if words[0] == "faceverif"]
    assert {words[0] for words in mine} >= {"align", "train", "verify", "compare", "reject"}
    monkeypatch.chdir(place)
    for words in mine:
        faceverif(words, monkeypatch)
    for report in ("runs/first", "results/lfw", "runs/reject_digits"):
        assert (place / report / "report.html").is_file()


def test_make_has_the_targets_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [words[1] for words in commands(README) if words[0] == "make"]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        if "faceverif" in words:
            refuse_unknown(words[words.index("faceverif") + 1 :])


def test_every_command_in_the_opening_of_a_config_exists_with_its_options() -> None:
    found = 0
    for config in sorted((ROOT / "configs").rglob("*.yaml")):
        for line in re.findall(r"^#\s+faceverif (.+)$", config.read_text(encoding="utf-8"), re.MULTILINE):
            refuse_unknown(shlex.split(line, comments=True))
            found += 1
    assert found > 20


def refuse_unknown(words: list[str]) -> None:
    command = command_line()
    while hasattr(command, "commands"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert [word for word in words if word.startswith("--") and word not in options] == []
