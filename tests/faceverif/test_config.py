"""Every shipped YAML loads, and every mistake in one gets its one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_runs import settings

from data_prep.alignment import find_template, refuse_unfit_input
from data_prep.errors import InputError
from faceverif.classification.config import ClassificationConfig
from faceverif.config.paths import refuse_missing_paths
from faceverif.config.reading import config_text, load_config
from faceverif.config.run import RunConfig, load_run_config
from faceverif.config.yaml_text import parse_yaml, yaml_text

_ROOT = Path(__file__).resolve().parents[2]
# Tables of experiments have a test of their own.
SHIPPED = [
    path
    for path in (
        *sorted((_ROOT / "configs" / "faces").glob("*.yaml")),
        *sorted((_ROOT / "faceverif").rglob("*.yaml")),
    )
    if "methods" not in parse_yaml(path.read_text(encoding="utf-8"))
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml_text(settings(tmp_path / "data")))
    return path


def test_a_key_that_stands_twice(path: Path) -> None:
    path.write_text(path.read_text() + "seed: 8\n")
    assert re.search(r"config: must be valid YAML; got .*, line \d+\. Key seed stands twice\.", refused(path))


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as raised:
        load_run_config(path, list(overrides))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_there_are_shipped_configs() -> None:
    assert len(SHIPPED) >= 8


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: str(path.relative_to(_ROOT)))
def test_shipped_config_loads_and_survives_writing(shipped: Path, tmp_path: Path) -> None:
    config = load_run_config(shipped, [])
    copy = tmp_path / "config.yaml"
    copy.write_text(config_text(config))
    assert load_run_config(copy, []) == config


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: str(path.relative_to(_ROOT)))
def test_shipped_config_opens_with_its_command(shipped: Path) -> None:
    assert "faceverif" in shipped.read_text().splitlines()[0]


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: str(path.relative_to(_ROOT)))
def test_what_a_shipped_config_suggests_loads_too(shipped: Path) -> None:
    """Each line of the opening comment stands for one variant: its overrides go together."""
    for overrides in suggested(shipped):
        assert load_run_config(shipped, overrides) != load_run_config(shipped, [])


def suggested(shipped: Path) -> list[list[str]]:
    lines = [line for line in shipped.read_text().splitlines() if line.startswith("#")]
    return [found for line in lines if (found := re.findall(r"--set '([^']+)'", line))]


def test_some_shipped_configs_suggest_variants() -> None:
    assert sum(len(suggested(path)) for path in SHIPPED) >= 5


def test_overrides_are_yaml_and_come_in_order(path: Path) -> None:
    config = load_run_config(
        path,
        [
            "optimizer.learning_rate=5e-4",
            "optimizer.weight_decay=1e-3",
            "training.epochs=9",
            "training.epochs=4",
            "training.ema_decay=null",
            "augmentation={flip: 0.25}",
            "schedule={name: step, at_epochs: [10, 14, 16]}",
            "verification=[{name: a, data: x, protocol: y}]",
            "verification.0.protocol=pairs=2.csv",
        ],
    )
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (5e-4, 1e-3)
    assert (config.training.epochs, config.training.ema_decay) == (4, None)
    assert (config.augmentation.flip, config.augmentation.shift_px) == (0.25, 0)
    assert config.schedule.model_dump()["at_epochs"] == (10, 14, 16)
    assert config.verification[0].protocol == Path("pairs=2.csv")


def test_sections_with_defaults_may_be_left_out(path: Path) -> None:
    plain = parse_yaml(path.read_text())
    del plain["augmentation"], plain["seed"]
    path.write_text(yaml_text(plain))
    config = load_run_config(path, ["augmentation.grey=0.5"])
    assert (config.seed, config.augmentation.grey, config.augmentation.flip) == (0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("head.margn=0.4", "head.margn: is not a key of .*; got 0.4. Did you mean head.margin?"),
        ("trainin.epochs=1", "trainin: is not a key of .*. Did you mean training?"),
        (
            "head.name=arcface",
            r"head.margin: is not a key of head arcface in .*; got 0.2. Did you mean head.margin_rad\? "
            r"Known here: margin_rad, name, scale. --set 'head=\{name: arcface\}' replaces the whole",
        ),
        (
            "optimizer={name: adam, momentum: 0.9}",
            "--set 'optimizer={name: adam, learning_rate: ...}' replaces the whole section",
        ),
        ("head=arcface", "head: must be a section of keys; got arcface. Write --set 'head={name: arcface}'."),
        (
            "penalties=[center]",
            "penalties.0: must be a section of keys; got center. Write {name: center, wei",
        ),
        (
            "head={name: arcface, margin: 0.2, alpha: 1}",
            "head.margin: .*Known here: margin_rad, name, scale. Not known: margin, alpha.",
        ),
        ("head.colour=3", "head.colour: .*Known here: margin, name, scale."),
        ("head.name=cosfase", "head.name: must be one of .*'cosface'.*; got cosfase. Did you mean cosface"),
        ("backbone={depth: 18}", "backbone.name: must be given; got nothing"),
        ("seed.a=1", "--set: the key must exist; got seed.a=1. There is no a"),
        ("verification.0.name=x", "verification: must be a list; got "),
        ("seed", "--set: must be KEY=VALUE; got seed"),
        ("=3", "--set: must be KEY=VALUE"),
        ("seed=", "--set: the value must not be empty; got seed=. Write seed=null to switch it off."),
        ("data.exclude= ", "--set: the value must not be empty"),
        ("seed=[1", "--set: the value must be YAML"),
        ("seed=abc", "seed: must be a whole number; got abc"),
        ("seed=1.0", "seed: must be a whole number; got 1.0. Write 1."),
        ("seed=1_0", "seed: must be a whole number; got 1_0. Write 10."),
        ("seed=4294967296", "seed: .*less than 4294967296"),
        ("training.epochs=9999999999", "training.epochs: .*less than 2147483648"),
        ("training.epochs=1:30", "training.epochs: must be a whole number; got 1:30"),
        ("seed={{ seed }}", "--set: the value must be YAML; got seed={{ seed }}. .*: --set 'seed=\"TEXT\"'"),
        (
            "seed=" + "9" * 5000,
            r"--set: .*; got seed=9+ \.\.\.\. A number of 5,000 characters; 100 are enough.",
        ),
        ("a." * 3000 + "b=1", "a: is not a key"),
        ("verification.1" + "0" * 5000 + "=1", "verification: must be a list"),
        (
            "data.path=123",
            'data.path: must be text; got 123. YAML reads it as a number: .*quotes.*, as in "123"',
        ),
        ("data.path=007", 'put what you wrote in quotes where it is text, as in "123"'),
        ('seed="5"', "seed: must be a whole number; got 5. In quotes it is text: leave them out."),
        ("data.path=true", 'data.path: must be text; got true. .* as in "true".'),
        ("data.path=~", "data.path: must be text; got null. YAML reads ~ and null as no value: .*quotes"),
        ("backbone.embedding_dim=no", "backbone.embedding_dim: must be a whole number; got no"),
        ("verification=[{name: a, data: x, protocol: y, flip: no}]", "flip: must be true or false; got no."),
        ("training.epochs=true", "training.epochs: must be a whole number; got true"),
        ("training.epochs=0", "training.epochs: .*greater than or equal to 1; got 0"),
        ("training.ema_decay=1", "training.ema_decay: .*less than 1; got 1"),
        ("training.precision=16", "training.precision: .*'32-true' or 'bf16-mixed'; got 16"),
        ("backbone.input_px=111", "backbone.input_px: .*multiple of 8; got 111"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate: must be a number; got fast"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate: .*; got inf"),
        ("augmentation.flip=-1", "augmentation.flip: .*got -1"),
        (
            "backbone={name: iresnet, depth: 18, width: 7}",
            "backbone.width: .*greater than or equal to 8; got 7",
        ),
        (
            "training.accumulate=8",
            "training.batch_size: must divide .* of 2 or more photos, .*: 16 does; got 8",
        ),
        (
            "training.accumulate=3",
            "training.batch_size: must divide into 1 process x 3 parts .*: 6 does; got 8",
        ),
        ("data=3", "data: must be a section of keys; got 3"),
        ("schedule={name: step}", "schedule.at_epochs: must be given; got nothing"),
        ("verification=[{name: a/b, data: x, protocol: y}]", "verification.0.name: .*got a/b"),
        (
            "verification=[{name: a, data: x, protocol: y}, {name: a, data: x, protocol: z}]",
            "two entries of verification have the same name",
        ),
        ("verification=[{name: a, protocl: y}]", "Did you mean verification.0.protocol"),
    ],
)
def test_mistakes_are_one_clear_line(path: Path, override: str, message: str) -> None:
    assert re.search(message, refused(path, override)), refused(path, override)


def test_further_mistakes_are_counted(path: Path) -> None:
    assert "1 more after this one" in refused(path, "seed=-1", "training.epochs=0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "valid YAML"),
        ("- 1\n- 2", "a mapping of keys"),
        ("", "a mapping of keys"),
        ("seed: 1", "head: must be given; got nothing. Example: head: {name: softmax} (`faceverif config"),
        (b"\xff\xfe\x00", "valid YAML"),
    ],
)
def test_broken_files_are_one_clear_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert message in refused(path)


def test_a_missing_file_is_one_clear_line(path: Path) -> None:
    nowhere = path.with_name("nun.yaml")
    assert refused(nowhere) == f"config: there is no such file; got {nowhere}. There is {path}."
    assert "no such file; got nowhere/a.yaml. Check the name" in refused(Path("nowhere/a.yaml"))


def test_a_folder_instead_of_a_file_is_one_clear_line(path: Path) -> None:
    assert f"must be a YAML file; got the folder {path.parent}. There is {path}." in refused(path.parent)
    path.unlink()
    assert "It holds no *.yaml file." in refused(path.parent)


def test_what_must_not_be_read_as_something_else(path: Path) -> None:
    path.write_text(path.read_text() + "verification: [{name: a, data: no, protocol: '~'}]\n")
    config = load_run_config(path, ["seed=010", "training.batch_size=064", "data.path=photos #2"])
    assert (config.seed, config.training.batch_size, config.data.path) == (10, 64, Path("photos #2"))
    assert (config.verification[0].data, config.verification[0].protocol) == (Path("no"), Path("~"))


def test_configs_do_not_change_after_reading(path: Path) -> None:
    config = load_run_config(path, [])
    assert isinstance(config, RunConfig)
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 7  # type: ignore[misc]


OF_IMAGES = [
    path
    for path in sorted((_ROOT / "configs").glob("*/*.yaml"))
    if {"network", "training"} <= parse_yaml(path.read_text(encoding="utf-8")).keys()
]


@pytest.mark.parametrize("shipped", OF_IMAGES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_shipped_config_of_a_classifier_loads_as_its_opening_says(shipped: Path, tmp_path: Path) -> None:
    text = shipped.read_text(encoding="utf-8")
    assert text.startswith(f"# faceverif classify {shipped.relative_to(_ROOT)} --run ")
    config = load_config(ClassificationConfig, shipped, re.findall(r"--set '([^']+)'", text))
    copy = tmp_path / "config.yaml"
    copy.write_text(config_text(config), encoding="utf-8")
    assert load_config(ClassificationConfig, copy, []) == config


@pytest.mark.parametrize("key", ["data.path", "data.exclude", "training.start_from"])
def test_an_empty_path_is_not_the_current_folder(path: Path, key: str) -> None:
    with pytest.raises(InputError, match=rf'^{key}: must be a path, not empty text; got ""'):
        load_run_config(path, [f"{key}=''"])


def test_paths_of_a_config_must_exist_unless_they_can_be_fetched(tmp_path: Path, path: Path) -> None:
    with pytest.raises(InputError, match=r"got ~/faces\. A shell replaces ~ .* write the whole path"):
        refuse_missing_paths(load_run_config(path, ["data.path=~/faces"]))
    with pytest.raises(InputError, match=r"data\.path: there is no such .*`faceverif align` makes it"):
        refuse_missing_paths(load_run_config(path, []))
    (tmp_path / "data").mkdir()
    refuse_missing_paths(load_run_config(path, []))
    entry = f"verification=[{{name: a, data: '{tmp_path}', protocol: '{tmp_path}/dat'}}]"
    with pytest.raises(InputError, match=rf"verification\.0\.protocol: .*There is {tmp_path}/data\."):
        refuse_missing_paths(load_run_config(path, [entry]))
    mnist, where = _ROOT / "configs/mnist/lgm.yaml", [f"data.path={tmp_path}/nowhere"]
    with pytest.raises(InputError, match=r"data\.path: there is no such file"):
        refuse_missing_paths(load_config(ClassificationConfig, mnist, where))
    refuse_missing_paths(load_config(ClassificationConfig, mnist, [*where, "data.download=true"]))
    long = load_run_config(path, [f"data.path={'x' * 300}"])
    with pytest.raises(InputError, match="there is no such file"):
        refuse_missing_paths(long)


@pytest.mark.parametrize(
    "shipped",
    [path for path in SHIPPED if path.is_relative_to(_ROOT / "configs")],
    ids=lambda path: path.stem,
)
def test_shipped_inputs_fit_the_crops_that_the_config_names(shipped: Path) -> None:
    config = load_run_config(shipped, [])
    side = re.findall(r"\d+", config.data.path.name)[-1]  # casia-128, faces_webface_112x112
    refuse_unfit_input(find_template(f"arcface-{side}"), input_px=config.backbone.input_px)
