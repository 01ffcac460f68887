"""Every score by brute force, its direction, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_ood.detector import Mahalanobis as MahalanobisOfPytorchOod
from toy_models import CLASSES, band_images, lgm_model, prototypes, softmax_model

from data_prep.errors import InputError
from robustness.attacked_model import AttackedModel
from robustness.detectors import DETECTORS, Detector, build_detector
from robustness.detectors.disagreement import (
    CropDisagreement,
    Disagreement,
    FeatureSqueezing,
    JPEGDisagreement,
)
from robustness.features import Features, extract_features, looked_at

OF_VIEWS: dict[str, type[Disagreement]] = {
    "feature_squeezing": FeatureSqueezing,
    "jpeg_disagreement": JPEGDisagreement,
    "crop_disagreement": CropDisagreement,
}
VIEWS = {name: view for detector in OF_VIEWS.values() for name, view in detector.views.items()}
# Rounding and JPEG have the gradient of the identity, which is not that of the score.
STRAIGHT_THROUGH = ("feature_squeezing", "jpeg_disagreement")
OF_DISTANCE = ("lgm_class", "lgm_gaussian", "lgm_mixture", "center", "mahalanobis")


def model_for(name: str) -> AttackedModel:
    return lgm_model(covariance="diagonal") if name.startswith("lgm") else softmax_model(center=True)


def fitted(name: str) -> tuple[Detector, AttackedModel]:
    model = model_for(name)
    return build_detector(name, model).fit(clean_features(model)), model


def clean_features(model: AttackedModel) -> Features:
    return extract_features(model, *band_images(180, seed=3))


def new_features(model: AttackedModel) -> Features:
    return extract_features(model, *band_images(9, seed=4, noise=0.4), views=VIEWS)


def log_density(x: list[float], mean: list[float], log_variance: list[float]) -> float:
    return -0.5 * sum((a - m) ** 2 / math.exp(v) + v for a, m, v in zip(x, mean, log_variance, strict=True))


def brute_force(name: str, model: AttackedModel, features: Features) -> list[float]:
    """The formulas as printed: one sample, scalars."""
    clean = clean_features(model)
    scores = []
    for x, logits in zip(features.embeddings.tolist(), features.logits.tolist(), strict=True):
        predicted = max(range(CLASSES), key=logits.__getitem__)
        if name in ("lgm_class", "center"):
            score = 0.5 * sum((a - m) ** 2 for a, m in zip(x, prototypes().tolist()[predicted], strict=True))
        elif name in ("lgm_gaussian", "lgm_mixture"):
            variances = torch.linspace(-1, 1, CLASSES).tolist()
            densities = [log_density(x, mean, variances) for mean in prototypes().tolist()]
            mixture = math.log(sum(map(math.exp, densities)))
            score = -densities[predicted] if name == "lgm_gaussian" else -mixture
        elif name == "affinity":
            score = -logits[predicted]
        elif name == "max_probability":
            score = -math.exp(logits[predicted]) / sum(map(math.exp, logits))
        elif name == "energy":
            score = -math.log(sum(map(math.exp, logits)))
        elif name == "knn":
            unit = np.array(x) / np.linalg.norm(x)
            others = clean.embeddings.numpy() / np.linalg.norm(clean.embeddings.numpy(), axis=1)[:, None]
            score = sorted(np.linalg.norm(others - unit, axis=1))[49]
        else:
            score = math.nan
        scores.append(score)
    return scores


@pytest.mark.parametrize("name", sorted(DETECTORS.keys() - {"mahalanobis"} - set(OF_VIEWS)))
def test_scores_by_brute_force(name: str) -> None:
    detector, model = fitted(name)
    features = new_features(model)
    found = detector.score(features)
    assert found.shape == (9,)
    assert found.tolist() == pytest.approx(brute_force(name, model, features), rel=1e-4, abs=1e-5)


def test_mahalanobis_is_that_of_pytorch_ood_but_for_its_undivided_covariance() -> None:
    detector, model = fitted("mahalanobis")
    clean, features = clean_features(model), new_features(model)
    other = MahalanobisOfPytorchOod(None).fit_features(clean.embeddings, clean.labels)
    expected = other.predict_features(features.embeddings) * len(clean.labels)
    torch.testing.assert_close(detector.score(features).float(), expected, rtol=1e-3, atol=1e-3)


def test_mahalanobis_ignores_directions_in_which_nothing_varies() -> None:
    model = softmax_model()
    clean = clean_features(model)
    flat = clean._replace(embeddings=clean.embeddings * torch.tensor([1.0, 1.0, 0.0]))
    detector = build_detector("mahalanobis", model).fit(flat)
    raised = flat._replace(embeddings=flat.embeddings + torch.tensor([0.0, 0.0, 5.0]))
    assert detector.score(flat).isfinite().all()
    torch.testing.assert_close(detector.score(raised), detector.score(flat))


@pytest.mark.parametrize("name", OF_DISTANCE)
def test_far_from_all_classes_scores_higher(name: str) -> None:
    detector, model = fitted(name)
    clean = clean_features(model)
    away = clean.embeddings + 8.0
    far = Features(away, model.head.logits(away).detach(), clean.labels)
    assert detector.score(far).min() > detector.score(clean).max()


@pytest.mark.parametrize("name", ["affinity", "max_probability", "energy", "knn"])
def test_between_all_classes_scores_higher(name: str) -> None:
    detector, model = fitted(name)
    clean = clean_features(model)
    middle = prototypes().mean(dim=0, keepdim=True)
    between = Features(middle, model.head.logits(middle).detach(), clean.labels[:1])
    assert (detector.score(between) > detector.score(clean)).double().mean() > 0.95


@pytest.mark.parametrize("name", sorted(DETECTORS.keys() - set(STRAIGHT_THROUGH)))
def test_gradients_flow_from_the_score_to_the_pixels(name: str) -> None:
    detector, model = fitted(name)
    images, labels = band_images(6, seed=8, noise=0.3)

    def total(pixels: torch.Tensor) -> torch.Tensor:
        return detector.score(looked_at(model.embed, model.head, pixels, labels, detector.views)).sum()

    assert detector.differentiable
    asked = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(asked), asked)
    direction = gradient / gradient.norm()
    step = 2e-3
    slope = (total(images + step * direction) - total(images - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_what_was_not_fitted_does_not_score(name: str) -> None:
    model = model_for(name)
    with pytest.raises(InputError, match=r"detector: must be fitted before it scores; got .*, not fitted"):
        build_detector(name, model).score(new_features(model))


@pytest.mark.parametrize("name", ["lgm_class", "lgm_gaussian", "lgm_mixture"])
def test_a_head_without_likelihood_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="needs a head that models a likelihood; got SoftmaxHead"):
        build_detector(name, softmax_model())


def test_a_model_without_centers_is_refused() -> None:
    with pytest.raises(InputError, match="needs a model trained with the center penalty"):
        build_detector("center", softmax_model())


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(InputError, match="detector: must be a known one; got magic"):
        build_detector("magic", softmax_model())


def test_clean_data_that_cannot_be_learnt_from_are_refused() -> None:
    model = softmax_model()
    clean = clean_features(model)
    few = clean.take(torch.arange(5))
    with pytest.raises(InputError, match=r"fit: mahalanobis needs 6 training images .*; got 5\. Raise fit"):
        build_detector("mahalanobis", model).fit(few)
    with pytest.raises(InputError, match=r"fit: knn needs 50 training images or more; got 5\. Raise fit"):
        build_detector("knn", model).fit(few)
    with pytest.raises(InputError, match="clean: features must be finite"):
        build_detector("energy", model).fit(clean._replace(logits=clean.logits * torch.nan))
    with pytest.raises(InputError, match=r"features: must be \(N, 3\) embeddings"):
        build_detector("energy", model).fit(clean._replace(embeddings=clean.embeddings[:, :2]))


def test_features_do_not_depend_on_the_portion_or_on_the_type_of_the_pixels() -> None:
    model = lgm_model()
    images, labels = band_images(10)
    bytes_ = (images * 255).round().to(torch.uint8)
    whole = extract_features(model, bytes_, labels)
    parts = extract_features(model, bytes_.float() / 255, labels, portion=3)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(whole.logits, model(bytes_.float() / 255))
    assert not whole.embeddings.requires_grad
    assert torch.equal(whole.correct, whole.logits.argmax(dim=1) == labels)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_restored_detector_scores_as_before(name: str) -> None:
    detector, model = fitted(name)
    restored = build_detector(name, model).restore(detector.state())
    features = new_features(model)
    torch.testing.assert_close(restored.score(features), detector.score(features))
