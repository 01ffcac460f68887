"""APGD against its algorithm written out, FAB against exact projections, and the bundle of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_models import band_images, lgm_model, pgd, softmax_model, success_rate

from data_prep.errors import InputError
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel, Watched
from robustness.attacks.apgd import APGD, ascend_adaptively, checkpoints, dlr_gain
from robustness.attacks.autoattack import AutoAttack
from robustness.attacks.fab import FAB, onto_plane
from robustness.attacks.goal import Goal


def bumpy(pixels: Tensor) -> Tensor:
    """A value with many hills, so that steps overshoot and lengths are halved."""
    weights = torch.linspace(3, 40, pixels[0].numel(), dtype=pixels.dtype)
    return (weights * pixels.flatten(1)).sin().sum(dim=1)


def apgd_oracle(
    value: Callable[[Tensor], Tensor], start: Tensor, clean: Tensor, epsilon: float, steps: int
) -> Tensor:
    """Algorithm 1 of Croce & Hein (2020) for one image, as printed."""

    def project(x: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(x, clean + epsilon), clean - epsilon).clamp(0, 1)

    def climb(x: Tensor) -> Tensor:
        asked = x.clone().requires_grad_()
        return torch.autograd.grad(value(asked).sum(), asked)[0].sign()

    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = [math.ceil(round(each * steps, 9)) for each in p]
    eta = 2 * epsilon
    x = [start, project(start + eta * climb(start))]
    f = [value(each).item() for each in x]
    x_max, f_max = (x[1], f[1]) if f[1] > f[0] else (x[0], f[0])
    etas, maxima = {0: eta}, {0: f[0]}
    rises = int(f[1] > f[0])
    for k in range(1, steps):
        z = project(x[k] + eta * climb(x[k]))
        x.append(project(x[k] + 0.75 * (z - x[k]) + 0.25 * (x[k] - x[k - 1])))
        f.append(value(x[k + 1]).item())
        rises += f[k + 1] > f[k]
        if f[k + 1] > f_max:
            x_max, f_max = x[k + 1], f[k + 1]
        if k + 1 in w:
            last = w[w.index(k + 1) - 1]
            few = rises < 0.75 * (k + 1 - last)
            same = etas[last] == etas.get(-last, etas[last]) and maxima[last] == f_max
            etas[-(k + 1)] = eta
            if few or same:
                eta /= 2
                x[k + 1], f[k + 1] = x_max, f_max
            etas[k + 1], maxima[k + 1], rises = eta, f_max, 0
    return x_max


def never(value: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The value, of images whose goal is out of reach."""
    return lambda pixels: (value(pixels), torch.zeros(len(pixels), dtype=torch.bool))


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_apgd_is_its_algorithm(steps: int) -> None:
    clean = torch.rand(3, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    threat = ThreatModel("linf", 0.3)
    torch.manual_seed(1)
    start = threat.random_start(clean)
    found = ascend_adaptively(never(bumpy), start, clean, threat=threat, steps=steps)
    for image in range(len(clean)):
        one = slice(image, image + 1)
        expected = apgd_oracle(bumpy, start[one], clean[one], 0.3, steps)
        torch.testing.assert_close(found[one], expected)


def test_checkpoints_are_those_of_the_paper() -> None:
    assert sorted(checkpoints(100))[:6] == [22, 41, 57, 70, 80, 87]
    assert max(checkpoints(100)) >= 100


def test_apgd_keeps_what_reached_the_goal_although_the_value_rose_later() -> None:
    clean = torch.full((1, 1, 1, 1), 0.5)

    def look(pixels: Tensor) -> tuple[Tensor, Tensor]:
        brightness = pixels.flatten(1).sum(dim=1)
        return brightness, (brightness > 0.6) & (brightness < 0.75)

    threat = ThreatModel("linf", 0.4)
    found = ascend_adaptively(look, torch.full_like(clean, 0.65), clean, threat=threat, steps=10)
    assert look(found)[1].all()


def test_the_difference_of_logits_ratio_is_the_papers() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.5, -2.0, 0.0]])
    untargeted = dlr_gain(logits, Goal(torch.tensor([0])))
    assert untargeted.item() == pytest.approx(-(3.0 - 1.0) / (3.0 - 0.5))
    targeted = dlr_gain(logits, Goal(torch.tensor([0]), torch.tensor([3])))
    assert targeted.item() == pytest.approx(-(3.0 + 2.0) / (3.0 - (0.5 + 0.0) / 2))
    torch.testing.assert_close(dlr_gain(7 * logits + 3, Goal(torch.tensor([0]))), untargeted)
    assert dlr_gain(torch.tensor([[2.0, 1.0]]), Goal(torch.tensor([0]))).item() == -1.0


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_projection_is_the_nearest_point_of_plane_and_box(norm: Any) -> None:
    """Against scipy's general solvers."""
    import numpy as np
    from scipy.optimize import linprog, minimize

    rng = np.random.default_rng(0)
    for _ in range(8):
        point, slope = rng.uniform(0, 1, 6), rng.normal(size=6)
        height = slope @ rng.uniform(0, 1, 6)
        found = onto_plane(
            *(torch.tensor(each).reshape(1, 1, 2, 3) for each in (point, slope)),
            torch.tensor([height]),
            norm=norm,
        ).flatten()
        change = found.numpy() - point
        assert slope @ found.numpy() == pytest.approx(height, abs=1e-4)
        assert 0 <= found.min() <= found.max() <= 1
        if norm == "linf":
            ones = np.ones((6, 1))
            limits = np.vstack([np.hstack([np.eye(6), -ones]), np.hstack([-np.eye(6), -ones])])
            best = linprog(
                np.eye(7)[6],
                A_ub=limits,
                b_ub=np.concatenate([point, -point]),
                A_eq=np.append(slope, 0)[None],
                b_eq=[height],
                bounds=[(0, 1)] * 6 + [(0, None)],
            ).fun
            assert abs(change).max() == pytest.approx(best, abs=1e-4)
        else:
            solved = minimize(
                lambda z, point=point: ((z - point) ** 2).sum(),
                point,
                bounds=[(0, 1)] * 6,
                constraints={"type": "eq", "fun": lambda z, slope=slope, height=height: slope @ z - height},
            )
            assert (change**2).sum() == pytest.approx(solved.fun, abs=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_finds_the_distance_to_the_border_of_a_linear_classifier(norm: Any) -> None:
    """The lead of a class is linear there, so that the smallest change is known."""
    model, (images, labels) = softmax_model(), band_images(6, noise=0.02)
    logits = model(images)
    width = images[0].numel() / 3  # pixels of a band; the logit is SCALE times their mean
    own = logits.gather(1, labels[:, None]).squeeze(1)
    best = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    slope = 6.0 / width  # of the lead, for each pixel of two bands
    gap = own - best
    expected = gap / (2 * width * slope) if norm == "linf" else gap / (slope * (2 * width) ** 0.5)
    threat = ThreatModel(norm, 1.0 if norm == "linf" else 3.0)
    result = FAB(steps=20, targets=2)(model, images, labels, threat=threat, seed=0)
    assert result.success.all()
    assert (result.sizes / expected).min() > 0.99
    assert (result.sizes / expected).max() < 1.03


@pytest.mark.parametrize("make", [softmax_model, lgm_model])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_bundle_reaches_no_fewer_than_its_parts(make: Callable[[], AttackedModel], norm: Any) -> None:
    model, (images, labels) = make(), band_images(60, noise=0.25)
    threat = ThreatModel(norm, 0.2 if norm == "linf" else 0.6)
    bundle = AutoAttack(steps=10, targets=2, queries=40)(model, images, labels, threat=threat, seed=0)
    assert 0 < success_rate(bundle) < 1
    for part in (
        pgd(steps=10),
        APGD(steps=10, restarts=1, loss="cross_entropy", targets=0),
        FAB(steps=10, targets=2),
    ):
        assert success_rate(bundle) >= success_rate(part(model, images, labels, threat=threat, seed=0))


def test_targets_find_what_the_ratio_alone_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image is left alone once its goal is reached, and every class is tried for the others."""
    model, (images, labels) = softmax_model(), band_images(30, noise=0.25)
    named: list[Tensor] = []
    gain = dlr_gain

    def noted(logits: Tensor, goal: Goal) -> Tensor:
        if goal.targets is not None:
            named.append(goal.targets)
        return gain(logits, goal)

    monkeypatch.setitem(__import__("robustness.attacks.apgd", fromlist=["LOSSES"]).LOSSES, "dlr", noted)
    threat = ThreatModel("linf", 0.05)
    APGD(steps=2, restarts=1, loss="dlr", targets=2)(model, images, labels, threat=threat, seed=0)
    assert {len(each) for each in named} <= set(range(1, 31))
    assert len(named) == 6  # start and two steps, towards two classes


class Noisy(AttackedModel):
    def embed(self, pixels: Tensor) -> Tensor:
        return super().embed(pixels) + 0.1 * torch.randn(())


def test_a_random_model_is_refused() -> None:
    plain, (images, labels) = softmax_model(), band_images(6)
    noisy = Noisy(plain.network, plain.objective).eval()
    watched = Watched(noisy, images)
    watched.embed = noisy.embed  # type: ignore[method-assign]
    with pytest.raises(InputError, match="the same output twice"):
        AutoAttack(steps=2, targets=1, queries=2).perturb(
            watched, images, Goal(labels), threat=ThreatModel("linf", 0.1)
        )
