"""The model of the package: small, whole, calibrated, and used where no model is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import drawn_photos
from safetensors import safe_open
from small_faces import write_faces
from small_runs import run_config

import faceverif
from data_prep.errors import InputError
from faceverif import models
from faceverif.cli import main
from faceverif.models import MODEL_NAME, load_model
from faceverif.models.location import SHIPPED
from faceverif.training.loop import train
from faceverif.verification.calibration import load_calibration
from faceverif.verification.compare import Comparer
from maintenance import ship_model
from maintenance.ship_model import LARGEST_BYTES, ship

pytestmark = pytest.mark.usefixtures("small_inputs")


def test_it_is_small_and_its_thresholds_are_its_own() -> None:
    assert (SHIPPED / MODEL_NAME).stat().st_size <= LARGEST_BYTES
    with safe_open(SHIPPED / MODEL_NAME, framework="pt") as file:
        types = {str(file.get_tensor(name).dtype) for name in file.keys()}  # noqa: SIM118 - no mapping
    assert types <= {"torch.float16", "torch.int64"}
    model = load_model(SHIPPED / MODEL_NAME)
    calibration = load_calibration(SHIPPED, model_sha256=model.sha256)
    loose, strict = calibration.point(0.01), calibration.point(0.001)
    assert loose.threshold < strict.threshold
    assert loose.tar > strict.tar
    # Better than chance by far: at chance the two rates agree.
    assert loose.tar > 20 * loose.far


def test_it_says_what_it_was_trained_on_and_nothing_of_where() -> None:
    provenance = load_model(SHIPPED / MODEL_NAME).provenance
    assert provenance["teacher"]["sha256"].startswith("b7120c095d60")
    assert provenance["data"]["exclusions"]["photos"] > 0
    assert not [text for text in json.dumps(provenance).split('"') if text.startswith("/")]
    card = (SHIPPED / "README.md").read_text()
    assert all(word in card for word in ("CelebA", "Apache-2.0", "non-commercial", "View 2", "Limits"))


def test_it_is_what_load_and_compare_take_where_no_model_is_named(tmp_path: Path) -> None:
    first, second = drawn_photos(tmp_path, identities=1, photos=2, seed=5)
    model = faceverif.load()
    assert model.embed(faceverif.align(first, template=model.template)).shape == (128,)
    comparison = Comparer.load(SHIPPED, far=0.001).compare(first, second)
    assert comparison.similarity == pytest.approx(model.similarity(first, second), abs=1e-5)
    assert comparison.model == model.embedder.name == "the model of the package"  # not a path of this machine


@pytest.mark.parametrize(
    "words", ["embed --out e.parquet", "verify --protocol p.csv --out o", "rank --protocol . --out o"]
)
def test_commands_that_measure_take_it_where_no_model_is_named(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / "data", people=2, photos=2)
    first, second, other, another = (f"P0{who}/P0{who}_000{photo}.jpg" for who in (0, 1) for photo in (1, 2))
    pairs = f"{first},{second},1\n{other},{another},1\n{first},{other},0\n{second},{another},0\n"
    Path("p.csv").write_text(f"left,right,same\n{pairs}")
    Path("gallery.csv").write_text(f"photo,identity\n{first},P00\n")
    Path("probes.csv").write_text(f"photo,identity\n{second},P00\n{other},\n")
    taken: list[Path] = []

    def load(model: Path, **_: object) -> None:
        taken.append(model)
        raise InputError("model", "is enough", got="it", fix="Stop.")

    monkeypatch.setattr(models, "load_embedder", load)
    command, *options = words.split()
    monkeypatch.setattr(sys, "argv", ["faceverif", command, "--data", "data", *options])
    with pytest.raises(SystemExit):
        main()
    assert taken == [SHIPPED]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write_faces(root / "data", people=12, photos=4)
    train(run_config(root / "data", training={"epochs": 1, "ema_decay": None}), root / "run")
    pairs = [
        (f"P{a:02d}/P{a:02d}_0001.jpg", f"P{b:02d}/P{b:02d}_0002.jpg", int(a == b))
        for a in range(12)
        for b in range(12)
    ]
    lines = ["left,right,same", *(f"{left},{right},{same}" for left, right, same in pairs)]
    (root / "pairs.csv").write_text("\n".join(lines) + "\n")
    return root


def test_shipping_halves_the_file_and_keeps_the_embeddings(run: Path, tmp_path: Path) -> None:
    said = ship(run / "run", data=run / "data", protocol=run / "pairs.csv", out=tmp_path / "shipped")
    assert "132 impostor pairs" in said
    whole, half = (folder / MODEL_NAME for folder in (run / "run", tmp_path / "shipped"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    ours, theirs = (load_model(path).embed(crops) for path in (half, whole))
    np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())
    assert load_calibration(tmp_path / "shipped", model_sha256=load_model(half).sha256).impostor_pairs == 132
    assert str(run) not in half.read_bytes().decode("latin-1")


def test_a_model_that_is_too_large_is_not_shipped(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_model, "LARGEST_BYTES", 100_000)
    with pytest.raises(InputError, match=r"RUN: must hold a model of at most 0.1 MB"):
        ship(run / "run", data=run / "data", protocol=run / "pairs.csv", out=tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()
