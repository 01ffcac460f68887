"""Every shipped YAML loads, and every mistake in one gets its one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from small_runs import settings

from data_prep.errors import InputError
from faceverif.config.run import RunConfig, load_run_config

_ROOT = Path(__file__).resolve().parents[2]
# Tables of experiments have a test of their own.
SHIPPED = [
    path
    for path in (
        *sorted((_ROOT / "configs" / "faces").glob("*.yaml")),
        *sorted((_ROOT / "faceverif").rglob("*.yaml")),
    )
    if "methods" not in yaml.safe_load(path.read_text(encoding="utf-8"))
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings(tmp_path / "data")))
    return path


def test_a_key_that_stands_twice(path: Path) -> None:
    path.write_text(path.read_text() + "seed: 8\n")
    assert re.search(r"config: must be valid YAML; .*key seed stands twice .*line \d+", refused(path))


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
    copy.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_run_config(copy, []) == config


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: str(path.relative_to(_ROOT)))
def test_shipped_config_opens_with_its_command(shipped: Path) -> None:
    assert "faceverif" in shipped.read_text().splitlines()[0]


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda path: str(path.relative_to(_ROOT)))
def test_what_a_shipped_config_suggests_loads_too(shipped: Path) -> None:
    """Each line of the opening comment stands for one variant: its overrides go together."""
    for line in shipped.read_text().splitlines():
        overrides = re.findall(r"--set '([^']+)'", line) if line.startswith("#") else []
        if overrides:
            assert load_run_config(shipped, overrides) != load_run_config(shipped, [])


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
    plain = yaml.safe_load(path.read_text())
    del plain["augmentation"], plain["seed"]
    path.write_text(yaml.safe_dump(plain))
    config = load_run_config(path, ["augmentation.grey=0.5"])
    assert (config.seed, config.augmentation.grey, config.augmentation.flip) == (0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("head.margn=0.4", "head.margn: is not a key of .*; got 0.4. Did you mean head.margin?"),
        ("trainin.epochs=1", "trainin: is not a key of .*. Did you mean training?"),
        ("head.name=arcface", "head.margin: .*Did you mean head.margin_rad?"),
        ("head.colour=3", "head.colour: .*Known here: margin, name, scale."),
        ("head.name=cosfase", "head.name: must be one of .*'cosface'.*; got cosfase"),
        ("backbone={depth: 18}", "backbone.name: must be given; got nothing"),
        ("seed.a=1", "--set: the key must exist; got seed.a=1. There is no a"),
        ("verification.0.name=x", "verification: input should be a valid array"),
        ("seed", "--set: must be KEY=VALUE; got seed"),
        ("=3", "--set: must be KEY=VALUE"),
        ("seed=[1", "--set: the value must be YAML"),
        ("seed=abc", "seed: input should be a valid integer; got abc"),
        ("seed=1.0", "seed: input should be a valid integer; got 1.0"),
        ("training.epochs=true", "training.epochs: input should be a valid integer; got True"),
        ("training.epochs=0", "training.epochs: .*greater than or equal to 1; got 0"),
        ("training.ema_decay=1", "training.ema_decay: .*less than 1; got 1"),
        ("training.precision=16", "training.precision: .*'32-true' or 'bf16-mixed'; got 16"),
        ("backbone.input_px=111", "backbone.input_px: .*multiple of 8; got 111"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate: .*valid number; got fast"),
        ("optimizer.learning_rate=.inf", "optimizer.learning_rate: .*; got inf"),
        ("augmentation.flip=-1", "augmentation.flip: .*got -1"),
        ("data=3", "data: .*; got 3"),
        ("schedule={name: step}", "schedule.at_epochs: field required; got nothing"),
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
        ("seed: 1", "head: field required"),
        (b"\xff\xfe\x00", "valid YAML"),
    ],
)
def test_broken_files_are_one_clear_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert message in refused(path)


def test_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    assert "must be a YAML file" in refused(tmp_path / "nowhere.yaml")
    assert "must be a YAML file" in refused(tmp_path)


def test_configs_do_not_change_after_reading(path: Path) -> None:
    config = load_run_config(path, [])
    assert isinstance(config, RunConfig)
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 7  # type: ignore[misc]
