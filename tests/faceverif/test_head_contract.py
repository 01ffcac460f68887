"""What a head may do beyond a fixed margin, shown by two stand-ins of the kinds that papers propose.

One has a margin that grows with the norm of the embedding, as MagFace's does, the other one that follows the
running statistics of the norms, as AdaFace's does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from device_readings import Readings
from forked import run_forked
from head_cases import SETTINGS
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.checked_tensors import DeferredChecks, valid_labels
from faceverif.criteria.online_label_smoothing import OnlineLabelSmoothing
from faceverif.heads import HEADS, biased_products, gaussian_densities
from faceverif.heads.angular import AngularHead
from faceverif.sharding.collectives import sum_over_processes

CLASSES, DIM, BATCH = 5, 4, 8
SIZES = {"classes": CLASSES, "embedding_dim": DIM}


class MarginByNorm(AngularHead):
    """A longer embedding must lie closer to its class."""

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        return cosine - self.margin_now * norms.clamp(1.0, 10.0)


class MarginByStatistics(AngularHead):
    """A margin by how far a norm lies from the running mean of all norms."""

    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__(**SIZES, scale=16.0, margin=0.2)
        self.register_buffer("mean", torch.tensor(2.0))
        self.register_buffer("variance", torch.tensor(1.0))

    def observe(self, embeddings: Tensor, labels: Tensor) -> None:
        norms = torch.linalg.vector_norm(embeddings, dim=1)
        sums = torch.stack([torch.ones_like(norms), norms, norms.square()]).sum(dim=1)
        count, total, squares = sum_over_processes(sums)
        mean = total / count
        self.mean.lerp_(mean, 0.5)
        self.variance.lerp_(squares / count - mean.square(), 0.5)

    def lower_own(self, cosine: Tensor, norms: Tensor) -> Tensor:
        away = ((norms - self.mean) / self.variance.sqrt()).clamp(-1.0, 1.0).detach()
        return cosine - self.margin_now * (1.0 + away)


def drawn(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = 2.0 * torch.randn(BATCH, DIM, generator=generator, dtype=dtype)
    weight = torch.randn(CLASSES, DIM, generator=generator, dtype=dtype)
    return x, weight, torch.arange(BATCH) % CLASSES


def test_a_margin_sees_the_norms_of_the_raw_embeddings_and_its_gradient_reaches_them() -> None:
    x, weight, labels = drawn(torch.float64)
    head = MarginByNorm(**SIZES, scale=16.0, margin=0.1).double()
    with torch.no_grad():
        head.weight.copy_(weight)
    logits, own = head.with_margin(x, labels)
    cosines = F.normalize(x) @ F.normalize(weight).T
    lowered = 0.1 * x.norm(dim=1).clamp(1.0, 10.0)[:, None] * F.one_hot(labels, CLASSES)
    torch.testing.assert_close(logits, 16.0 * (cosines - lowered))
    torch.testing.assert_close(own, 16.0 * cosines.gather(1, labels[:, None]).squeeze(1))
    assert gradcheck(
        lambda x, w: functional_call(head, {"weight": w}, (x, labels)).margin_logits,
        (x.requires_grad_(), weight.requires_grad_()),
    )


def test_a_detached_norm_gets_no_gradient() -> None:
    x, _, labels = drawn()
    x.requires_grad_()
    head = MarginByStatistics().eval()
    head(x, labels).margin_logits.sum().backward()
    along = (x.grad * x).sum(dim=1)  # a cosine does not change with the length
    torch.testing.assert_close(along, torch.zeros(BATCH), rtol=0, atol=1e-4)


@pytest.mark.parametrize("head", [MarginByNorm(**SIZES, scale=16.0, margin=0.1), MarginByStatistics()])
def test_the_margin_lowers_the_own_class_alone_and_grows_in_training(head: AngularHead) -> None:
    x, _, labels = drawn()
    own = F.one_hot(labels, CLASSES).bool()
    head.eval()
    output = head(x, labels)
    torch.testing.assert_close(output.margin_logits[~own], output.logits[~own])
    assert (output.margin_logits[own] <= output.logits[own]).all()
    assert (output.margin_logits[own] < output.logits[own]).any()
    torch.testing.assert_close(output.logits, head.logits(x))
    head.set_margin_progress(0.0)
    torch.testing.assert_close(head(x, labels).margin_logits, output.logits)


def test_statistics_run_in_training_alone_and_are_part_of_the_state() -> None:
    head, (x, _, labels) = MarginByStatistics(), drawn()
    head.eval()
    head(x, labels)
    assert head.mean == 2.0
    head.train()
    head(x, labels)
    norms = x.norm(dim=1)
    torch.testing.assert_close(head.mean, (2.0 + norms.mean()) / 2)
    torch.testing.assert_close(head.variance, (1.0 + norms.var(correction=0)) / 2)
    copy = MarginByStatistics()
    copy.load_state_dict(head.state_dict())
    assert torch.equal(copy.mean, head.mean)


def in_a_share(rank: int, folder: Path) -> None:
    torch.manual_seed(0)
    head, (x, _, labels) = MarginByStatistics(), drawn()
    half = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    logits = head(x[half], labels[half]).margin_logits.detach()
    torch.save({"logits": logits, "mean": head.mean, "variance": head.variance}, folder / f"{rank}.pt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used a GPU cannot be forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_hold_the_statistics_of_the_whole_batch(tmp_path: Path) -> None:
    run_forked(in_a_share, 2, tmp_path, tmp_path)
    torch.manual_seed(0)
    head, (x, _, labels) = MarginByStatistics(), drawn()
    expected = head(x, labels).margin_logits.detach()
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    torch.testing.assert_close(torch.cat([share["logits"] for share in shares]), expected)
    for share in shares:
        torch.testing.assert_close(share["mean"], head.mean)
        torch.testing.assert_close(share["variance"], head.variance)


@pytest.mark.parametrize("name", SETTINGS)
def test_forward_and_backward_of_a_head_read_nothing_from_the_device(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (biased_products, gaussian_densities):
        monkeypatch.setattr(module, "asking_waits", lambda tensor: True)  # as on a GPU
    head = HEADS[name](**SIZES, **SETTINGS[name])
    x, _, labels = drawn()
    x.requires_grad_()
    criterion = OnlineLabelSmoothing(classes=CLASSES, hard=0.5)
    with Readings() as readings, DeferredChecks() as checks:
        labels = valid_labels(labels, batch=BATCH, classes=CLASSES)
        criterion(head(x, labels).margin_logits, labels).mean().backward()
    assert readings.found == []
    assert not checks.failed


@pytest.mark.parametrize(
    ("labels", "embeddings", "message"),
    [
        ([0, 1, 9], 1.0, r"labels: must lie in \[0, 5\); got 9"),
        ([0, -1, 1], 1.0, r"labels: must lie in \[0, 5\); got -1"),
        ([0, 1, 2], float("nan"), "embeddings: must be finite; got NaN or infinity in 3 of 3"),
    ],
)
def test_deferred_checks_refuse_with_the_words_of_the_immediate_ones(
    labels: list[int], embeddings: float, message: str
) -> None:
    head = HEADS["cosface"](**SIZES, **SETTINGS["cosface"])
    x, y = torch.full((3, DIM), embeddings), torch.tensor(labels)
    with pytest.raises(InputError, match=message):
        head(x, y)
    with DeferredChecks() as checks:
        head(x, y)  # the step can end
    assert checks.failed
    with pytest.raises(InputError, match=message):
        checks.refuse()
