"""Attacks that are told similarities or decisions only, and what they may ask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_pair_attacks import THRESHOLD, network, pairs
from torch import Tensor
from toy_models import Bands, band_images, lgm_model

from faceverif.perturbation.threat_model import ThreatModel
from faceverif.report.plotting import line_styles
from robustness.attacks.pair_evolutionary import PairEvolutionary
from robustness.attacks.pair_square import PairSquare
from robustness.attacks.pairs import PairAttack
from robustness.attacks.square import Square
from robustness.config.attacks import PairGoal
from robustness.queries import QueryCount
from robustness.rejection.figures import queries_panel, success_over_queries
from robustness.rejection.outcome import Verdicts
from robustness.rejection.trial_files import TrialScores

GOALS: tuple[PairGoal, ...] = ("impersonation", "dodging")


class BandsWithoutGradients(Bands):
    """Refuses gradients."""

    def forward(self, pixels: Tensor) -> Tensor:
        assert not pixels.requires_grad
        return super().forward(pixels)


def black_box(goal: PairGoal, *, decision: bool, queries: int) -> tuple[PairAttack, ThreatModel]:
    if decision:
        return PairEvolutionary(goal, THRESHOLD, queries=queries), ThreatModel("l2", 1.6)
    return PairSquare(goal, queries=queries, accept_from=THRESHOLD), ThreatModel("linf", 0.5)


def test_the_wrapper_counts_every_image_and_never_answers_beyond_the_budget() -> None:
    asked: list[list[int]] = []

    def answer(versions: Tensor, which: Tensor) -> Tensor:
        asked.append(which.tolist())
        return versions.sum(dim=(1, 2, 3))

    count = QueryCount()
    ask = count.limited(answer, images=4, budget=2)
    pictures = torch.ones(4, 1, 2, 2, requires_grad=True)
    assert not ask(pictures, torch.arange(4)).requires_grad
    ask(pictures[:2], torch.tensor([3, 1]))
    assert count.used is not None
    assert count.used.tolist() == [1, 2, 1, 2]
    with pytest.raises(RuntimeError, match="more often than its budget of 2"):
        ask(pictures[:2], torch.tensor([0, 1]))
    assert count.used.tolist() == [1, 2, 1, 2]
    assert asked == [[0, 1, 2, 3], [3, 1]]


@pytest.mark.parametrize("decision", [False, True])
@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("queries", [1, 2, 25])
def test_a_pair_costs_no_more_than_the_budget(goal: PairGoal, queries: int, decision: bool) -> None:
    attack, threat = black_box(goal, decision=decision, queries=queries)
    net = BandsWithoutGradients().eval()
    result = attack(net, *pairs(goal), threat=threat, seed=0)
    assert result.queries is not None
    assert result.queries.max() <= queries
    # References, and every pair before and after the attack, are looked at by the experiment.
    assert net.images == int(result.queries.sum()) + 3 * 9
    assert result.zero_gradient is None


@pytest.mark.parametrize("decision", [False, True])
@pytest.mark.parametrize("goal", GOALS)
def test_both_reach_their_goal_and_stop_there(goal: PairGoal, decision: bool) -> None:
    attack, threat = black_box(goal, decision=decision, queries=1500)
    result = attack(network(), *pairs(goal), threat=threat, seed=0)
    assert result.success(THRESHOLD).all()
    assert (result.sizes <= threat.epsilon + 1e-5).all()
    assert result.queries is not None
    assert result.queries.max() < 1500


def test_more_queries_come_closer() -> None:
    def reached(queries: int) -> int:
        attack, _ = black_box("dodging", decision=True, queries=queries)
        threat = ThreatModel("l2", 1.4)
        return int(attack(network(), *pairs("dodging"), threat=threat, seed=0).success(THRESHOLD).sum())

    assert reached(2) < reached(300)


def test_without_a_threshold_square_uses_all_queries() -> None:
    probes, references = pairs("impersonation")
    result = PairSquare("impersonation", queries=12)(
        network(), probes, references, threat=ThreatModel("linf", 0.5), seed=0
    )
    assert result.queries is not None
    assert result.queries.tolist() == [12] * 9


def test_square_on_classes_counts_too() -> None:
    images, labels = band_images(12)
    result = Square(queries=30)(
        lgm_model(), images, labels, threat=ThreatModel("linf", 0.3), seed=0, portion=5
    )
    assert result.queries is not None
    assert result.queries.shape == (12,)
    assert 1 <= result.queries.min() < result.queries.max() <= 30
    assert result.success[result.queries < 30].all()


def counted() -> TrialScores:
    right = np.array([True, True, True, True, False])
    success = np.array([True, False, True, False, False])
    return TrialScores(
        Verdicts(right, right & ~success, success, None),
        sizes=np.ones(5),
        l2=None,
        clean={},
        attacked={},
        similarity=None,
        classes=None,
        queries=np.array([70, 100, 3, 100, 1]),
    )


def test_the_curve_counts_successes_by_their_queries() -> None:
    queries, share = success_over_queries(counted())
    assert queries.tolist() == [0, 3, 70, 100]
    assert share.tolist() == [0.0, 0.25, 0.5, 0.5]


def test_the_report_draws_it_and_says_where_it_ends() -> None:
    panel = queries_panel({"ours": counted()}, line_styles(["ours"]))
    (axes,) = panel.figure.axes
    (line,) = axes.lines
    np.testing.assert_array_equal(line.get_xdata(), [0, 3, 70, 100])
    np.testing.assert_array_equal(line.get_ydata(), [0.0, 0.25, 0.5, 0.5])
    assert panel.alt.endswith("ours 50.0 % after 100.")
