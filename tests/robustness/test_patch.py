"""Patches on faces: where they lie, what they may show, and that nothing else changes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from data_prep.alignment import find_template
from data_prep.alignment.landmarks import LandmarkTemplate
from data_prep.errors import InputError
from faceverif.models import PreprocessingSpec
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacks import PAIR_ATTACKS
from robustness.attacks.knowledge import Knowledge
from robustness.attacks.pair_patch import PairPatch, Wearing
from robustness.attacks.pairs import PairAttackResult
from robustness.config.attacks import PairGoal, PatchConfig, Region
from robustness.face_regions import region_mask, seen_landmarks
from robustness.rejection.findings import Finding, headline_epsilon
from robustness.rejection.pair_trial import PairTrial
from robustness.rejection.trial_record import TrialRecord

SPEC = PreprocessingSpec.of(find_template("arcface-64"), input_px=56)
LANDMARKS = seen_landmarks(SPEC)
assert LANDMARKS is not None
PX, THREAT = 56, ThreatModel("linf", 1.0)


class Colours(nn.Module):
    """Mean colour of the quarters of a picture."""

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(1) - 0.5


def photos(seed: int) -> Tensor:
    return torch.rand(3, 3, PX, PX, generator=torch.Generator().manual_seed(seed))


def attacked(goal: PairGoal = "impersonation", **settings: Any) -> PairAttackResult:
    section = PatchConfig.model_validate({"name": "patch", "steps": 8} | settings)
    attack = PairPatch(goal, LANDMARKS, **section.own_settings())
    return attack(Colours().eval(), photos(0), photos(1), threat=THREAT, seed=0)


def mask(region: Region, landmarks: NDArray[np.floating] = LANDMARKS, **size: int) -> NDArray[np.bool_]:
    return region_mask(region, landmarks, **({"height": PX, "width": PX} | size))


@pytest.mark.parametrize("goal", ["impersonation", "dodging"])
@pytest.mark.parametrize("region", get_args(Region))
def test_nothing_changes_outside_of_the_patch(region: Region, goal: PairGoal) -> None:
    result = attacked(goal, region=region)
    changed = (result.images != photos(0)).any(dim=1)
    assert not changed[:, ~torch.from_numpy(mask(region))].any()
    assert changed[:, torch.from_numpy(mask(region))].float().mean() > 0.95
    sign = 1 if goal == "impersonation" else -1
    assert (sign * (result.similarity - result.clean_similarity) > 0.02).all()


def test_regions_lie_where_their_names_say() -> None:
    x, y = (LANDMARKS[:, axis].round().astype(int) for axis in (0, 1))
    left_eye, right_eye, nose, left_mouth, right_mouth = zip(y, x, strict=True)
    above = (left_eye[0] - 14, nose[1])
    covered = {
        "glasses": (set(), {left_eye, right_eye, nose, left_mouth, above}),
        "forehead": ({above}, {left_eye, right_eye, nose, left_mouth}),
        "mouth_nose": ({nose, left_mouth, right_mouth}, {left_eye, right_eye, above}),
    }
    for region, (inside, outside) in covered.items():
        its = mask(region)  # type: ignore[arg-type] # a name from the table above
        assert all(its[place] for place in inside)
        assert not any(its[place] for place in outside)
        assert 0.04 < its.mean() < 0.35
    bridge = (left_eye[0] - 2, nose[1])
    assert mask("glasses")[bridge]


def test_a_region_turns_and_grows_with_the_face() -> None:
    template = find_template("arcface-112")
    assert isinstance(template, LandmarkTemplate)
    upright = np.array(template.landmarks)
    small = mask("glasses", upright, height=112, width=112)
    large = mask("glasses", 2 * upright + 0.5, height=224, width=224)
    assert large.sum() == pytest.approx(4 * small.sum(), rel=0.05)
    lying = np.stack([111 - upright[:, 1], upright[:, 0]], axis=1)
    np.testing.assert_array_equal(mask("glasses", lying, height=112, width=112), np.rot90(small, -1))


def test_colours_are_those_of_the_palette() -> None:
    images = attacked(colours=3).images[:, :, torch.from_numpy(mask("glasses"))]
    assert {round(float(value), 4) for value in images.unique()} == {0.1, 0.5, 0.9}
    with pytest.raises(ValidationError, match="must be 1 where colours are printable") as refused:
        PatchConfig(name="patch", colours=3, epsilons=(1.0, 0.5))
    assert refused.value.errors()[0]["ctx"]["got"] == 0.5


def test_a_worn_patch_is_shifted_turned_scaled_and_lit() -> None:
    torch.manual_seed(0)
    patch = torch.from_numpy(mask("mouth_nose"))
    still = Wearing(shift=0, scale=0, rotation_deg=0, brightness=0)
    picture = torch.rand(4, 3, PX, PX)

    def worn(wearing: Wearing) -> Tensor:
        return nn.functional.grid_sample(
            picture, wearing.grid(patch, pairs=4, eyes_px=18.0), align_corners=False
        )

    torch.testing.assert_close(worn(still), picture, atol=1e-4, rtol=0)
    assert torch.equal(still.light(4), torch.ones(4, 1, 1, 1))
    moved = Wearing(shift=0.5, scale=0.2, rotation_deg=30, brightness=0.3)
    centre = patch.nonzero().float().mean(dim=0)
    grid = (moved.grid(patch, pairs=500, eyes_px=18.0) + 1) * PX / 2 - 0.5
    there = grid[:, round(float(centre[0])), round(float(centre[1]))].flip(1)
    offset = (there - centre).abs().amax(dim=0)
    assert ((offset > 7) & (offset < 9 * 1.25 * 1.4)).all()
    light = moved.light(500)
    assert 0.7 <= light.min() < 0.72 < 1.28 < light.max() <= 1.3


def test_every_step_sees_the_patch_worn_in_several_ways() -> None:
    seen: list[Tensor] = []

    class Watching(Colours):
        def forward(self, pixels: Tensor) -> Tensor:
            if pixels.requires_grad:
                seen.append(pixels.detach())
            return super().forward(pixels)

    settings = PatchConfig(name="patch", steps=2, samples=3).own_settings()
    PairPatch("dodging", LANDMARKS, **settings)(
        Watching().eval(), photos(0), photos(1), threat=THREAT, seed=0
    )
    assert len(seen) == 2 * 3
    assert all(not torch.equal(one, other) for one, other in pairwise(seen))


def test_a_region_needs_landmarks_within_the_picture() -> None:
    settings = PatchConfig(name="patch").own_settings()
    by_box = PreprocessingSpec.of(find_template("facenet-160"), input_px=160)
    with pytest.raises(InputError, match=r"patch\.region: needs faces whose landmarks lie in known places"):
        PairPatch("dodging", seen_landmarks(by_box), **settings)
    outside = PairPatch("dodging", LANDMARKS + 500, **settings)
    with pytest.raises(InputError, match=r"patch\.region: must lie in the picture; got glasses"):
        outside(Colours().eval(), photos(0), photos(1), threat=THREAT, seed=0)
    printed = PairPatch("dodging", LANDMARKS, **(settings | {"colours": 4}))
    with pytest.raises(InputError, match=r"patch\.colours: need an epsilon of 1"):
        printed(Colours().eval(), photos(0), photos(1), threat=ThreatModel("linf", 0.5), seed=0)


@pytest.mark.parametrize(("name", "counted"), [("patch", 1.0), ("pgd", None)])
def test_a_region_limits_a_patch_where_epsilon_does_not(name: str, counted: float | None) -> None:
    section = PAIR_ATTACKS[name].section.model_validate({"name": name, "epsilons": [1]})
    trial = PairTrial("model", 0, name, "linf", 1.0, section, None, "dodging")
    assert headline_epsilon(name, [Finding(trial, TrialRecord.model_construct(), Path())]) == counted
    assert PAIR_ATTACKS[name].traits.strong == (name == "pgd")


def test_an_experiment_refuses_a_patch_without_landmarks_when_it_is_prepared() -> None:
    class WithoutLandmarks:
        def knowledge(self, source: object) -> Knowledge:
            return Knowledge()

    trial = PairTrial("model", 0, "patch", "linf", 1.0, PatchConfig(name="patch"), None, "dodging")
    with pytest.raises(InputError, match=r"patch\.region: needs faces whose landmarks"):
        trial.configured(WithoutLandmarks(), None)  # type: ignore[arg-type] # all that is asked of a model
