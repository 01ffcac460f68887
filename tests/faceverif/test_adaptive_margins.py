"""Heads whose margin follows the batch, the length of an embedding or chance: what is special to each."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import run_forked
from head_cases import SETTINGS
from head_cases import built as built_in
from heads import quality_oracle
from numeric import numeric_gradient
from penalties import magnitude_oracle
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.heads import HEADS, Head, adaface
from faceverif.heads.adaface import AdaFaceHead, image_quality
from faceverif.heads.arcface import ArcFaceHead
from faceverif.heads.cosface import CosFaceHead
from faceverif.heads.curricularface import CurricularFaceHead, modulated
from faceverif.heads.elasticface import ElasticArcFaceHead, ElasticCosFaceHead, by_angle, drawn_margins
from faceverif.heads.lgm import LGMHead
from faceverif.heads.magface import MagFaceHead, MagnitudeRange, magnitude_margin
from faceverif.heads.moments import ClassMoments
from faceverif.heads.sharding import Sharding, spread_classes
from faceverif.heads.subcenter_arcface import SubcenterArcFaceHead
from faceverif.penalties import EmbeddedBatch
from faceverif.penalties.magnitude import Magnitude, magnitude_penalty
from faceverif.sharding.shard import ClassShard

CLASSES, DIM, BATCH = 5, 4, 8
SIZES = {"classes": CLASSES, "embedding_dim": DIM}
OF_TODAY = [
    "adaface",
    "magface",
    "curricularface",
    "elastic_arcface",
    "elastic_cosface",
    "subcenter_arcface",
]


def built(name: str) -> Head:
    return built_in(name, **SIZES)


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = 2.0 * torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64)
    weight = torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64)
    return x.to(dtype), weight.to(dtype), torch.arange(BATCH) % CLASSES


def arcface(x: Tensor, weight: Tensor, labels: Tensor, *, margin_rad: float) -> Tensor:
    head = ArcFaceHead(**SIZES, scale=16.0, margin_rad=margin_rad)
    return functional_call(head, {"weight": weight}, (x, labels)).margin_logits


def cosface(x: Tensor, weight: Tensor, labels: Tensor, *, margin: float) -> Tensor:
    head = CosFaceHead(**SIZES, scale=16.0, margin=margin)
    return functional_call(head, {"weight": weight}, (x, labels)).margin_logits


class TestAdaFace:
    def test_it_lies_between_arcface_and_cosface(self) -> None:
        x, _, labels = drawn()
        head = AdaFaceHead(**SIZES, scale=16.0, margin=0.4, h=1.0, step=1.0).double().eval()
        logits = []
        for mean in (1e3, x.norm(dim=1), -1e3):  # the quality is -1, 0 and 1
            head.mean, head.deviation = torch.as_tensor(mean), torch.tensor(1.0)
            logits.append(head(x, labels).margin_logits)
        worst, middle, best = logits
        torch.testing.assert_close(worst, arcface(x, head.weight, labels, margin_rad=0.4))
        torch.testing.assert_close(middle, cosface(x, head.weight, labels, margin=0.4))
        own = F.one_hot(labels, CLASSES).bool()
        assert (best[own] < middle[own]).any()

    def test_without_concentration_it_is_cosface(self) -> None:
        x, _, labels = drawn(torch.float32)
        head = AdaFaceHead(**SIZES, scale=16.0, margin=0.4, h=0.0, step=0.5)
        expected = cosface(x, head.weight, labels, margin=0.4)
        torch.testing.assert_close(head(x, labels).margin_logits, expected)

    def test_the_quality_is_that_of_the_batch_where_the_newest_batch_is_all(self) -> None:
        x, _, labels = drawn()
        head = AdaFaceHead(**SIZES, scale=16.0, margin=0.4, h=0.9, step=1.0).double()
        head(x, labels)
        norms = x.norm(dim=1)
        moments = {"mean": norms.mean().item(), "deviation": norms.std().item()}
        expected = [quality_oracle(norm, **moments, h=0.9) for norm in norms.tolist()]
        assert head.quality(norms).tolist() == pytest.approx(expected)
        assert max(expected) == 1.0 or min(expected) == -1.0

    def test_statistics_run_from_the_authors_beginning(self) -> None:
        x, _, labels = drawn(torch.float32)
        head = AdaFaceHead(**SIZES, scale=16.0, margin=0.4, h=0.3, step=0.25)
        head(x, labels)
        norms = x.norm(dim=1)
        assert head.mean.item() == pytest.approx(0.75 * 20 + 0.25 * norms.mean().item())
        assert head.deviation.item() == pytest.approx(0.75 * 100 + 0.25 * norms.std().item())

    def test_its_statistics_need_no_float64_which_not_every_device_has(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        head = AdaFaceHead(**SIZES, scale=16.0, margin=0.4, h=0.3, step=1.0)
        summed: list[Tensor] = []
        kept = lambda tensor: summed.append(tensor) or tensor  # noqa: E731
        monkeypatch.setattr(adaface, "sum_over_processes", kept)
        norms = 1000.0 + torch.arange(4.0)
        for _ in range(2):  # the first brings the mean near
            head(norms[:, None] * F.normalize(torch.ones(4, DIM)), torch.arange(4))
        assert {tensor.dtype for tensor in summed} == {torch.float32}
        assert head.mean.item() == pytest.approx(norms.mean().item())
        assert head.deviation.item() == pytest.approx(norms.std().item(), rel=1e-3)

    @pytest.mark.parametrize("count", [1, 4])
    def test_lengths_that_do_not_vary_leave_finite_margins(self, count: int) -> None:
        head = AdaFaceHead(**SIZES, scale=16.0, margin=0.4, h=0.3, step=1.0)
        x = F.normalize(drawn(torch.float32)[0][:count])
        for _ in range(2):
            output = head(x, torch.zeros(count, dtype=torch.int64))
        assert head.deviation.item() == pytest.approx(0.0, abs=1e-3)
        assert output.margin_logits.isfinite().all()

    def test_no_gradient_reaches_the_length(self) -> None:
        x, _, labels = drawn(torch.float32)
        x.requires_grad_()
        head = AdaFaceHead(**SIZES, scale=16.0, margin=0.4, h=0.3, step=1.0)
        cross_entropy(head(x, labels).margin_logits, labels).sum().backward()
        assert x.grad is not None
        torch.testing.assert_close((x.grad * x).sum(dim=1), torch.zeros(BATCH), rtol=0, atol=1e-4)
        assert not image_quality(x.norm(dim=1), mean=2.0, deviation=1.0, h=1.0).requires_grad


class TestMagFace:
    def test_equal_margins_are_arcface(self) -> None:
        x, _, labels = drawn(torch.float32)
        equal = {"lower_margin_rad": 0.5, "upper_margin_rad": 0.5}
        head = MagFaceHead(**SIZES, **{**SETTINGS["magface"], **equal})
        expected = arcface(x, head.weight, labels, margin_rad=0.5)
        torch.testing.assert_close(head(x, labels).margin_logits, expected)

    def test_the_margin_is_a_line_between_its_ends(self) -> None:
        norms = torch.tensor([1.0, 10.0, 60.0, 110.0, 500.0])
        margins = magnitude_margin(
            norms, magnitudes=MagnitudeRange(10.0, 110.0), lower_margin_rad=0.45, upper_margin_rad=0.8
        )
        assert margins.tolist() == pytest.approx([0.45, 0.45, 0.625, 0.8, 0.8])

    def test_the_loss_asks_for_shorter_embeddings_and_the_penalty_for_longer_ones(self) -> None:
        x, _, labels = drawn(torch.float32)
        x = (4.0 * F.normalize(x)).requires_grad_()
        head = MagFaceHead(
            **SIZES,
            scale=16.0,
            lower_norm=1.0,
            upper_norm=9.0,
            lower_margin_rad=0.1,
            upper_margin_rad=0.8,
        )
        output = head(x, labels)
        [of_loss] = torch.autograd.grad(cross_entropy(output.margin_logits, labels).sum(), x)
        batch = EmbeddedBatch(x, labels, output, head)
        [of_penalty] = torch.autograd.grad(Magnitude()(batch).sum(), x)
        assert ((of_loss * x).sum(dim=1) > 0).all()
        assert ((of_penalty * x).sum(dim=1) < 0).all()

    def test_the_penalty_equals_the_oracle(self) -> None:
        x, magnitudes = drawn()[0].requires_grad_(), MagnitudeRange(2.0, 5.0)
        assert (x.norm(dim=1) < 2.0).any()

        def total(x: Tensor) -> float:
            return sum(magnitude_oracle(row, norms=(2.0, 5.0)) for row in x.tolist())

        def ours(x: Tensor) -> Tensor:
            return magnitude_penalty(x.norm(dim=1), magnitudes=magnitudes)

        penalty = ours(x)
        penalty.sum().backward()
        assert penalty.sum().item() == pytest.approx(total(x))
        torch.testing.assert_close(x.grad, numeric_gradient(total, x.detach()), rtol=1e-6, atol=1e-8)
        assert gradcheck(ours, (x,))

    def test_the_penalty_is_flat_at_the_upper_end(self) -> None:
        norms = torch.tensor([9.999], dtype=torch.float64, requires_grad=True)
        magnitude_penalty(norms, magnitudes=MagnitudeRange(1.0, 10.0)).sum().backward()
        assert norms.grad is not None
        assert norms.grad.item() == pytest.approx(0.0, abs=1e-5)

    def test_the_penalty_of_another_head_is_refused(self) -> None:
        head, (x, _, labels) = built("adaface"), drawn(torch.float32)
        with pytest.raises(
            InputError, match=r"penalties\.magnitude: needs the magface head.*got AdaFaceHead"
        ):
            Magnitude()(EmbeddedBatch(x, labels, head(x, labels), head))


class TestCurricularFace:
    def at_stage(self, stage: float, x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        """Logits in evaluation mode, where the stage stands."""
        head = CurricularFaceHead(**{**SIZES, "classes": len(weight)}, scale=16.0, margin_rad=0.5).eval()
        given = {"weight": weight, "stage": weight.new_tensor(stage)}
        return functional_call(head, given, (x, labels)).margin_logits

    @pytest.mark.parametrize("stage", [0.0, 0.8])
    def test_where_no_class_is_hard_it_is_arcface(self, stage: float) -> None:
        x, weight, labels = torch.eye(4), torch.eye(4), torch.arange(4)
        expected = arcface(x, weight, labels, margin_rad=0.5)
        torch.testing.assert_close(self.at_stage(stage, x, weight, labels), expected)

    def test_hard_classes_count_less_than_in_arcface_at_first_and_more_later(self) -> None:
        x, weight, labels = drawn()
        plain = arcface(x, weight, labels, margin_rad=0.5)
        hard = (plain > plain.gather(1, labels[:, None])) & (plain > 0)
        first, last = (self.at_stage(stage, x, weight, labels) for stage in (0.0, 1.0))
        assert hard.any()
        assert (first[hard] < plain[hard]).all()
        assert (last[hard] > plain[hard]).all()

    def test_the_stage_follows_the_cosines_with_the_own_classes(self) -> None:
        x, _, labels = drawn(torch.float32)
        head = CurricularFaceHead(**SIZES, scale=16.0, margin_rad=0.5)
        own = (F.normalize(x) * F.normalize(head.weight[labels])).sum(dim=1).mean().item()
        head(x, labels)
        assert head.stage.item() == pytest.approx(0.01 * own, rel=1e-5)
        head(x, labels)
        assert head.stage.item() == pytest.approx(0.01 * own * 1.99, rel=1e-5)
        head.eval()(x, labels)
        assert head.stage.item() == pytest.approx(0.01 * own * 1.99, rel=1e-5)

    def test_the_stage_moves_where_some_classes_are_drawn(self) -> None:
        head, (x, _, _) = built("curricularface"), drawn(torch.float32)
        spread_classes(head, Sharding(ClassShard(CLASSES, 1, 0), sampled=0.5))
        own = (F.normalize(x[:2]) * F.normalize(head.weight[[1, 4]])).sum(dim=1).mean().item()
        head(x[:2], torch.tensor([1, 4]))
        assert head.stage.item() == pytest.approx(0.01 * own, rel=1e-5)

    def test_the_backward_pass_by_hand_is_that_of_autograd(self) -> None:
        logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        own, stage = torch.full((6,), 0.1, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
        assert gradcheck(lambda z: modulated(z, own, stage, scale=2.0), (logits.requires_grad_(),))


class TestElasticFace:
    def test_without_spread_they_are_arcface_and_cosface(self) -> None:
        x, _, labels = drawn(torch.float32)
        arc = ElasticArcFaceHead(**SIZES, scale=16.0, margin_rad=0.5, spread=0.0, assign="by_angle")
        cos = ElasticCosFaceHead(**SIZES, scale=16.0, margin=0.35, spread=0.0, assign="random")
        expected = arcface(x, arc.weight, labels, margin_rad=0.5)
        torch.testing.assert_close(arc(x, labels).margin_logits, expected)
        expected = cosface(x, cos.weight, labels, margin=0.35)
        torch.testing.assert_close(cos(x, labels).margin_logits, expected)

    def test_margins_are_those_of_the_seed_and_the_mean_in_evaluation(self) -> None:
        head, cosines = built("elastic_cosface"), torch.zeros(1000)
        head.start_draws(7)
        first, again = head.margins(cosines), head.margins(cosines)
        head.start_draws(8)
        assert torch.equal(first, again)
        assert not torch.equal(first, head.margins(cosines))
        assert first.mean().item() == pytest.approx(0.3, abs=0.02)
        assert first.std().item() == pytest.approx(0.1, abs=0.01)
        assert (head.eval().margins(cosines) == 0.3).all()

    def test_the_larger_margins_go_to_the_samples_that_are_farther_away(self) -> None:
        margins = by_angle(torch.tensor([0.3, 0.1, 0.2]), torch.tensor([0.9, -0.5, 0.4]))
        assert margins.tolist() == pytest.approx([0.1, 0.3, 0.2])

    def test_margins_stay_within_bounds(self) -> None:
        normal = torch.tensor([-9.0, 0.0, 9.0])
        margins = drawn_margins(normal, margin=0.5, spread=0.3, largest=1.5)
        assert margins.tolist() == pytest.approx([0.0, 0.5, 1.5])


class TestSubcenterArcFace:
    def test_one_centre_a_class_is_arcface(self) -> None:
        head, (x, _, labels) = self.head(1), drawn(torch.float32)
        expected = arcface(x, head.weight[:, 0], labels, margin_rad=0.5)
        torch.testing.assert_close(head(x, labels).margin_logits, expected)

    def head(self, centres: int = 3) -> SubcenterArcFaceHead:
        torch.manual_seed(0)
        return SubcenterArcFaceHead(**SIZES, scale=16.0, margin_rad=0.5, centres_per_class=centres)

    def test_the_dominant_centre_is_the_one_that_most_samples_are_nearest_to(self) -> None:
        head = self.head()
        with torch.no_grad():
            head.weight[2] = torch.eye(DIM)[:3]
        x = torch.eye(DIM)[[0, 1, 1, 2, 1]] + 0.1
        head(x, torch.full((5,), 2))
        assert head.visits[2].tolist() == [1, 3, 1]
        assert head.visits.sum() == 5
        assert torch.equal(head.centres()[2], head.weight[2, 1])
        head.eval()(x, torch.full((5,), 2))
        assert head.visits.sum() == 5

    def test_the_dominant_centre_is_that_of_the_last_epoch(self) -> None:
        head = self.head()
        with torch.no_grad():
            head.weight[2] = torch.eye(DIM)[:3]
        x, labels = torch.eye(DIM)[[0, 0, 0, 1, 1]] + 0.1, torch.full((5,), 2)
        head(x, labels)
        head.end_epoch()
        head(x[:1], labels[:1])
        assert head.visits.sum() == 1
        head(x[3:], labels[3:])
        assert head.dominant()[2] == 0  # the present epoch has not seen all photos yet
        head.end_epoch()
        assert head.dominant()[2] == 1  # though the first was the nearest more often, counted from the start
        head.end_epoch()
        assert head.dominant()[2] == 1  # an epoch without a sample of the class says nothing of it

    def test_its_precision_costs_no_look_at_the_centres(self, monkeypatch: pytest.MonkeyPatch) -> None:
        head, (x, _, labels) = self.head(), drawn(torch.float32)
        monkeypatch.setattr(SubcenterArcFaceHead, "centres", lambda _: 1 / 0)
        head(x, labels)
        assert head.double().precision == torch.float64

    def test_it_continues_from_a_single_centre_which_becomes_the_first(self) -> None:
        head, weight = self.head(), drawn(torch.float32)[1]
        others = head.weight[:, 1:].clone()
        assert head.can_continue({"weight": weight})
        head.continue_from({"weight": weight})
        assert torch.equal(head.weight[:, 0], weight)
        assert torch.equal(head.centres(), weight)
        assert torch.equal(head.weight[:, 1:], others)

    def test_it_continues_from_its_own_kind_with_what_is_dominant(self) -> None:
        trained, (x, _, labels) = self.head(), drawn(torch.float32)
        trained(x, labels)
        trained.end_epoch()
        trained(x[:3], labels[:3])
        torch.manual_seed(1)
        head = SubcenterArcFaceHead(**SIZES, scale=16.0, margin_rad=0.5, centres_per_class=3)
        assert head.can_continue(trained.state_dict())
        head.continue_from(trained.state_dict())
        assert all(
            torch.equal(tensor, head.state_dict()[name]) for name, tensor in trained.state_dict().items()
        )
        assert not self.head(CLASSES).can_continue(trained.state_dict())

    def test_only_the_nearest_centre_of_a_class_learns(self) -> None:
        head, (x, _, labels) = self.head(), drawn(torch.float32)
        cross_entropy(head(x[:1], labels[:1]).margin_logits, labels[:1]).sum().backward()
        assert head.weight.grad is not None
        assert (head.weight.grad.abs().sum(dim=2) > 0).sum(dim=1).tolist() == [1] * CLASSES

    def test_it_starts_with_one_centre_at_the_mean_and_the_others_apart(self) -> None:
        head, means = self.head(), drawn()[1]
        head.start_at(ClassMoments(means, 0.25 * torch.eye(DIM, dtype=torch.float64), samples=50))
        expected = F.normalize(means).float()
        torch.testing.assert_close(head.weight[:, 0].detach(), expected)
        torch.testing.assert_close(head.centres().detach(), expected)
        torch.testing.assert_close(head.weight.norm(dim=2), torch.ones(CLASSES, 3))
        assert ((head.weight[:, 1:] - head.weight[:, :1]).norm(dim=2) > 1e-2).all()

    def test_visits_of_drawn_classes_are_kept(self) -> None:
        head, (x, _, _) = self.head(), drawn(torch.float32)
        spread_classes(head, Sharding(ClassShard(CLASSES, 1, 0), sampled=0.5))
        head(x[:2], torch.tensor([1, 4]))
        assert head.visits.sum(dim=1).tolist() == [0, 1, 0, 0, 1]

    def test_no_centre_is_refused(self) -> None:
        with pytest.raises(InputError, match="centres_per_class: must be at least 1; got 0"):
            self.head(0)


@pytest.mark.parametrize("name", [name for name in HEADS if "weight" in dict(built(name).named_parameters())])
def test_a_head_continues_from_class_weights_that_fit_alone(name: str) -> None:
    head, weight = built(name), drawn(torch.float32)[1]
    assert head.can_continue({"weight": weight})
    head.continue_from({"weight": weight})
    assert torch.equal(head.centres(), weight)
    unfit = [weight[1:], weight[:, 1:], weight[:, None].expand(-1, CLASSES, -1)]
    assert not any(head.can_continue({"weight": each}) for each in unfit)
    assert not head.can_continue({})


@pytest.mark.parametrize("name", HEADS)
def test_a_head_continues_from_all_that_its_own_kind_has_learnt(name: str) -> None:
    trained, head, (x, _, _) = built(name), built(name), drawn(torch.float32)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert head.can_continue(trained.state_dict())
    head.continue_from(trained.state_dict())
    assert torch.equal(head.logits(x), trained.logits(x))


@pytest.mark.parametrize("covariance", ["identity", "isotropic", "diagonal", "shared"])
@pytest.mark.parametrize("before", ["identity", "isotropic", "diagonal", "shared"])
def test_lgm_continues_from_the_means_of_another_covariance(covariance: Any, before: Any) -> None:
    trained, head = (LGMHead(**SIZES, alpha=0.1, covariance=each) for each in (before, covariance))
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1)
    assert head.can_continue(trained.state_dict())
    head.continue_from(trained.state_dict())
    assert torch.equal(head.means, trained.means)
    if covariance == before:
        assert all(map(torch.equal, head.parameters(), trained.parameters()))
    else:
        assert not head.log_variances.any()
        assert head.whitening is None or torch.equal(head.whitening, torch.eye(DIM))


def outcome(head: Head, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Of two steps: the logits of the second, and the buffers after it."""
    head.start_draws(5)
    head(x, labels)
    head.start_draws(6)
    logits = head(x, labels).margin_logits.detach()
    return {"logits": logits, **{name: buffer.clone() for name, buffer in head.named_buffers()}}


def in_a_share(rank: int, folder: Path) -> None:
    x, _, labels = drawn(torch.float32)
    half = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    torch.save(
        {name: outcome(built(name), x[half], labels[half]) for name in OF_TODAY}, folder / f"{rank}.pt"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used a GPU cannot be forked")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_agree_with_one_on_margins_and_statistics(tmp_path: Path) -> None:
    run_forked(in_a_share, 2, tmp_path, tmp_path)
    x, _, labels = drawn(torch.float32)
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name in OF_TODAY:
        expected = outcome(built(name), x, labels)
        logits = torch.cat([share[name].pop("logits") for share in shares])
        torch.testing.assert_close(logits, expected.pop("logits"), msg=lambda m, name=name: f"{name}: {m}")
        for share in shares:
            torch.testing.assert_close(share[name], expected)


@pytest.mark.parametrize("name", OF_TODAY)
def test_a_head_goes_on_from_its_state_as_if_it_had_not_stopped(name: str) -> None:
    x, _, labels = drawn(torch.float32)
    head, other = built(name), built(name)
    for step in range(3):
        head.start_draws(step)
        head(x, labels)
    other.load_state_dict(copy.deepcopy(head.state_dict()))
    outputs = []
    for each in (head, other):
        each.start_draws(3)
        outputs.append(each(x, labels).margin_logits)
    assert torch.equal(*outputs)
