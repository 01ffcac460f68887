"""Imported models under attack: with a fitted head in the closed set, without one in the open set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_faces import write_faces, write_pairs
from small_runs import run_config

import robustness.rejection.run
from data_prep.alignment import find_template
from data_prep.errors import InputError
from faceverif.backbones import build_backbone
from faceverif.config.fitted_head import fitted_head_config
from faceverif.config.reading import validate_config
from faceverif.models import MODEL_NAME, PreprocessingSpec, save_model
from faceverif.training.fit_head import fit_head
from robustness.detectors import DETECTORS, build_detector
from robustness.guard import calibrate_guard, load_guard
from robustness.loaded_run import load_run
from robustness.rejection.config import RejectionConfig
from robustness.rejection.findings import Finding
from robustness.rejection.plan import plan_trials
from robustness.rejection.run import run_rejection

pytestmark = pytest.mark.usefixtures("small_inputs")

PEOPLE, PHOTOS, DIM = 6, 8, 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported model; the people that a head is fitted to; other people, in two lists of pairs."""
    folder = tmp_path_factory.mktemp("imported")
    write_faces(folder / "people", people=PEOPLE, photos=PHOTOS)
    write_faces(folder / "strangers", people=12, photos=6)
    write_pairs(folder / "attacked.csv", photos=2)
    left = write_pairs(folder / "others.csv", photos=6).read_text().splitlines()
    (folder / "others.csv").write_text("\n".join(line for line in left if "_0001" not in line) + "\n")
    config = run_config(
        folder, backbone={"name": "iresnet", "depth": 18, "width": 8, "embedding_dim": DIM}
    ).backbone
    torch.manual_seed(0)
    save_model(
        folder / "model" / MODEL_NAME,
        build_backbone(config).eval(),
        backbone_config=config.model_dump(mode="json"),
        spec=PreprocessingSpec.of(find_template("arcface-112"), input_px=config.input_px),
        provenance={"imported": {"file": "elsewhere.pth"}},
    )
    few = ["data.min_photos_per_identity=3", "data.held_out_per_identity=5"]
    fitted = fitted_head_config(
        "lgm", data=str(folder / "people"), overrides=[*few, "head.covariance=diagonal"]
    )
    fit_head(folder / "model", fitted, folder / "known")
    return folder


def closed(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "imported",
        "title": "Imported",
        "models": [{"name": "known", "runs": [str(root / "known")], "detector": "lgm_gaussian"}],
        "calibration": 20,
        "rates": [0.1],
        "controls": {"changes": []},
        "attacks": [{"name": "fgsm", "epsilons": [0.1]}],
    } | changes


def opened(root: Path, **changes: Any) -> dict[str, Any]:
    return (
        closed(
            root,
            models=[{"name": "alone", "runs": [str(root / "model")], "detector": "mahalanobis"}],
            fit_data=str(root / "people"),
            attacks=[],
            pairs={
                "data": str(root / "strangers"),
                "protocol": str(root / "attacked.csv"),
                "calibration_protocol": str(root / "others.csv"),
                "pairs": 4,
                "far": 0.1,
                "goals": ["dodging"],
                "attacks": [
                    {"name": "fgsm", "epsilons": [0.1]},
                    {"name": "adaptive", "epsilons": [0.1], "rate": 0.1, "steps": 2, "weights": [0.1]},
                ],
            },
        )
        | changes
    )


def run(settings: dict[str, Any], out: Path) -> dict[str, Finding]:
    def never(*arguments: object) -> None:
        raise AssertionError("nothing is trained")

    config = validate_config(RejectionConfig, settings, source="test")
    with pytest.MonkeyPatch.context() as patched:  # nobody looks at the page
        patched.setattr(robustness.rejection.run, "write_rejection_report", lambda *_: out)
        run_rejection(config, out, train=never)
    trials = plan_trials(config, config.models[0].name, 0)
    return {trial.path.rpartition("/")[2]: Finding.read(trial, out) for trial in trials}  # type: ignore[misc]


def test_with_a_fitted_head_its_people_are_attacked(root: Path, tmp_path: Path) -> None:
    found = run(closed(root), tmp_path)
    before, after = (found[f"fgsm-linf-{size}"].own.accuracy.value for size in ("0", "0.1"))
    assert found["fgsm-linf-0.1"].record.images == 5 * PEOPLE - 20
    assert before > 0.8
    assert after < before


def test_without_a_head_pairs_are_attacked(root: Path, tmp_path: Path) -> None:
    found = run(opened(root), tmp_path)
    finding = found["adaptive-linf-0.1"]
    assert finding.own.success.value >= found["fgsm-linf-0"].own.success.value == 0
    similarity = found["fgsm-linf-0.1"].scores().similarity
    assert similarity is not None
    assert (similarity[1] < similarity[0]).all()
    assert (
        finding.record.facts["fit_data_sha256"]
        == load_run(root / "model", fit_data=root / "people").trained_on.sha256()
    )


def test_a_guard_is_calibrated_on_photos_of_people_with_a_fitted_head(root: Path) -> None:
    guard = calibrate_guard(root / "known")
    assert len(guard.clean_scores) == 5 * PEOPLE
    assert load_guard(root / "known", rate=0.1).guard.name == guard.name == "lgm_class"


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_that_look_at_classes_say_so(root: Path, name: str) -> None:
    model = load_run(root / "model", fit_data=root / "people").model
    if name in ("mahalanobis", "knn", "feature_squeezing", "jpeg_disagreement", "crop_disagreement"):
        assert build_detector(name, model).embedding_dim == DIM
    else:
        with pytest.raises(InputError, match=r"a head, whose classes it looks at.*faceverif fit-head"):
            build_detector(name, model)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attacks": [{"name": "fgsm", "epsilons": [0.1]}]}, r"attacks: need models with a head.*fit-head"),
        ({"detectors": ["energy"]}, r"detectors: must each fit one of the models; got energy"),
        ({"fit_data": None}, r"imported.*fit-head --model .*model --data.*fit_data"),
    ],
)
def test_what_cannot_run_is_said_before_anything_is_attacked(
    root: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(opened(root) | changes, tmp_path / "out")
    assert not list(tmp_path.rglob("*.parquet"))
