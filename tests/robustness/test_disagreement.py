"""Detectors that compare a picture with views of it: by brute force, and under attacks that know them."""

from __future__ import annotations

import io
import math
from itertools import product
from operator import mul

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import median_filter
from torch import Tensor, nn
from toy_models import Bands, band_images, lgm_model, pgd, softmax_model

from data_prep.errors import InputError
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel
from robustness.attacks.adaptive import Adaptive
from robustness.attacks.pair_adaptive import PairAdaptive
from robustness.attacks.sweep import Sweep
from robustness.detectors import DETECTORS, build_detector
from robustness.detectors.disagreement import fewer_levels
from robustness.detectors.rejection_threshold import calibrate
from robustness.detectors.views import View, corner_crop, median_filtered, reduced_depth, through_jpeg
from robustness.features import extract_features
from robustness.no_head import NoObjective

NAMES = ("feature_squeezing", "jpeg_disagreement", "crop_disagreement")


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.rand(3, 1, 7, 6, generator=torch.Generator().manual_seed(0))


def test_fewer_levels_by_brute_force(pixels: Tensor) -> None:
    for bits in (1, 3):
        levels = [step / (2**bits - 1) for step in range(2**bits)]
        nearest = [min(levels, key=lambda level: abs(level - value)) for value in pixels.flatten().tolist()]
        assert reduced_depth(pixels, bits=bits).flatten().tolist() == pytest.approx(nearest, abs=1e-6)
    assert fewer_levels(pixels).unique().tolist() == [0, 1]
    assert len(fewer_levels(pixels.expand(-1, 3, -1, -1)).unique()) > 10  # colours keep 5 bits


@pytest.mark.parametrize("size", [2, 3])
def test_the_median_is_that_of_scipy(pixels: Tensor, size: int) -> None:
    found = median_filtered(pixels, size=size)
    for picture, expected in zip(found[:, 0], pixels[:, 0].numpy(), strict=True):
        np.testing.assert_array_equal(picture.numpy(), median_filter(expected, size=size))


def test_a_crop_by_brute_force(pixels: Tensor) -> None:
    """Bilinear, with the centres of the pixels half a pixel from the border."""
    height, width = 5, 4  # 0.7 of 7 and of 6
    found = corner_crop(pixels, share=0.7, corner=(2, 0))
    part = pixels[:, 0, 2:, :4].tolist()
    for number, row, column in product(range(3), range(7), range(6)):
        at = []
        for place, kept, side in ((row, height, 7), (column, width, 6)):
            exact = min(max((place + 0.5) * kept / side - 0.5, 0), kept - 1)
            low = min(int(exact), kept - 2)
            at.append(((low, 1 - (exact - low)), (low + 1, exact - low)))
        value = sum(wy * wx * part[number][y][x] for (y, wy), (x, wx) in product(*at))
        assert found[number, 0, row, column].item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_a_file_holds(channels: int) -> None:
    pixels = torch.rand(2, channels, 16, 16, generator=torch.Generator().manual_seed(1))
    for picture, found in zip(pixels, through_jpeg(pixels, quality=75), strict=True):
        grey = np.rint(picture.numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        file = io.BytesIO()
        Image.fromarray(grey.squeeze()).save(file, "JPEG", quality=75)
        expected = np.asarray(Image.open(file), np.float32).reshape(16, 16, channels) / 255
        np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "view",
    [lambda pixels: reduced_depth(pixels, bits=1), lambda pixels: through_jpeg(pixels, quality=50)],
    ids=["levels", "jpeg"],
)
def test_what_has_no_gradient_lends_that_of_the_identity(pixels: Tensor, view: View) -> None:
    asked = pixels.clone().requires_grad_()
    wanted = torch.rand_like(pixels)
    (gradient,) = torch.autograd.grad((view(asked) * wanted).sum(), asked)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_score_is_the_largest_distance_of_two_softmaxes(name: str) -> None:
    model = softmax_model()
    detector = build_detector(name, model).fit(extract_features(model, *band_images(9)))
    images, labels = band_images(9, seed=4, noise=0.4)
    scores = detector.score(extract_features(model, images, labels, views=detector.views))

    def shares(version: Tensor) -> list[list[float]]:
        exponentials = model(version).double().exp()
        return (exponentials / exponentials.sum(dim=1, keepdim=True)).tolist()

    plain, seen = shares(images), [shares(view(images)) for view in detector.views.values()]
    expected = [
        max(sum(abs(a - b) for a, b in zip(plain[at], its[at], strict=True)) for its in seen)
        for at in range(len(images))
    ]
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)
    assert len(set(scores.tolist())) > 1


def test_without_a_head_it_compares_embeddings() -> None:
    model = AttackedModel(Bands(), NoObjective(embedding_dim=3)).eval()
    detector = build_detector("crop_disagreement", model)
    features = extract_features(model, *band_images(5, seed=4, noise=0.4), views=detector.views)
    scores = detector.fit(features).score(features)

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(map(mul, a, b)) / math.hypot(*a) / math.hypot(*b)

    plain = features.embeddings.tolist()
    seen = [its.embeddings.tolist() for its in features.views.values()]
    expected = [1 - min(cosine(a, its[at]) for its in seen) for at, a in enumerate(plain)]
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)
    assert len(set(scores.tolist())) > 1


def test_features_without_the_views_are_refused() -> None:
    model = softmax_model()
    clean = extract_features(model, *band_images(9))
    with pytest.raises(
        InputError, match=r"features: must hold the views that FeatureSqueezing .* fewer-levels, median"
    ):
        build_detector("feature_squeezing", model).fit(clean).score(clean)


def test_views_do_not_depend_on_the_portion_or_on_the_type_of_the_pixels() -> None:
    model, views = lgm_model(), DETECTORS["feature_squeezing"](lgm_model()).views
    images, labels = band_images(10)
    bytes_ = (images * 255).round().to(torch.uint8)
    whole = extract_features(model, bytes_, labels, views=views)
    parts = extract_features(model, bytes_.float() / 255, labels, views=views, portion=3)
    for name in views:
        torch.testing.assert_close(whole.views[name].embeddings, parts.views[name].embeddings)
    some = whole.take(torch.tensor([4, 2]))
    assert torch.equal(some.views["median"].logits, whole.views["median"].logits[[4, 2]])


class Speckled(nn.Module):
    """Bands, and a weak second reading of every other column that only fine patterns move."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, pixels: Tensor) -> Tensor:
        fine = pixels[..., 0::2] - pixels[..., 1::2]  # (N, 1, 3, 3): no band's brightness
        return self.plain(pixels) + 12.0 * fine.mean(dim=(1, 2))


@pytest.fixture(scope="module")
def fragile() -> AttackedModel:
    """A model that fine patterns fool, which the views blur."""
    model = softmax_model(sharpness=3.0)
    return AttackedModel(Speckled(model.network), model.objective).eval()


@pytest.mark.parametrize(
    ("name", "epsilon", "at_least"),
    [("feature_squeezing", 0.45, 0.8), ("jpeg_disagreement", 0.1, 0.1), ("crop_disagreement", 0.3, 0.8)],
)
def test_an_attack_that_knows_the_views_gets_past_them_where_pgd_does_not(
    fragile: AttackedModel, name: str, epsilon: float, at_least: float
) -> None:
    threat = ThreatModel("linf", epsilon)
    detector = build_detector(name, fragile).fit(extract_features(fragile, *band_images(9)))
    clean = extract_features(fragile, *band_images(300, seed=3, noise=0.02), views=detector.views)
    point = calibrate(detector.score(clean), 0.05)
    images, labels = band_images(12, seed=1, noise=0.02)

    def undetected(attack: Adaptive | object) -> float:
        result = attack(fragile, images, labels, threat=threat, seed=0)  # type: ignore[operator]
        seen = extract_features(fragile, result.images, labels, views=detector.views)
        return float((result.success.numpy() & ~point.rejects(detector.score(seen))).mean())

    adaptive = Adaptive(detector, Sweep(point.threshold, weights=(0.0, 1.0, 10.0), steps=15, restarts=2))
    passed = undetected(adaptive)
    assert passed > undetected(pgd(steps=15, loss="margin"))
    assert passed > at_least


def test_on_pairs_the_attack_raises_the_cosine_of_all_views(fragile: AttackedModel) -> None:
    detector = build_detector("crop_disagreement", fragile).fit(extract_features(fragile, *band_images(9)))
    images, _ = band_images(6, seed=1)
    sweep = Sweep(0.1, weights=(0.0, 1.0), steps=5, restarts=1)
    attack = PairAdaptive("impersonation", fragile.head, detector, sweep, accept_from=0.9)
    result = attack(fragile.network, images, images.roll(1, dims=0), threat=ThreatModel("linf", 0.4), seed=0)
    assert (result.similarity > result.clean_similarity).all()
