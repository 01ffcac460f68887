"""Momentum and its options against loops in numpy, sources that are attacked as one, and mean gradients."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_rejection import finding
from torch import Tensor
from toy_models import SHAPE, Bands, band_images, lgm_model, momentum_ascent, pgd, softmax_model, success_rate

from data_prep.errors import InputError
from faceverif.images.labelled import ImageSet
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel
from robustness.attacks.mi_fgsm import MIFGSM
from robustness.attacks.momentum import diverse, smoothed
from robustness.attacks.pair_mi_fgsm import PairMIFGSM
from robustness.attacks.pair_transfer import PairTransfer
from robustness.attacks.transfer import Transfer
from robustness.config.attacks import TransferConfig
from robustness.joint_model import joint_classifier, joint_network, joint_verifier
from robustness.loaded_run import LoadedRun
from robustness.rejection.resume import refuse_other_settings

IMAGES, LABELS = band_images(6)
Array = NDArray[np.float64]


def bowl(pixels: Tensor) -> Tensor:
    """Its gradient is 3 x^2 - 1: small images and large ones are pulled apart."""
    return (pixels**3 - pixels).sum(dim=(1, 2, 3))


def slope(pixels: Array) -> Array:
    return 3 * pixels**2 - 1


def literal(
    image: Array, *, epsilon: float, steps: int, momentum: float, nesterov: bool, scales: int, radius: int
) -> Array:
    """One image of one channel, as the papers print it, with the mean for the sum of absolute values."""
    version, gathered = image.copy(), np.zeros_like(image)
    for _ in range(steps):
        place = version + epsilon / steps * momentum * gathered if nesterov else version
        gradient = np.zeros_like(image)
        for scale in range(scales):
            gradient += slope(place / 2**scale) / 2**scale / scales
        gradient = blurred(gradient, radius)
        gathered = momentum * gathered + gradient / np.abs(gradient).mean()
        version = version + epsilon / steps * np.sign(gathered)
        version = np.clip(np.clip(version, image - epsilon, image + epsilon), 0, 1)
    return version


def blurred(gradient: Array, radius: int) -> Array:
    """A double loop over the kernel; black beyond the border."""
    if not radius:
        return gradient
    places = range(-radius, radius + 1)
    kernel = {
        (i, j): math.exp(-(i * i + j * j) / (2 * (radius / math.sqrt(3)) ** 2))
        for i in places
        for j in places
    }
    total, result = sum(kernel.values()), np.zeros_like(gradient)
    height, width = gradient.shape
    for row in range(height):
        for column in range(width):
            for (i, j), weight in kernel.items():
                if 0 <= row + i < height and 0 <= column + j < width:
                    result[row, column] += weight / total * gradient[row + i, column + j]
    return result


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.5},
        {"nesterov": True},
        {"scales": 3},
        {"smoothing_px": 2},
        {"momentum": 0.9, "nesterov": True, "scales": 2, "smoothing_px": 1},
    ],
)
def test_the_steps_are_those_of_a_loop_in_numpy(options: dict[str, Any]) -> None:
    images = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(1))
    found = momentum_ascent(steps=6, **options)(bowl, images, threat=ThreatModel("linf", 0.3))
    for image, ours in zip(images, found, strict=True):
        expected = literal(
            image[0].double().numpy(),
            epsilon=0.3,
            steps=6,
            momentum=options.get("momentum", 1.0),
            nesterov=options.get("nesterov", False),
            scales=options.get("scales", 1),
            radius=options.get("smoothing_px", 0),
        )
        np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_options_it_is_pgd_from_the_image(norm: Norm) -> None:
    threat, model = ThreatModel(norm, 0.2), lgm_model()
    plain = MIFGSM(momentum_ascent(steps=4, momentum=0.0), loss="cross_entropy")
    ours = plain(model, IMAGES, LABELS, threat=threat, seed=0)
    theirs = pgd(steps=4, step=0.25, random_start=False)(model, IMAGES, LABELS, threat=threat, seed=0)
    torch.testing.assert_close(ours.images, theirs.images)


def test_a_kernel_keeps_what_is_even_and_spreads_a_point() -> None:
    torch.testing.assert_close(smoothed(torch.ones(1, 2, 9, 9), 2)[..., 2:-2, 2:-2], torch.ones(1, 2, 5, 5))
    point = torch.zeros(1, 2, 9, 9)
    point[0, 1, 4, 4] = 1.0
    spread = smoothed(point, 2)
    assert not spread[0, 0].any()
    assert spread.sum().item() == pytest.approx(1)
    assert spread[0, 1, 4, 4] / spread[0, 1, 4, 5] == pytest.approx(math.exp(3 / 8))


def test_diverse_images_are_small_ones_on_black() -> None:
    torch.manual_seed(0)
    white = torch.ones(2, 3, 40, 40)
    assert torch.equal(diverse(white, chance=0.0), white)
    sides = [round(diverse(white, chance=1.0)[0, 0].sum().sqrt().item()) for _ in range(50)]
    assert min(sides) >= 36
    assert max(sides) <= 40
    assert len(set(sides)) > 2
    kept = sum(torch.equal(diverse(white, chance=0.3), white) for _ in range(200))
    assert 110 < kept < 190  # seven in ten, and those whose side is drawn whole


def test_the_logits_of_several_classifiers_are_averaged() -> None:
    models = [lgm_model(), softmax_model()]
    joint = joint_classifier(models)
    torch.testing.assert_close(joint(IMAGES), torch.stack([model(IMAGES) for model in models]).mean(dim=0))
    assert joint.head.classes == 3
    assert joint_classifier(models[:1]) is models[0]
    result = Transfer(MIFGSM(momentum_ascent(steps=5)), joint)(
        lgm_model(), IMAGES, LABELS, threat=ThreatModel("linf", 0.5), seed=0
    )
    assert success_rate(result) == 1.0
    assert result.zero_gradient is None


class Tilted(Bands):
    """Another network for the same pictures."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels) * torch.tensor([3.0, 1.0, 0.5])


def test_the_cosines_of_several_networks_are_averaged() -> None:
    networks = [Bands().eval(), Tilted().eval()]
    joint = joint_network(networks)
    one, other = IMAGES, IMAGES.roll(1, dims=0)
    cosines = [torch.cosine_similarity(each(one), each(other)) for each in networks]
    torch.testing.assert_close(
        torch.cosine_similarity(joint(one), joint(other)), torch.stack(cosines).mean(dim=0)
    )
    models = [AttackedModel(network, lgm_model().objective) for network in networks]
    source = joint_verifier(models)
    result = PairTransfer(PairMIFGSM("impersonation", momentum_ascent(steps=5)), source)(
        networks[0], one, other, threat=ThreatModel("linf", 0.3), seed=0
    )
    assert (result.similarity > result.clean_similarity).all()


def test_several_sources_are_named_and_spared() -> None:
    section = TransferConfig(name="transfer", epsilons=(0.1,), source=("a", "b"))
    assert [section.attacks(model) for model in "abc"] == [False, False, True]
    assert TransferConfig(name="transfer", epsilons=(0.1,), source="a").source_models == ("a",)


def test_a_record_from_before_a_key_existed_was_made_with_its_default(tmp_path: Path) -> None:
    made = finding("pgd", 0.1, [True], tmp_path)
    now = {"trial": made.trial.settings()}
    before = {"trial": {**now["trial"], "attack": dict(now["trial"]["attack"])}}
    del before["trial"]["attack"]["samples"]
    earlier = replace(made, record=made.record.model_copy(update={"about": before}))
    refuse_other_settings(earlier, now)
    now["trial"]["attack"]["samples"] = 20
    with pytest.raises(InputError, match=r"trial\.attack\.samples 1 -> 20"):
        refuse_other_settings(earlier, now)


def test_a_control_like_an_attack_from_before_a_key_existed_was_made_with_its_default(
    tmp_path: Path,
) -> None:
    attack = finding("pgd", 0.1, [True], tmp_path)
    control = replace(attack.trial, label="noise-like-pgd", attack=None, like=attack.trial, control="noise")
    now = {"trial": control.settings()}
    before = copy.deepcopy(now)
    del before["trial"]["like"]["attack"]["samples"]
    record = attack.record.model_copy(update={"about": before})
    refuse_other_settings(replace(attack, trial=control, record=record), now)
    now["trial"]["like"]["attack"]["samples"] = 20
    with pytest.raises(InputError, match=r"trial\.like\.attack\.samples 1 -> 20"):
        refuse_other_settings(replace(attack, trial=control, record=record), now)


def test_a_source_of_other_people_does_not_see_as_the_attacked_model_even_where_they_are_as_many() -> None:
    def run(*names: str) -> LoadedRun:
        images = ImageSet(torch.zeros(2, *SHAPE, dtype=torch.uint8), torch.arange(2), names)
        return LoadedRun(lgm_model(), images, images)

    attacked = run("ann", "bob", "cid")
    assert attacked.sees_as(run("ann", "bob", "cid"), classes=True)
    for others in (("ann", "bob", "dan"), ("bob", "ann", "cid")):
        assert not attacked.sees_as(run(*others), classes=True)
        assert attacked.sees_as(run(*others), classes=False)
