"""Any head x any criterion x any penalties from YAML; what makes no sense is refused with a reason."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from head_cases import CASES, logits_in_training, oracle_of
from small_runs import settings
from torch import nn

from data_prep.errors import InputError
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.optimisation import SGDConfig
from faceverif.config.reading import validate_config
from faceverif.config.run import RunConfig
from faceverif.criteria import CRITERIA
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.criteria.focal import focal_loss
from faceverif.criteria.improved import improved_loss
from faceverif.criteria.label_smoothing import smoothed_cross_entropy
from faceverif.criteria.online_label_smoothing import soft_label_cross_entropy
from faceverif.criteria.unified_cross_entropy import unified_cross_entropy
from faceverif.heads import HEADS
from faceverif.objective import Objective
from faceverif.penalties import EmbeddedBatch
from faceverif.penalties.entropy import scaled_entropy
from faceverif.penalties.gsc import gsc_penalty
from faceverif.penalties.mhe import hyperspherical_energy
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
    own = {"lgm": ("likelihood",), "magface": ("center", "mhe", "magnitude")}
    of_the_head = own.get(head, ("center", "mhe"))
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
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(body(x), y).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.end_epoch()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    assert min(losses[4:]) < losses[1]


def test_the_sum_is_criterion_plus_weighted_penalties() -> None:
    x, y = drawn()
    model = objective("arcface", "cross_entropy", ("gsc", "mhe"))
    output = model(x, y)
    logits = output.head.margin_logits
    energy = model.penalties[1]
    expected = (
        cross_entropy(logits, y).mean()
        + 0.1 * gsc_penalty(logits, top_c=2).mean()
        + 0.1 * energy(EmbeddedBatch(x, y, output.head, model.head)).mean()
    )
    torch.testing.assert_close(output.loss, expected)


OF_CRITERIA: dict[str, tuple[dict[str, Any], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "cross_entropy": ({}, cross_entropy),
    "focal": ({"gamma": 1.3}, partial(focal_loss, gamma=1.3)),
    "label_smoothing": ({"smoothing": 0.2}, partial(smoothed_cross_entropy, smoothing=0.2)),
    "online_label_smoothing": (
        {"hard": 0.3},
        lambda logits, y: soft_label_cross_entropy(
            logits, y, torch.full((CLASSES, CLASSES), 1 / CLASSES), hard=0.3
        ),
    ),
    "improved": ({"beta": 2.0, "gamma": 1.5}, partial(improved_loss, beta=2.0, gamma=1.5)),
    "unified_cross_entropy": (
        {},
        partial(unified_cross_entropy, threshold=torch.tensor(math.log(10.0 * CLASSES))),
    ),
}
OF_PENALTIES: dict[str, tuple[dict[str, Any], Callable[[EmbeddedBatch], torch.Tensor]]] = {
    "gsc": ({"top_c": 3}, lambda batch: gsc_penalty(batch.output.margin_logits, top_c=3)),
    "entropy": ({}, lambda batch: scaled_entropy(batch.output.margin_logits.log_softmax(dim=1))),
    "mhe": ({}, lambda batch: hyperspherical_energy(batch.head.centres(), batch.labels)),
    "center": ({"step": 0.5}, lambda batch: 0.5 * batch.embeddings.square().sum(dim=1)),  # centers begin at 0
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_a_head_from_yaml_is_its_oracle_with_that_share_of_the_margin(name: str, progress: float) -> None:
    case, (x, y) = CASES[name], drawn()
    x, weight = x.double(), torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(3)).double()
    head = objective({"name": case.head, **case.settings}).head
    head.set_margin_progress(progress)
    expected = oracle_of(name, x, weight, y, progress=progress)(x, weight)
    torch.testing.assert_close(logits_in_training(head, name, x, weight, y), expected)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_from_yaml_is_its_function(name: str) -> None:
    settings, function = OF_CRITERIA[name]
    plain = {"head": {"name": "softmax"}, "criterion": {"name": name, **settings}}
    wanted = validate_config(ObjectiveConfig, plain, source="test")
    model = Objective(wanted, classes=CLASSES, embedding_dim=DIM)
    x, y = drawn()
    output = model(x, y)
    torch.testing.assert_close(output.loss, function(output.head.margin_logits, y).mean())


@pytest.mark.parametrize("name", OF_PENALTIES)
def test_a_penalty_from_yaml_is_its_function(name: str) -> None:
    settings, function = OF_PENALTIES[name]
    plain = {
        "head": {"name": "cosface", "scale": 3},
        "penalties": [{"name": name, "weight": 0.7, **settings}],
    }
    wanted = validate_config(ObjectiveConfig, plain, source="test")
    model = Objective(wanted, classes=CLASSES, embedding_dim=DIM)
    x, y = drawn()
    y = (y + 1) % 3  # not each class alike
    output = model(x, y)
    penalty = output.loss - cross_entropy(output.head.margin_logits, y).mean()
    torch.testing.assert_close(penalty, 0.7 * function(EmbeddedBatch(x, y, output.head, model.head)).mean())


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
        (
            "arcface",
            ("gsc", "likelihood"),
            r"penalties\.1\.name: likelihood needs the lgm head, .*; got likelihood beside arcface",
        ),
        (
            "arcface",
            ("magnitude",),
            r"penalties\.0\.name: magnitude needs the magface head, .*; got magnitude beside arcface",
        ),
        ("lgm", ("center",), r"penalties\.0\.name: center doubles the likelihood .*; got center beside lgm"),
        ("lgm", ("mhe",), r"penalties\.0\.name: .*means of lgm are places; got mhe beside lgm"),
        ("softmax", ("gsc", "snr", "gsc"), r"penalties\.2\.name: must not stand twice .*; got gsc"),
        ({"name": "softmax", "probe": True}, (), r"head\.probe: leaves the backbone nothing .*; got true"),
        (
            {"name": "softmax", "probe": True},
            ("center",),
            r"head\.probe: leaves .* draws all embeddings to one",
        ),
        (
            {"name": "softmax", "probe": True},
            ("triplet", "gsc"),
            r"penalties\.1\.name: only pair losses, center and distill reach .*; got gsc beside softmax",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(head: Any, penalties: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(head, "cross_entropy", penalties)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"name": "vplface"}, r"head\.name: must be one of .*'wsoftmax'.*got vplface"),
        ({"name": "magface", "upper_norm": 5}, r"head\.upper_norm: must be above lower_norm, 10; got 5"),
        (
            {"name": "magface", "upper_margin_rad": 0.3},
            r"head\.upper_margin_rad: must be at least lower_margin_rad, 0\.45; got 0\.3",
        ),
        ({"name": "adaface", "step": 0}, r"head\.step: .*greater than 0.*got 0"),
        ({"name": "subcenter_arcface", "centres_per_class": 0}, r"head\.centres_per_class: .*got 0"),
        ({"name": "elastic_cosface", "assign": "sorted"}, r"head\.assign: .*'by_angle'.*got sorted"),
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


def test_thresholds_of_an_epoch_have_no_memory() -> None:
    penalty = {"name": "snr", "weight": 0.1, "update": "epoch", "memory": 0.9}
    plain = {"head": {"name": "softmax"}, "penalties": [penalty]}
    rule = r"penalties\.0\.memory: must be 0 with update epoch, which sums over all of it; got 0\.9"
    with pytest.raises(InputError, match=rule):
        validate_config(ObjectiveConfig, plain, source="test")


def test_top_c_above_the_number_of_classes() -> None:
    plain = {"head": {"name": "softmax"}, "penalties": [{"name": "gsc", "weight": 0.1, "top_c": 9}]}
    wanted = validate_config(ObjectiveConfig, plain, source="test")
    with pytest.raises(
        InputError, match=r"penalties\.0\.top_c: must lie in \[1, 4\], the number of classes; got 9"
    ):
        Objective(wanted, classes=CLASSES, embedding_dim=DIM)


@pytest.mark.parametrize("penalties", [(), ("entropy",), ("gsc",)])
def test_a_single_class_leaves_nothing_to_learn(penalties: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="classes: must be two or more; got 1"):
        Objective(config("softmax", penalties=penalties), classes=1, embedding_dim=DIM)


def test_a_probe_leaves_the_backbone_to_the_pair_loss() -> None:
    x, y = drawn()
    x.requires_grad_()
    probe = {"name": "softmax", "probe": True}
    config(probe, "cross_entropy", ("triplet", "center"))  # both look at embeddings
    model = objective(probe, "cross_entropy", ("triplet",))
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
