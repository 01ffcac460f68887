"""Classes spread over processes: loss and gradients are those of one process that holds them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from forked import run_forked
from head_cases import SETTINGS
from torch import Tensor

from benchmarks.communication import Collective, of_sharded_head
from data_prep.errors import InputError
from faceverif.config.adversarial import AdversarialConfig
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.reading import validate_config
from faceverif.criteria import CRITERIA as ALL_CRITERIA
from faceverif.criteria.base import Criterion
from faceverif.heads import HEADS as ALL_HEADS
from faceverif.heads.sharding import Sharding, drawn_rows, sharded_names
from faceverif.objective import LearningModel, Objective
from faceverif.penalties import PENALTIES, Penalty
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.sharding import collectives
from faceverif.sharding.collectives import processes, total
from faceverif.sharding.shard import ClassShard
from faceverif.training import adversarial
from faceverif.training.adversarial import AdversarialModel, Robustness, measure_robustness

CLASSES, DIM, BATCH = 7, 4, 12
HEADS: list[dict[str, Any]] = [
    {"name": "softmax"},
    {"name": "normalised_softmax", "scale": 7.0},
    {"name": "cosface", "scale": 7.0, "margin": 0.2},
    {"name": "arcface", "scale": 7.0, "margin_rad": 0.3},
    {"name": "sphereface", "margin": 3, "smallest_lambda": 1.0},
    {"name": "lsoftmax", "margin": 2, "smallest_lambda": 3.0},
    {"name": "wsoftmax", "alpha": 0.8},
    {"name": "wsoftmax", "alpha": 0.0},
    {"name": "lgm", "alpha": 0.6, "covariance": "identity"},
    {"name": "lgm", "alpha": 0.6, "covariance": "isotropic"},
    {"name": "lgm", "alpha": 0.6, "covariance": "diagonal"},
    {"name": "lgm", "alpha": 0.6, "covariance": "shared"},
    {"name": "adaface", "scale": 7.0, "margin": 0.3, "h": 0.5, "step": 0.9},
    {"name": "magface", "scale": 7.0, "lower_norm": 1.0, "upper_norm": 6.0, "lower_margin_rad": 0.1},
    {"name": "curricularface", "scale": 7.0, "margin_rad": 0.3},
    {"name": "elastic_arcface", "scale": 7.0, "margin_rad": 0.3, "spread": 0.1},
    {"name": "elastic_cosface", "scale": 7.0, "margin": 0.3, "spread": 0.1, "assign": "by_angle"},
    {"name": "subcenter_arcface", "scale": 7.0, "margin_rad": 0.3},
]
# Whatever else can be spread, as it is compared with its oracle.
HEADS += [
    {"name": name, **settings}
    for name, settings in SETTINGS.items()
    if name not in {head["name"] for head in HEADS} and ALL_HEADS[name].by_class
]
CRITERIA: list[dict[str, Any]] = [
    {"name": "cross_entropy"},
    {"name": "focal", "gamma": 1.3},
    {"name": "label_smoothing", "smoothing": 0.2},
    {"name": "improved", "beta": 2.0, "gamma": 1.5},
    {"name": "unified_cross_entropy"},
]
# The three largest scores of 7 classes over 3 processes: two of these hold two.
OF_ALL = [{"name": "gsc", "top_c": 3}, {"name": "entropy"}, {"name": "snr", "update": "batch"}]
OF_CENTRES = [{"name": "mhe"}, {"name": "center"}]


def config(head: dict[str, Any], criterion: dict[str, Any] = CRITERIA[0], *penalties: Any) -> ObjectiveConfig:
    plain = {
        "head": head,
        "criterion": criterion,
        "penalties": [{"weight": 0.3, **each} for each in penalties],
    }
    return validate_config(ObjectiveConfig, plain, source="test")


def cases() -> list[ObjectiveConfig]:
    """Every head with all penalties that go with it; the criteria take turns."""
    found = []
    for place, head in enumerate(HEADS):
        own = {"lgm": [{"name": "likelihood"}], "magface": [{"name": "magnitude"}, *OF_CENTRES]}
        of_head = own.get(head["name"], OF_CENTRES)
        found.append(config(head, CRITERIA[place % len(CRITERIA)], *OF_ALL, *of_head))
    return found


def objective(settings: ObjectiveConfig, sharding: Sharding | None = None) -> Objective:
    torch.manual_seed(0)
    built = Objective(settings, classes=CLASSES, embedding_dim=DIM).double()
    for name, tensor in built.head.named_parameters():
        if name == "log_variances":
            torch.nn.init.normal_(tensor, std=0.5)
    if sharding is not None:
        built.spread_classes(sharding)
    return built


def drawn() -> tuple[Tensor, Tensor]:
    x = 2.0 * torch.randn(BATCH, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return x, torch.arange(BATCH) * 5 % CLASSES


def two_steps(model: Objective, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Loss and gradient of the second: SNR's thresholds are those of the first."""
    model(x, labels)
    x = x.clone().requires_grad_()
    output = model(x, labels)
    output.loss.backward()
    return output.loss.detach(), x.grad, output.head.highest()


class Expected(NamedTuple):
    """What one process finds that holds all classes."""

    settings: ObjectiveConfig
    loss: Tensor
    embeddings: Tensor
    highest: tuple[Tensor, Tensor]
    parameters: dict[str, Tensor]


@pytest.fixture(scope="module")
def expected() -> list[Expected]:
    found = []
    for settings in cases():
        whole = objective(settings)
        steps = two_steps(whole, *drawn())
        gradients = {name: parameter.grad for name, parameter in whole.named_parameters()}
        found.append(Expected(settings, *steps, gradients))
    return found


def own_share(rank: int) -> slice:
    return slice(rank * BATCH // processes(), (rank + 1) * BATCH // processes())


def equals_the_whole(rank: int, expected: list[Expected]) -> None:
    shard, share = ClassShard(CLASSES, processes(), rank), own_share(rank)
    x, labels = drawn()
    for whole in expected:
        part = objective(whole.settings, Sharding(shard))
        loss, embeddings, (highest, predicted) = two_steps(part, x[share], labels[share])

        def equal(
            ours: Tensor, theirs: Tensor, what: str, settings: ObjectiveConfig = whole.settings
        ) -> None:
            torch.testing.assert_close(
                ours, theirs, rtol=1e-9, atol=1e-11, msg=lambda m: f"{settings} {what} {m}"
            )

        equal(total(loss) / processes(), whole.loss, "loss")
        equal(embeddings / processes(), whole.embeddings[share], "embeddings")
        equal(highest, whole.highest[0][share], "highest logits")
        assert torch.equal(predicted, whole.highest[1][share])
        spread = dict(sharded_names(part))
        for name, parameter in part.named_parameters():
            if name in spread:
                equal(parameter.grad, whole.parameters[name][shard.rows], name)
            else:  # DDP takes the mean
                equal(total(parameter.grad) / processes(), whole.parameters[name], name)


def compares_with_a_share(rank: int) -> None:
    """All classes drawn: the whole loss. Some of them: that of a head which has no others."""
    shard, share = ClassShard(CLASSES, processes(), rank), own_share(rank)
    x, labels = drawn()
    for head in (HEADS[0], HEADS[3], HEADS[6], HEADS[10], HEADS[14], HEADS[17]):
        settings = config(head)
        all_drawn = two_steps(objective(settings, Sharding(shard, sampled=1.0)), x[share], labels[share])
        torch.testing.assert_close(
            all_drawn[:2], two_steps(objective(settings, Sharding(shard)), x[share], labels[share])[:2]
        )
        part, whole = objective(settings, Sharding(shard, sampled=0.1)), objective(settings)
        torch.manual_seed(rank)
        few = slice(share.start, share.start + 1)
        output = part(x[few], torch.full((1,), 6))  # of one class, which the last process holds
        mine = torch.zeros(CLASSES)
        mine[output.head.columns.numbers] = 1.0
        numbers = total(mine).nonzero().squeeze(1)
        assert 6 in numbers
        assert len(numbers) == output.head.columns.classes == (4 if processes() == 2 else CLASSES)
        for name in whole.head.by_class:
            rows = getattr(whole.head, name).detach()[numbers]
            tensor = getattr(whole.head, name)
            setattr(whole.head, name, torch.nn.Parameter(rows) if tensor.requires_grad else rows)
        whole.head.classes = len(numbers)
        batch = torch.cat([x[rank_ * BATCH // processes()][None] for rank_ in range(processes())])
        label = torch.full((processes(),), int((numbers == 6).nonzero()))
        torch.testing.assert_close(output.loss, whole(batch, label).loss)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used a GPU cannot be forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("count", [2, 3])
def test_loss_and_gradients_are_those_of_one_process(
    count: int, expected: list[Expected], tmp_path: Path
) -> None:
    run_forked(in_all_processes, count, tmp_path, expected)


class Pictures(LearningModel):
    """A linear map of pictures of six pixels, under an objective."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.map, self.objective = torch.nn.Linear(6, DIM).double(), objective

    @property
    def layers(self) -> torch.nn.Module:
        return self.map

    def embed(self, pixels: Tensor) -> Tensor:
        return 3.0 * self.map(pixels.double().flatten(1))


ATTACKS = [
    AdversarialConfig(attack="pgd", epsilon=0.1, steps=2),
    AdversarialConfig(attack="trades", epsilon=0.1, steps=2),
    AdversarialConfig(attack="trades", epsilon=0.1, steps=2, compare="embeddings"),
]


def attacked(model: Pictures, attack: AdversarialConfig, share: slice) -> tuple[Tensor, Robustness]:
    """The loss of a share of pictures under an attack without chance, and how they withstand it."""
    pictures = torch.rand(BATCH, 1, 2, 3, generator=torch.Generator().manual_seed(4))[share]
    labels = drawn()[1][share]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreatModel, "random_start", lambda _, clean: clean)
        patch.setattr(adversarial, "normal_like", lambda like: torch.cos(1000 * like))
        loss = AdversarialModel(model, attack)(pictures, labels, 1.0).loss
        loss.backward()
        return loss.detach(), measure_robustness(model, pictures, labels, config=attack, seed=0)


def is_attacked_like_the_whole(rank: int) -> None:
    shard = ClassShard(CLASSES, processes(), rank)
    for head in (HEADS[2], HEADS[6], HEADS[10]):
        settings = config(head)
        for attack in ATTACKS:
            whole, part = Pictures(objective(settings)), Pictures(objective(settings, Sharding(shard)))
            expected, robust = attacked(whole, attack, slice(None))
            loss, own_robust = attacked(part, attack, own_share(rank))
            in_float32 = attack.compare == "embeddings"  # cosines are
            close = {"rtol": 1e-5, "atol": 1e-6} if in_float32 else {"rtol": 1e-9, "atol": 1e-11}
            torch.testing.assert_close(total(loss) / processes(), expected, **close)
            accuracies = total(torch.tensor(own_robust)) / processes()
            torch.testing.assert_close(accuracies, torch.tensor(robust))
            spread, parameters = dict(sharded_names(part)), dict(whole.named_parameters())
            for name, parameter in part.named_parameters():
                gradient = parameters[name].grad
                if name in spread:
                    ours, theirs = parameter.grad, gradient[shard.rows]
                else:
                    ours, theirs = total(parameter.grad) / processes(), gradient
                torch.testing.assert_close(ours, theirs, **close)


def exchanges_what_is_counted(rank: int) -> None:
    """Every collective of a step, forward and backward, and for the accuracy."""
    shard, share = ClassShard(CLASSES, processes(), rank), own_share(rank)
    sizes = {"batch": BATCH, "dim": DIM, "processes": processes()}
    x, labels = (each[share] for each in drawn())
    for head, pulled in ((HEADS[2], False), (HEADS[6], True)):
        model = objective(config(head), Sharding(shard)).float()
        with observed_collectives() as found:
            output = model(x.float().requires_grad_(), labels)
            output.loss.backward()
            output.head.highest()
        assert Counter(found) == Counter(of_sharded_head(**sizes, pulled=pulled))


@contextmanager
def observed_collectives() -> Iterator[list[Collective]]:
    """What goes through torch.distributed, whichever name it has there."""
    found: list[Collective] = []

    def observed(kind: Any, call: Any, whole: int) -> Any:
        def run(*tensors: Any) -> Any:
            found.append(Collective(kind, tensors[whole].nbytes))
            return call(*tensors)

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch.distributed, "all_reduce", observed("all_reduce", torch.distributed.all_reduce, 0)
        )
        for kind, whole in (("all_gather", 0), ("reduce_scatter", 1)):
            patch.setitem(collectives._NAMED, kind, observed(kind, collectives._NAMED[kind], whole))
        yield found


def in_all_processes(rank: int, expected: list[Expected]) -> None:
    equals_the_whole(rank, expected)
    compares_with_a_share(rank)
    is_attacked_like_the_whole(rank)
    exchanges_what_is_counted(rank)


def test_every_loss_that_can_be_spread_is_compared() -> None:
    own = {"likelihood", "magnitude"}  # beside the heads that they need
    for base, registry, compared in (
        (Criterion, ALL_CRITERIA, {each["name"] for each in CRITERIA}),
        (Penalty, PENALTIES, {each["name"] for each in (*OF_ALL, *OF_CENTRES)} | own),
    ):
        spread = {name for name, part in registry.items() if part.of_shards is not base.of_shards}
        assert spread <= compared


def test_every_other_class_is_drawn_as_often_and_those_of_the_batch_always() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([-3, 2, 2, 25])  # two of other processes
    counts = sum(torch.bincount(drawn_rows(labels, classes=10, count=4), minlength=10) for _ in range(900))
    assert counts[2] == 900
    others = counts[torch.arange(10) != 2].double()
    assert others.sum() == 3 * 900
    assert (others / 300 - 1.0).abs().max() < 0.2  # four standard errors


def test_a_ring_sends_a_sum_twice_and_rows_once() -> None:
    assert Collective("all_reduce", 100).sent(4) == 150
    assert Collective("all_gather", 100).sent(4) == Collective("reduce_scatter", 100).sent(4) == 75


def test_what_cannot_be_spread_says_so() -> None:
    online = config(HEADS[0], {"name": "online_label_smoothing"})
    with pytest.raises(InputError, match=r"got OnlineLabelSmoothing\. Leave training.shard_classes"):
        objective(online, Sharding(ClassShard(CLASSES, 2, 0)))
    with pytest.raises(
        InputError, match=r"a class or more for each of 9 processes; got 7 classes\. Start at most 7"
    ):
        ClassShard(CLASSES, 9, 0)
