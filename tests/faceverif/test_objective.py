"""Any head x any criterion x any penalties from YAML; what makes no sense is refused with a reason."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import settings
from torch import nn

from data_prep.errors import InputError
from faceverif.config import RunConfig, SGDConfig, validate_config
from faceverif.criteria import CRITERIA
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.heads import HEADS
from faceverif.objective import Objective
from faceverif.objective_config import ObjectiveConfig
from faceverif.penalties import Batch
from faceverif.penalties.gsc import gsc_penalty
from faceverif.training.optimizer import build_optimizer, set_learning_rate

CLASSES, DIM = 4, 3
REQUIRED: dict[str, dict[str, Any]] = {"lgm": {"alpha": 0.3}, "snr": {"update": "batch"}}


def section(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **REQUIRED.get(name, {}), **more}


def config(
    head: str | dict[str, Any], criterion: str = "cross_entropy", penalties: tuple[str, ...] = ()
) -> ObjectiveConfig:
    plain = {
        "head": section(head) if isinstance(head, str) else head,
        "criterion": section(criterion),
        "penalties": [section(name, weight=0.1) for name in penalties],
    }
    return validate_config(ObjectiveConfig, plain, source="test")


def objective(*arguments: Any) -> Objective:
    torch.manual_seed(0)
    return Objective(config(*arguments), classes=CLASSES, embedding_dim=DIM)


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, DIM, generator=torch.Generator().manual_seed(0)), torch.arange(8) % CLASSES


def penalties_for(head: str) -> tuple[str, ...]:
    """All that go together with the head."""
    of_the_head = ("likelihood",) if head == "lgm" else ("center", "mhe")
    return ("gsc", "entropy", "snr", "triplet", "margin", "n_pair", "proxy_nca", "contrastive", *of_the_head)


@pytest.mark.parametrize(("head", "criterion"), list(itertools.product(HEADS, CRITERIA)))
def test_every_head_learns_with_every_criterion_and_all_penalties(head: str, criterion: str) -> None:
    """The loss of one batch falls in a few steps."""
    torch.manual_seed(0)
    model = objective(head, criterion, penalties_for(head))
    body = nn.Linear(DIM, DIM)
    x, y = drawn()
    optimizer = torch.optim.Adam([*body.parameters(), *model.parameters()], lr=0.02)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = model(body(x), y).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.end_epoch()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    assert min(losses[6:]) < losses[1]


def test_the_sum_is_criterion_plus_weighted_penalties() -> None:
    x, y = drawn()
    model = objective("arcface", "cross_entropy", ("gsc", "mhe"))
    output = model(x, y)
    logits = output.head.margin_logits
    energy = model.penalties[1]
    expected = (
        cross_entropy(logits, y).mean()
        + 0.1 * gsc_penalty(logits, top_c=2).mean()
        + 0.1 * energy(Batch(x, y, output.head, model.head)).mean()
    )
    torch.testing.assert_close(output.loss, expected)


def test_gsc_sees_the_logits_that_the_criterion_sees() -> None:
    x, y = drawn()
    model = objective({"name": "cosface", "scale": 2.0}, "cross_entropy", ("gsc",))
    penalties = []
    for progress in (0.0, 1.0):
        model.set_margin_progress(progress)
        output = model(x, y)
        penalties.append(output.loss - cross_entropy(output.head.margin_logits, y).mean())
        expected = 0.1 * gsc_penalty(output.head.margin_logits, top_c=2).mean()
        torch.testing.assert_close(penalties[-1], expected, rtol=1e-3, atol=1e-7)
    assert penalties[0] != penalties[1]


@pytest.mark.parametrize(
    ("head", "penalties", "message"),
    [
        ("arcface", ("likelihood",), "likelihood penalty needs the lgm head"),
        ("lgm", ("center",), "doubles its likelihood"),
        ("lgm", ("mhe",), "means of lgm are places"),
        ("softmax", ("gsc", "gsc"), "stands twice"),
        ({"name": "softmax", "probe": True}, (), "nothing to learn from but pair losses"),
        ({"name": "softmax", "probe": True}, ("triplet", "gsc"), "only pair losses reach the backbone"),
    ],
)
def test_what_makes_no_sense_is_refused(head: Any, penalties: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(head, "cross_entropy", penalties)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"name": "magface"}, r"head\.name: must be one of .*'wsoftmax'.*got magface"),
        ({"name": "cosface", "margin": -0.1}, r"head\.margin: .*greater than or equal to 0.*got -0.1"),
        ({"name": "wsoftmax", "alpha": -1.0}, r"head\.alpha: .*got -1"),
        ({"name": "lgm"}, r"head\.alpha: .*got nothing"),
        ({"name": "lgm", "alpha": 1.0, "covariance": "full"}, r"head\.covariance: .*'diagonal'.*got full"),
        ({"name": "lsoftmax", "margin": 5}, r"head\.margin: .*got 5"),
    ],
)
def test_bad_settings_of_a_head(head: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(head)


def test_bad_settings_of_a_penalty_name_its_place() -> None:
    plain = {"head": {"name": "softmax"}, "penalties": [{"name": "gsc", "weight": 0.1, "topc": 3}]}
    with pytest.raises(
        InputError, match=r"penalties\.0\.topc: is not a key.*Did you mean penalties\.0\.top_c"
    ):
        validate_config(ObjectiveConfig, plain, source="test")


def test_top_c_above_the_number_of_classes() -> None:
    plain = {"head": {"name": "softmax"}, "penalties": [{"name": "gsc", "weight": 0.1, "top_c": 9}]}
    wanted = validate_config(ObjectiveConfig, plain, source="test")
    with pytest.raises(InputError, match="at most 4, the number of classes; got 9"):
        Objective(wanted, classes=CLASSES, embedding_dim=DIM)


def test_a_probe_leaves_the_backbone_to_the_pair_loss() -> None:
    x, y = drawn()
    x.requires_grad_()
    model = objective({"name": "softmax", "probe": True}, "cross_entropy", ("triplet",))
    [towards] = torch.autograd.grad(model(x, y).loss, x)
    [alone] = torch.autograd.grad(0.1 * model.penalties[0].loss(x, y), x)
    torch.testing.assert_close(towards, alone)


def test_means_do_not_decay_and_learn_at_their_rate_and_variances_learn_slowly() -> None:
    torch.manual_seed(0)
    head = {"name": "lgm", "alpha": 0.1, "covariance": "diagonal", "means_rate": 3.0}
    model = nn.ModuleDict({"body": nn.Linear(DIM, DIM), "objective": objective(head)})
    optimizer = build_optimizer(SGDConfig(name="sgd", learning_rate=1.0, weight_decay=0.1), model)
    set_learning_rate(optimizer, 0.5)
    found = {
        id(parameter): (group["weight_decay"], group["lr"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    expected = {
        "body.weight": (0.1, 0.5),
        "body.bias": (0.0, 0.5),
        "objective.head.means": (0.0, 1.5),
        "objective.head.log_variances": (0.0, 0.05),
    }
    assert {name: found[id(parameter)] for name, parameter in model.named_parameters()} == expected


def test_a_training_run_takes_penalties(tmp_path: Path) -> None:
    plain = settings(tmp_path) | {"penalties": [{"name": "gsc", "weight": 0.02}]}
    run = validate_config(RunConfig, plain, source="test")
    assert run.penalties[0].weight == 0.02
