"""What pages and configs tell the reader to run: settings that load, inputs that earlier commands make."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from test_readme import PAGES, ROOT, blocks, commands

from faceverif.classification.config import ClassificationConfig
from faceverif.cli.configs import config_models
from faceverif.config.paths import paths_to_exist
from faceverif.config.reading import load_config, validate_config
from faceverif.config.run import RunConfig
from faceverif.config.section import Section
from faceverif.config.yaml_text import parse_yaml
from faceverif.experiment.config import load_experiment
from faceverif.experiment.plan import plan_runs
from faceverif.training.schedule import warnings_beyond_the_end

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
GUIDES = [page for page in PAGES if page.parent.name != "results"]
FACES = [config for config in CONFIGS if config.parent.name in ("faces", "rejection", "distillation")]
# What the reader brings: lists of pairs, photos that come aligned, a public model, the papers' image sets.
BROUGHT = (
    *("data/lfw/", "data/calfw/", "data/cplfw/", "data/cfp/", "data/agedb_30.bin/"),
    *("protocols/", "data/faces_webface_112x112/", "s3:/"),
    *("models/MobileFaceNet.onnx/", "data/mnist/", "data/cifar10/", "data/cifar100/"),
)


def opening(config: Path) -> str:
    """The comments at the top of a config, without their marks; a command may go over several lines."""
    lines = config.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    return re.sub(r"\n +--", " --", "\n".join(line.removeprefix("#") for line in lines))


def commands_of(page: Path) -> list[list[str]]:
    """The command lines of a page or of a config's opening, as words; none with a shell variable."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return [words[words.index("faceverif") + 1 :] for words in commands(text) if "faceverif" in words]
    lines = re.findall(r"^\s*faceverif (.+)$", opening(page), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines if "$" not in line]


def runs_of_configs(pages: list[Path]) -> list[Any]:
    """Every command on a page that takes a config of the project."""
    return [
        pytest.param(page, words, id=f"{page.stem}: {' '.join(words)[:60]}")
        for page in pages
        for words in commands_of(page)
        if words[0] in config_models() and words[1].startswith("configs/")
    ]


def settings_of(words: list[str]) -> list[str]:
    return [value for option, value in pairwise(words) if option == "--set"]


def loaded(words: list[str]) -> Section:
    return load_config(config_models()[words[0]], ROOT / words[1], settings_of(words))


@pytest.mark.parametrize(("page", "words"), runs_of_configs([*PAGES, *CONFIGS]))
def test_a_config_loads_with_the_settings_that_are_printed(page: Path, words: list[str]) -> None:
    loaded(words)


def question_of(words: list[str]) -> dict[str, str]:
    """What a command verifies or ranks: a folder takes the result of one such question."""
    asked = ("--model", "--onnx", "--run", "--data", "--protocol", "--gallery", "--probes", "--suite")
    return {option: value for option, value in pairwise(words) if option in asked}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_results_of_two_questions_go_into_two_folders(page: Path) -> None:
    asked: dict[str, dict[str, str]] = {}
    for words in commands_of(page):
        if words[0] in ("verify", "rank") and "--out" in words:
            question = question_of(words)
            assert asked.setdefault(words[words.index("--out") + 1], question) == question


def made_by(text: str) -> set[str]:
    """The folders and files that the commands of a text write, with one name for all seeds."""
    written = re.findall(r"--(?:run|out) ([^\s'\"`]+)", text)
    written += re.findall(r"faceverif align \S+ (\S+)", text) + re.findall(
        r"cp -r .* (\S+)$", text, re.MULTILINE
    )
    written += re.findall(r" > (\S+\.csv)", text)
    return {_of_any_seed(path) for path in written}


def _of_any_seed(path: str) -> str:
    return re.sub(r"seed(\d|\$seed)", "seed0", path)


def with_what_it_names(text: str, *, prose: str) -> str:
    """A text and the openings of the configs that its prose names, and of those that they name."""
    openings: dict[Path, str] = {}
    waiting = [prose]
    while waiting:
        for name in re.findall(r"[\w/]+\.yaml", waiting.pop()):
            for config in CONFIGS:
                if f"/{config.relative_to(ROOT)}".endswith(f"/{name}") and config not in openings:
                    openings[config] = opening(config)
                    waiting.append(openings[config])
    return "\n".join([text, *openings.values()])


@pytest.mark.parametrize(("page", "words"), runs_of_configs(GUIDES))
def test_what_a_command_reads_was_made_before(page: Path, words: list[str]) -> None:
    """On the page, in README, or by the opening of a config to which the page sends its reader."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert missing(words, made_by(with_what_it_names(text + readme, prose=prose))) == []


def missing(words: list[str], made: set[str]) -> list[str]:
    """Paths that the config of a command reads, and nobody brings or makes."""
    given = (*BROUGHT, *(f"{folder}/" for folder in made))
    wanted = {
        _of_any_seed(str(path)) for config in configs_of(words) for _, path, _ in paths_to_exist(config)
    }
    return sorted(path for path in wanted if not f"{path}/".startswith(given))


def configs_of(words: list[str]) -> list[Section]:
    """The config of a command; of an experiment those of its runs, whose paths it names."""
    if words[0] != "experiment":
        return [loaded(words)]
    sets = settings_of(words)
    planned = plan_runs(load_experiment(ROOT / words[1], sets), source=words[1], only=[])
    return [run.config for run in planned]


def advised(config: Path) -> list[list[str]]:
    """The options that the opening of an experiment advises in its prose, such as those of a shorter run."""
    prose = "\n".join(line for line in opening(config).splitlines() if "faceverif " not in line)
    found = re.findall(r"""(?:--(?:set|only) (?:"[^"]*"|'[^']*'|\S+)\s*)+""", prose)
    return [shlex.split(options.rstrip(" .,;\n")) for options in found]


EXPERIMENTS = [config for config in CONFIGS if (commands_of(config) or [[""]])[0][0] == "experiment"]


@pytest.mark.parametrize("config", EXPERIMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_run_of_an_experiment_comes_to_the_end_of_its_schedule(config: Path) -> None:
    """Also as its opening shortens it: a margin that never grows whole is not the method of the row."""
    for options in [[], *advised(config)]:
        for run in configs_of(["experiment", str(config.relative_to(ROOT)), *options]):
            assert isinstance(run, RunConfig | ClassificationConfig)
            training = run.training
            late = warnings_beyond_the_end(run.schedule, training.adversarial, epochs=training.epochs)
            assert late == [], options


@pytest.mark.parametrize("page", ["fine_tune", "train_own_photos"])
def test_a_whole_config_of_a_page_loads(page: str) -> None:
    [text] = blocks((ROOT / "docs" / "howto" / f"{page}.md").read_text(encoding="utf-8"), "yaml")
    assert validate_config(RunConfig, parse_yaml(text), source=page).data.min_photos_per_identity == 2


@pytest.mark.parametrize("config", FACES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_config_says_how_its_inputs_are_made(config: Path) -> None:
    """In its own opening, or in that of a config or in a page that the opening names."""
    text = opening(config)
    pages = [ROOT / name for name in re.findall(r"docs/[\w/]+\.md", text)]
    text = with_what_it_names(text, prose=text) + "".join(page.read_text(encoding="utf-8") for page in pages)
    assert missing(commands_of(config)[0], made_by(text)) == []
