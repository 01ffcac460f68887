"""Penalties against scalar oracles: values, gradients, golden numbers, extremes, bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, Literal

import pytest
import torch
from device_readings import Readings
from heads import lgm_oracle
from numeric import numeric_gradient
from penalties import (
    center_oracle,
    contrastive_oracle,
    energy_oracle,
    entropy_oracle,
    gsc_oracle,
    margin_oracle,
    moved_centers_oracle,
    n_pair_oracle,
    proxy_nca_oracle,
    snr_oracle,
    triplet_oracle,
)
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.checked_tensors import DeferredChecks
from faceverif.heads.base import HeadOutput
from faceverif.heads.gaussian_densities import margin_log_densities
from faceverif.heads.lgm import LGMHead
from faceverif.heads.softmax import SoftmaxHead
from faceverif.penalties import PENALTIES, EmbeddedBatch, Lesson, Penalty
from faceverif.penalties.center import Center, center_penalty, moved_centers
from faceverif.penalties.distill import Distill
from faceverif.penalties.entropy import Entropy, scaled_entropy
from faceverif.penalties.gsc import GSC, gaussian_score, gsc_penalty
from faceverif.penalties.likelihood import Likelihood
from faceverif.penalties.mhe import MHE, hyperspherical_energy
from faceverif.penalties.pairs import Contrastive, Margin, NPair, ProxyNCA, Triplet
from faceverif.penalties.snr import SNR, snr_penalty

BATCH, CLASSES, DIM = 6, 4, 3


def drawn(seed: int = 0, *, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, CLASSES, generator=generator, dtype=torch.float64) * scale


LABELS = torch.tensor([0, 0, 1, 1, 1, 3])
ETA = torch.tensor([0.5, -1.0, math.nan, 0.0], dtype=torch.float64)


def entropy(logits: Tensor) -> Tensor:
    return scaled_entropy(F.log_softmax(logits, dim=1))


OF_LOGITS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[list[list[float]]], float]]] = {
    "entropy": (entropy, lambda rows: sum(map(entropy_oracle, rows))),
    **{
        f"gsc {top_c}": (
            partial(gsc_penalty, top_c=top_c),
            lambda rows, top_c=top_c: sum(gsc_oracle(row, top_c=top_c) for row in rows),  # type: ignore[misc]
        )
        for top_c in (1, 2, CLASSES)
    },
    **{
        name: (
            partial(snr_penalty, labels=LABELS, thresholds=ETA, **settings),
            partial(snr_oracle, labels=LABELS.tolist(), thresholds=ETA.tolist(), **settings),
        )
        for name, settings in {
            "snr": {"constraint_weight": 0.7, "margin": 0.3},
            "snr, held": {"constraint_weight": 0.7, "margin": 0.3, "smallest_snr": 0.4},
        }.items()
    },
}


@pytest.mark.parametrize("scale", [0.1, 2.0])
@pytest.mark.parametrize("name", OF_LOGITS)
def test_values_and_gradients_equal_the_oracle(name: str, scale: float) -> None:
    ours, oracle = OF_LOGITS[name]
    logits = drawn(scale=scale).requires_grad_()
    penalty = ours(logits).sum()
    penalty.backward()
    assert penalty.item() == pytest.approx(oracle(logits.tolist()), rel=1e-9)
    expected = numeric_gradient(lambda logits: oracle(logits.tolist()), logits.detach())
    torch.testing.assert_close(logits.grad, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_gradcheck(name: str) -> None:
    assert gradcheck(OF_LOGITS[name][0], (drawn(seed=1).requires_grad_(),))


@pytest.mark.parametrize("name", OF_LOGITS)
def test_penalties_are_finite_at_logits_of_ten_thousand(name: str) -> None:
    for logits in (
        torch.tensor([[1e4, 0, -1e4, 5e3]]).repeat(BATCH, 1),
        torch.zeros(BATCH, CLASSES),
        torch.full((BATCH, CLASSES), 1e4),
        drawn(scale=1e4).float(),
    ):
        logits.requires_grad_()
        penalty = OF_LOGITS[name][0](logits).sum()
        penalty.backward()
        assert penalty.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.50, 0.197),
        (0.55, 0.197),
        (0.60, 0.198),
        (0.65, 0.198),
        (0.70, 0.196),
        (0.75, 0.187),
        (0.80, 0.163),
        (0.85, 0.111),
        (0.90, 0.031),
    ],
)
def test_gsc_table_8(score: float, expected: float) -> None:
    """Two classes, the deviation being the entropy in nats, not scaled."""
    scores = torch.tensor([[score, 1 - score]], dtype=torch.float64)
    deviation = -(scores * scores.log()).sum(dim=1)
    assert gaussian_score(scores, deviation=deviation).item() == pytest.approx(expected, abs=5e-4)


def test_gsc_needs_no_labels_and_no_order_of_classes() -> None:
    logits = drawn()
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(gsc_penalty(logits[:, order], top_c=2), gsc_penalty(logits, top_c=2))
    torch.testing.assert_close(gsc_penalty(logits + 7, top_c=2), gsc_penalty(logits, top_c=2))


@pytest.mark.parametrize("top_c", [0, 5])
def test_gsc_top_c_out_of_range(top_c: int) -> None:
    rule = rf"top_c: must lie in \[1, 4\], the number of classes; got {top_c}"
    with pytest.raises(InputError, match=rule):
        gsc_penalty(drawn(), top_c=top_c)
    with pytest.raises(InputError, match=rule):
        GSC(top_c=top_c, classes=4)


@pytest.mark.parametrize("classes", [64, 1_000, 100_000])
def test_gsc_of_as_many_scores_as_it_takes_stays_in_float32(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (0.0, 1.0, 10.0, 1e4):
        logits = (torch.randn(4, classes, generator=generator) * scale).requires_grad_()
        penalty = gsc_penalty(logits, top_c=64).sum()
        penalty.backward()
        assert penalty.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
    with pytest.raises(InputError, match=r"top_c: must lie in \[1, 64\], .*; got 65"):
        gsc_penalty(logits, top_c=65)


@pytest.mark.parametrize(
    "penalty",
    [entropy, partial(gsc_penalty, top_c=1), lambda one: hyperspherical_energy(one.T, torch.zeros(3).long())],
)
def test_a_single_class_has_no_entropy_and_no_energy(penalty: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Both would be 0 / 0, in the value and in the gradient."""
    with pytest.raises(InputError, match="classes: must be two or more; got 1"):
        penalty(torch.ones(3, 1))


def test_entropy_of_uniform_and_certain_scores() -> None:
    values = entropy(torch.tensor([[0.0, 0, 0, 0], [1e4, 0, 0, 0]]))
    assert values.tolist() == pytest.approx([1.0, 0.0])


def center_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64)
    return embeddings, torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64), LABELS


def test_center_equals_its_oracles() -> None:
    x, centers, labels = center_inputs()
    ours = center_penalty(x, centers, labels)
    for row, label in enumerate(labels.tolist()):
        assert ours[row].item() == pytest.approx(center_oracle(x[row].tolist(), centers[label].tolist()))
    moved = moved_centers(centers, x, labels, step=0.5)
    expected = moved_centers_oracle(centers.tolist(), x.tolist(), labels.tolist(), step=0.5)
    torch.testing.assert_close(moved, torch.tensor(expected, dtype=torch.float64))


def test_center_gradient_pulls_embeddings_alone() -> None:
    x, centers, labels = center_inputs()
    x.requires_grad_()
    centers.requires_grad_()
    center_penalty(x, centers, labels).sum().backward()
    torch.testing.assert_close(x.grad, (x - centers[labels]).detach())
    assert centers.grad is None


def test_energy_equals_its_oracle_in_value_and_gradient() -> None:
    _, weight, labels = center_inputs()

    def total(weight: Tensor) -> float:
        return sum(energy_oracle(weight.tolist(), label) for label in labels.tolist())

    weight.requires_grad_()
    energy = hyperspherical_energy(weight, labels).sum()
    energy.backward()
    assert energy.item() == pytest.approx(total(weight))
    torch.testing.assert_close(weight.grad, numeric_gradient(total, weight.detach()), rtol=1e-5, atol=1e-7)


def test_energy_of_coinciding_weights_stays_finite() -> None:
    weight = torch.ones(3, DIM, requires_grad=True)
    energy = hyperspherical_energy(weight, torch.tensor([0, 1])).sum()
    energy.backward()
    assert weight.grad is not None
    assert energy.isfinite()
    assert weight.grad.isfinite().all()


def test_snr_leaves_out_single_samples_and_classes_without_a_threshold() -> None:
    logits = drawn()
    only = snr_penalty(logits[:5], LABELS[:5], ETA, constraint_weight=0.7, margin=0.3)
    torch.testing.assert_close(OF_LOGITS["snr"][0](logits), only)
    nothing = torch.full((CLASSES,), math.nan, dtype=torch.float64)
    assert snr_penalty(logits, LABELS, nothing, constraint_weight=0.7, margin=0.3).item() == 0.0


def test_snr_leaves_what_lies_on_the_wrong_side_to_the_hinges() -> None:
    """As printed, the others' means are pushed further beyond the threshold that they have passed."""
    logits = torch.tensor([[4.0, 2.0], [6.0, 3.0]], dtype=torch.float64, requires_grad=True)
    labels, eta = torch.tensor([0, 0]), torch.tensor([1.0, math.nan], dtype=torch.float64)
    settings = {"constraint_weight": 0.01, "margin": 0.0}
    [printed] = torch.autograd.grad(snr_penalty(logits, labels, eta, **settings), logits)
    [held] = torch.autograd.grad(snr_penalty(logits, labels, eta, **settings, smallest_snr=0.1), logits)
    assert printed[:, 1].sum() < 0  # a step along minus the gradient moves the mean of logit 1 up
    torch.testing.assert_close(held[:, 1], torch.full((2,), 0.005, dtype=torch.float64))
    torch.testing.assert_close(held[:, 0], printed[:, 0])


def test_snr_held_has_no_pole() -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    penalty = snr_penalty(logits, labels, torch.zeros(3), constraint_weight=0.1, margin=0.0, smallest_snr=0.1)
    penalty.backward()
    assert penalty.item() == pytest.approx(2 * 4 / 0.1)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_snr_of_a_batch_without_a_class_seen_twice_is_zero() -> None:
    logits = drawn()[:4].requires_grad_()
    penalty = snr_penalty(logits, torch.arange(4), ETA, constraint_weight=1.0, margin=0.0)
    [gradient] = torch.autograd.grad(penalty, logits)
    assert penalty.item() == 0.0
    assert not gradient.any()


def batch_of(logits: Tensor, labels: Tensor) -> EmbeddedBatch:
    """A batch whose head is the identity: embeddings are the logits."""
    head = SoftmaxHead(classes=logits.shape[1], embedding_dim=logits.shape[1])
    with torch.no_grad():
        head.weight.copy_(torch.eye(logits.shape[1]))
    return EmbeddedBatch(logits.float(), labels, head(logits.float(), labels), head)


def snr(update: str, **settings: Any) -> SNR:
    return SNR(
        classes=CLASSES,
        update=update,  # type: ignore[arg-type]
        spread=4.0,
        constraint_weight=0.7,
        margin=0.0,
        smallest_snr=0.0,
        **settings,
    )


def thresholds_of(logits: Tensor, labels: Tensor) -> Tensor:
    """mu_n - 4 std_n of the classes seen twice, in the plainest way."""
    eta = torch.full((CLASSES,), math.nan)
    for n in range(CLASSES):
        own = logits[labels == n, n]
        if len(own) >= 2:
            eta[n] = own.mean() - 4 * own.std()
    return eta


def test_snr_by_batch_uses_the_thresholds_of_the_batch_before() -> None:
    penalty, first, second = snr("batch"), drawn(seed=1).float(), drawn(seed=2).float()
    penalty(batch_of(first, LABELS))
    torch.testing.assert_close(penalty.thresholds, thresholds_of(first, LABELS), equal_nan=True)
    expected = snr_penalty(second, LABELS, penalty.thresholds, constraint_weight=0.7, margin=0.0)
    torch.testing.assert_close(penalty(batch_of(second, LABELS)), expected)
    torch.testing.assert_close(penalty.thresholds, thresholds_of(second, LABELS), equal_nan=True)


def test_snr_by_epoch_waits_for_the_first_epoch_and_gathers_all_of_it() -> None:
    penalty, parts = snr("epoch"), [drawn(seed=seed).float() for seed in (1, 2)]
    for part in parts:
        assert penalty(batch_of(part, LABELS)).item() == 0.0
    penalty.end_epoch()
    expected = thresholds_of(torch.cat(parts), LABELS.repeat(2))
    torch.testing.assert_close(penalty.thresholds, expected, equal_nan=True, rtol=1e-4, atol=1e-4)
    assert penalty(batch_of(parts[0], LABELS)).item() > 0.0


@pytest.mark.parametrize("update", ["batch", "epoch"])
def test_snr_refuses_single_samples_only_while_it_knows_no_class(update: str) -> None:
    """With many classes some batch of a long run has none twice, and would stop it at the same step again."""
    penalty, singles = snr(update), batch_of(drawn()[:4], torch.arange(4))
    with pytest.raises(InputError, match=r"some class twice.*got 4 samples of 4 classes"):
        penalty(singles)
    penalty = snr(update)
    penalty(batch_of(drawn(), LABELS))
    assert penalty(singles).item() == 0.0
    penalty.end_epoch()
    assert penalty(singles).item() == 0.0


def test_snr_keeps_its_thresholds_in_evaluation() -> None:
    penalty = snr("batch")
    penalty(batch_of(drawn(seed=1), LABELS))
    before = penalty.thresholds.clone()
    penalty.eval()(batch_of(drawn(seed=2), LABELS))
    torch.testing.assert_close(penalty.thresholds, before, equal_nan=True)


@pytest.mark.parametrize("detach", ["means", "variances"])
def test_snr_passes_no_gradient_through_detached_statistics(detach: Literal["means", "variances"]) -> None:
    """One class, and a step that changes the detached statistic alone has no slope; any other has."""
    logits, labels = drawn()[:5].clone().requires_grad_(), torch.zeros(5, dtype=torch.int64)
    settings = {"constraint_weight": 0.0, "margin": 0.0}
    whole, part = (
        snr_penalty(logits, labels, ETA, **settings, detach=choice) for choice in ("nothing", detach)
    )
    assert part.item() == whole.item()
    [slope] = torch.autograd.grad(part, logits)
    shift, stretch = torch.ones_like(logits), logits.detach() - logits.detach().mean(dim=0)
    alone, other = (shift, stretch) if detach == "means" else (stretch, shift)
    assert (slope * alone).sum().item() == pytest.approx(0, abs=1e-9)
    assert abs((slope * other).sum().item()) > 1e-3


def test_snr_with_a_memory_keeps_a_share_of_earlier_sums() -> None:
    penalty, first, second = snr("batch", memory=0.5), drawn(seed=1).float(), drawn(seed=2).float()
    for logits in (first, second):
        penalty(batch_of(logits, LABELS))
    for n in range(CLASSES):
        values = torch.cat([each[n == LABELS, n] for each in (first, second)]).double()
        weights = torch.tensor([0.5, 1.0]).double().repeat_interleave(int((n == LABELS).sum()))
        if weights.sum() >= 2:
            mean = (weights * values).sum() / weights.sum()
            variance = (weights * (values - mean).square()).sum() / (weights.sum() - 1)
            assert penalty.thresholds[n].item() == pytest.approx(
                (mean - 4 * variance.sqrt()).item(), rel=1e-5
            )


def test_snr_starts_after_its_epochs_with_thresholds_that_it_has_followed() -> None:
    penalty, logits = snr("batch", start_after_epochs=2), drawn().float()
    for _ in range(2):
        assert penalty(batch_of(logits, LABELS)).item() == 0.0
        penalty.end_epoch()
    again = snr("batch", start_after_epochs=2)
    again.load_state_dict(penalty.state_dict())  # a resumed run knows its epochs
    expected = snr_penalty(logits, LABELS, thresholds_of(logits, LABELS), constraint_weight=0.7, margin=0.0)
    for each in (penalty, again):
        torch.testing.assert_close(each(batch_of(logits, LABELS)), expected)


def test_snr_of_a_file_from_before_epochs_were_counted() -> None:
    earlier, penalty = snr("batch").state_dict(), snr("batch", start_after_epochs=2)
    del earlier["epochs"]
    penalty.end_epoch()
    penalty.load_state_dict(earlier)
    assert penalty.epochs == 0


def test_center_module_moves_its_centers_in_training_only() -> None:
    penalty = Center(classes=CLASSES, embedding_dim=CLASSES, step=0.5)
    batch = batch_of(drawn(), LABELS)
    penalty.eval()(batch)
    assert penalty.centers.abs().sum() == 0
    penalty.train()(batch)
    expected = moved_centers(torch.zeros(CLASSES, CLASSES), batch.embeddings, LABELS, step=0.5)
    torch.testing.assert_close(penalty.centers, expected)


@pytest.mark.parametrize("name", ["center", "mhe", "likelihood"])
def test_gradcheck_of_what_sees_embeddings_or_weights(name: str) -> None:
    x, weight, labels = center_inputs()
    x.requires_grad_()
    if name == "center":
        assert gradcheck(lambda x: center_penalty(x, weight, labels), (x,))
    elif name == "mhe":
        assert gradcheck(lambda w: hyperspherical_energy(w, labels), (weight.requires_grad_(),))
    else:
        log_variances = torch.linspace(-1, 1, CLASSES * DIM, dtype=torch.float64).reshape(CLASSES, DIM)
        own = partial(margin_log_densities, labels=labels, alpha=0.3)
        assert gradcheck(
            lambda *args: own(*args)[1], (x, weight.requires_grad_(), log_variances.requires_grad_())
        )


@pytest.mark.parametrize("covariance", ["isotropic", "diagonal"])
def test_likelihood_has_the_log_determinant(covariance: str) -> None:
    """Minus Eq. 10 of Wan et al. but for its constant, and the same in the logits, variances far from one."""
    head = LGMHead(classes=CLASSES, embedding_dim=DIM, alpha=1.0, covariance=covariance)  # type: ignore[arg-type]
    with torch.no_grad():
        head.log_variances.copy_(
            torch.linspace(-2, 3, head.log_variances.numel()).view_as(head.log_variances)
        )
    x = torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(0))
    output = head(x, LABELS)
    variances = head.log_variances.expand(CLASSES, DIM).tolist()
    rows = [
        lgm_oracle(row, head.means.tolist(), variances, label, alpha=0.0)
        for row, label in zip(x.tolist(), LABELS.tolist(), strict=True)
    ]
    expected = torch.tensor(rows)
    own = expected.gather(1, LABELS[:, None]).squeeze(1)
    torch.testing.assert_close(
        Likelihood()(EmbeddedBatch(x, LABELS, output, head)), -own, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("covariance", ["identity", "diagonal"])
def test_likelihood_is_the_center_loss_of_the_means(covariance: str) -> None:
    """Lemma 1 of Wan et al.: with unit variance, equal up to dim / 2 log(2 pi), left out here."""
    head = LGMHead(classes=CLASSES, embedding_dim=DIM, alpha=1.0, covariance=covariance)  # type: ignore[arg-type]
    x = torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(0))
    penalty = Likelihood()(EmbeddedBatch(x, LABELS, head(x, LABELS), head))
    torch.testing.assert_close(penalty, center_penalty(x, head.means, LABELS))


def test_likelihood_needs_densities() -> None:
    with pytest.raises(InputError, match="needs a head that models densities; got SoftmaxHead"):
        Likelihood()(batch_of(drawn(), LABELS))


MODULES: dict[str, Callable[[], torch.nn.Module]] = {
    "gsc": lambda: GSC(top_c=2, classes=CLASSES),
    "entropy": Entropy,
    "center": lambda: Center(classes=CLASSES, embedding_dim=CLASSES, step=0.5),
    "snr": lambda: snr("batch"),
    "mhe": MHE,
    "triplet": lambda: Triplet(margin=0.2),
    "margin": lambda: Margin(margin=0.2, boundary=1.2),
    "n_pair": NPair,
    "proxy_nca": lambda: ProxyNCA(classes=CLASSES, embedding_dim=CLASSES, scale=3.0),
    "contrastive": lambda: Contrastive(margin=1.0),
    "distill": lambda: Distill(pairwise=1.0, hints=1.0),
}


PAIR_LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


class TestPairLosses:
    """The library's losses, as their docstrings say what they compute."""

    def rows(self) -> Tensor:
        return torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 1.5

    def value(self, penalty: Penalty) -> float:
        head = SoftmaxHead(classes=3, embedding_dim=DIM)
        x = self.rows()
        return penalty(EmbeddedBatch(x, PAIR_LABELS, head(x, PAIR_LABELS), head)).item()

    def test_triplet(self) -> None:
        for margin in (0.05, 0.7):
            expected = triplet_oracle(self.rows().tolist(), PAIR_LABELS.tolist(), margin=margin)
            assert self.value(Triplet(margin=margin)) == pytest.approx(expected)

    def test_margin_of_the_pairs_that_were_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        penalty = Margin(margin=0.3, boundary=0.9)
        drawn = [(0, 1, 2), (1, 0, 5), (2, 3, 0), (4, 5, 3)]
        indices = tuple(torch.tensor(column) for column in zip(*drawn, strict=True))
        monkeypatch.setattr(penalty.miner, "forward", lambda *_, **__: indices)
        expected = margin_oracle(self.rows().tolist(), drawn, margin=0.3, boundary=0.9)
        assert self.value(penalty) == pytest.approx(expected)

    def test_n_pair_of_raw_embeddings(self) -> None:
        """Which of a pair is the anchor is drawn."""
        rows = self.rows().tolist()
        expected = []
        for turned in product((0, 1), repeat=3):
            anchors = [rows[2 * k + turn] for k, turn in enumerate(turned)]
            positives = [rows[2 * k + 1 - turn] for k, turn in enumerate(turned)]
            expected.append(n_pair_oracle(anchors, positives))
        found = self.value(NPair())
        assert min(abs(found - value) for value in expected) < 1e-9
        assert max(expected) - min(expected) > 1e-2

    def test_proxy_nca(self) -> None:
        penalty = ProxyNCA(classes=3, embedding_dim=DIM, scale=2.5)
        proxies = penalty.loss.proxies.detach().double().tolist()
        expected = [
            proxy_nca_oracle(row, proxies, label, scale=2.5)
            for row, label in zip(self.rows().tolist(), PAIR_LABELS.tolist(), strict=True)
        ]
        assert self.value(penalty) == pytest.approx(sum(expected) / len(expected), rel=1e-6)

    def test_contrastive(self) -> None:
        for margin in (0.6, 1.7):
            expected = contrastive_oracle(self.rows().tolist(), PAIR_LABELS.tolist(), margin=margin)
            assert self.value(Contrastive(margin=margin)) == pytest.approx(expected)


def test_every_penalty_is_tested() -> None:
    assert set(MODULES) | {"likelihood", "magnitude"} == set(PENALTIES)


@pytest.mark.parametrize("name", MODULES)
def test_modules_reach_what_they_are_meant_to_move(name: str) -> None:
    logits = drawn().float().requires_grad_()
    head = SoftmaxHead(classes=CLASSES, embedding_dim=CLASSES)
    lesson = Lesson(drawn().float().flip(1))
    batch = EmbeddedBatch(logits, LABELS, head(logits, LABELS), head, lesson)
    MODULES[name]()(batch).mean().backward()
    moved = head.weight.grad if name == "mhe" else logits.grad
    assert moved is not None
    assert moved.isfinite().all()
    assert moved.abs().max() > 0


# pytorch-metric-learning looks the pairs and classes of a batch up by index.
BY_INDEX = {"triplet", "margin", "n_pair", "contrastive", "proxy_nca"}


@pytest.mark.parametrize("name", sorted(MODULES.keys() - BY_INDEX))
def test_forward_and_backward_of_a_penalty_read_nothing_from_the_device(name: str) -> None:
    penalty, logits = MODULES[name](), drawn().float().requires_grad_()
    batch = batch_of(drawn().float(), LABELS)._replace(
        embeddings=logits, output=HeadOutput(logits, lambda: logits), lesson=Lesson(drawn().float().flip(1))
    )
    with Readings() as readings, DeferredChecks() as checks:
        for _ in range(2):  # the second has thresholds of the first
            penalty(batch).mean().backward()
    assert readings.found == []
    assert not checks.failed


def test_snr_of_single_samples_is_refused_at_the_end_of_the_step() -> None:
    with DeferredChecks() as checks:
        snr("batch")(batch_of(drawn()[:4].float(), torch.arange(4)))
    assert checks.failed
    with pytest.raises(InputError, match=r"some class twice.*got 4 samples of 4 classes"):
        checks.refuse()
