"""The examples and benchmarks run on a tiny input, and what the examples print is true."""

from __future__ import annotations

import itertools
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
# Found, not listed, so that a new one is run too.
SCRIPTS = sorted(path for folder in ("examples", "benchmarks") for path in (ROOT / folder).glob("*.py"))
TOY = runpy.run_path(str(EXAMPLES / "snr_toy_classifier.py"), run_name="snr_toy_classifier")
MINIMUM = runpy.run_path(str(EXAMPLES / "wsoftmax_minimum.py"), run_name="wsoftmax_minimum")


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # a peer of benchmarks/heads.py
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_script_runs_on_a_tiny_input(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", [str(script), "--tiny"])
    monkeypatch.chdir(ROOT)
    try:
        runpy.run_path(str(script), run_name=script.stem)["main"]()
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.strip()


def test_the_scripts_are_found() -> None:
    assert len(SCRIPTS) >= 7
    assert {path.parent.name for path in SCRIPTS} == {"examples", "benchmarks"}


def test_the_toy_classifier_prints_the_papers_numbers_beside_its_own() -> None:
    command = [sys.executable, str(EXAMPLES / "snr_toy_classifier.py")]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    assert lines[1].split() == ["paper", "0.870", "0.850"]
    assert len(lines) == 6


def test_half_way_the_papers_classifier_is_the_better_one() -> None:
    for levels in (1, 10):
        found = TOY["accuracies"](vectors=40_000, levels_per_vector=levels, best=False)
        assert found["proposed"] > found["likelihood ratio"] + 0.005
    # By the definition: the mean of theta is what counts where each is drawn for itself.
    assert abs(found["proposed"] - exact_halfway_accuracy()) < 0.004


def test_with_the_best_threshold_both_decide_alike() -> None:
    draws = TOY["draw"](40_000, levels_per_vector=1, generator=np.random.default_rng(3))
    vectors = np.array(list(itertools.product((0, 1), repeat=10)))
    decisions = [
        vectors @ weights > TOY["most_accurate"](draws.first @ weights, draws.second @ weights)
        for weights in TOY["WEIGHTS"].values()
    ]
    rare_or_two = (vectors[:, :4].sum(axis=1) > 0) | (vectors.sum(axis=1) > 1)
    for decision in decisions:
        np.testing.assert_array_equal(decision, rare_or_two)


def exact_halfway_accuracy() -> float:
    """Of the proposed classifier with a draw for each theta, summed over all 1,024 vectors."""
    p, weights = TOY["P"], TOY["WEIGHTS"]["proposed"]
    vectors = np.array(list(itertools.product((0, 1), repeat=10)))
    scores = vectors @ weights
    chances = [np.where(vectors == 1, mean, 1 - mean).prod(axis=1) for mean in (p / 2, p + (1 - p) / 2)]
    threshold = sum(chance @ scores for chance in chances) / 2
    return float((chances[0][scores <= threshold].sum() + chances[1][scores > threshold].sum()) / 2)


def test_a_last_batch_norm_keeps_wsoftmax_from_products_that_are_all_negative() -> None:
    for last_layers, all_negative in (("none", True), ("prelu_norm", False)):
        found = MINIMUM["refinements"](last_layers, 0, steps=400)
        (loss, _, again), (margin_loss, _, negative) = found["softmax again"], found["W-Softmax"]
        assert found["start"][2] == again == 0
        assert (negative > 0.5) == all_negative
        assert (margin_loss < loss) == all_negative  # the loss falls where the margin can be escaped
