"""Settings of `reject`: the shipped ones are sound, and what makes no sense is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_rejection import settings

from data_prep.errors import InputError
from faceverif.config.reading import load_config
from faceverif.config.yaml_text import parse_yaml
from robustness.rejection.config import RejectionConfig

CONFIGS = Path(__file__).parents[2] / "configs" / "rejection"
TWO_SEEDS = {"name": "softmax", "settings": {}, "seeds": [3, 3], "detector": "affinity"}
TWO_RUNS = {"name": "softmax", "runs": ["r", "./r"], "detector": "affinity"}
PAIRS = {
    "data": "d",
    "protocol": "p",
    "calibration_protocol": "c",
    "goals": ["dodging", "dodging"],
    "attacks": [{"name": "fgsm", "epsilons": [0.1]}],
}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"models": [{"name": "a", "detector": "affinity"}]},
            r"^models\.0: a needs either existing runs, .*; got neither\. Fix it in test or by --set\.$",
        ),
        (
            {"models": [{"name": "a", "settings": {}, "detector": "odd"}]},
            r"models\.0\.detector: must be one of 'lgm.*got odd\. Fix it in test or by --set\.$",
        ),
        (
            {"detectors": ["knn", "mahalanobi"]},
            r"^detectors\.1: must be one of 'lgm.*; got mahalanobi\. Did you mean mahalanobis\?",
        ),
        (
            {"attacks": [{"name": "fgsm", "epsilons": [-0.1]}]},
            r"greater than or equal to 0; got -0\.1\. Fix it in test or by --set\.$",
        ),
        (
            {"attacks": [{"name": "fgsm", "epsilons": [1.5]}], "published": []},
            r"^attacks\.0\.epsilons: .* got 1\.5",
        ),
        (
            {"attacks": [{"name": "transfer", "epsilons": [0.1], "source": "b"}], "published": []},
            r"^attacks\.0\.source: must be one of the models: softmax, l-gm; got b\.",
        ),
        (
            {"attacks": [{"name": "adaptive", "epsilons": [0.1], "rate": 0.3}], "published": []},
            r"^attacks\.0\.rate: must be one of rates: 0\.05, 0\.2; got 0\.3\.",
        ),
        ({"attacks": [{"name": "odd", "epsilons": [0.1]}]}, "must be one of .*fgsm"),
        ({"controls": {"changes": ["odd"]}}, r"^controls\.changes\.0: must be one of 'noise'.*got odd"),
        (
            {"published": [{"model": "l-gm", "attack": "square", "epsilon": 0}]},
            "^published: .*are run; got l-gm, square",
        ),
        (
            {"attacks": 2 * [{"name": "fgsm", "epsilons": [0.1]}]},
            "^attacks: must differ in their labels.*got fgsm twice",
        ),
        (
            {"attacks": [{"name": "fgsm", "label": "noise", "epsilons": [0.1]}], "published": []},
            "^attacks: must not be labelled as a control is: they share files; got noise",
        ),
        (
            {"attacks": [{"name": "fgsm", "label": "noise-like-x", "epsilons": [0.1]}], "published": []},
            "^attacks: must not be labelled as a control is: they share files; got noise-like-x",
        ),
        (
            {"attacks": [{"name": "adaptive", "epsilons": [0.1], "rate": 0.2, "weights": []}]},
            r"^attacks\.0\.weights: .*at least 1 item",
        ),
        (
            {"attacks": [{"name": "transfer", "epsilons": [0.1], "source": "l-gm"}], "published": []},
            "^attacks: must hold one with an epsilon above 0 for l-gm",
        ),
        (
            {"attacks": [{"name": "fgsm", "epsilons": [0]}], "published": []},
            "^attacks: must hold one with an epsilon above 0 for softmax",
        ),
        (
            {"attacks": [{"name": "pgd", "epsilons": [0.031372549, 0.0313725490196]}], "published": []},
            r"^attacks\.epsilons: must differ in six digits, or not at all; got two that are 0\.0313725",
        ),
        (
            {"rates": [0.005, 0.2], "calibration": 150},
            r"^calibration: must be at least 199 .* rates may be 0\.0067 or more; got 150",
        ),
        ({"rates": [0.05, 0.2, 0.05]}, r"^rates: must differ; got 0\.05 twice"),
        ({"controls": {"changes": ["noise", "noise"]}}, r"^controls\.changes: must differ; got noise twice"),
        ({"models": [TWO_SEEDS]}, r"^models\.0\.seeds: must differ; got 3 twice"),
        ({"models": [TWO_RUNS]}, r"^models\.0\.runs: must differ; got .*r twice"),
        (
            {
                "attacks": [{"name": "transfer", "epsilons": [0.1], "source": ["l-gm", "l-gm"]}],
                "published": [],
            },
            r"^attacks\.0\.source: must differ; got l-gm twice",
        ),
        ({"pairs": PAIRS}, r"^pairs\.goals: must differ; got dodging twice"),
        (
            {"pairs": PAIRS | {"goals": ["dodging"]}, "fit_data": "./d"},
            r"^fit_data: must be another set than pairs\.data: .*; got d\.",
        ),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        settings(**changes)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_sound(path: Path) -> None:
    config = load_config(RejectionConfig, path, [])
    opening = path.read_text(encoding="utf-8").splitlines()[0]
    assert opening == f"# faceverif reject configs/rejection/{path.name} --out runs/{config.name}"
    assert parse_yaml(path.read_text(encoding="utf-8"))["name"] == config.name
