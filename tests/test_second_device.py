"""What computes on a GPU does not mix its tensors with the CPU's, shown on a pretended second device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pretend_device
import pytest
import torch
from pretend_device import PRETENDED, Elsewhere, PretendedDevice
from test_attacks import IMAGES, LABELS, SMALL
from toy_models import band_images, lgm_model

from data_prep import device
from data_prep.alignment import find_template
from data_prep.detection.second_pass import TwoPassDetector
from faceverif import similarities
from faceverif.backbones import build_backbone
from faceverif.config.backbones import IResNetConfig
from faceverif.config.run import AugmentationConfig, validate_run_config
from faceverif.identification import search as search_module
from faceverif.identification.search import Gallery, search
from faceverif.models import PreprocessingSpec, TorchEmbedder, model_file
from faceverif.objective import Objective
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.training.augmentation import augment_crops, draw_augmentation
from robustness.attacks.transfer import Transfer
from robustness.detectors import DETECTORS, build_detector
from robustness.features import extract_features, looked_at

HEADS = [
    {"name": "softmax"},
    {"name": "cosface"},
    {"name": "arcface"},
    {"name": "sphereface"},
    {"name": "wsoftmax", "alpha": 0.1},
    {"name": "lgm", "alpha": 0.1},
    {"name": "adaface"},
    {"name": "magface", "lower_norm": 1},
    {"name": "curricularface"},
    {"name": "elastic_arcface", "assign": "by_angle"},
    {"name": "subcenter_arcface"},
]


def waits(func: Any, args: Any) -> bool:
    """Whether an operation must wait for the pretended device: it reads a number there, or counts places."""
    if func is torch.ops.aten.index.Tensor:
        return any(isinstance(each, Elsewhere) and each.dtype == torch.bool for each in args[1])
    reading = {torch.ops.aten.nonzero.default, torch.ops.aten._local_scalar_dense.default}
    return func in reading and isinstance(args[0], Elsewhere)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process computes on the pretended device."""
    monkeypatch.setattr(device, "find_device", lambda _: PRETENDED)
    autocast = torch.autocast
    monkeypatch.setattr(
        torch, "autocast", lambda kind, **own: autocast(kind, **own) if kind != "meta" else nullcontext()
    )
    enabled = torch.is_autocast_enabled
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind="cpu": kind != "meta" and enabled(kind))
    with PretendedDevice():
        yield


@pytest.mark.usefixtures("second")
def test_the_pretended_device_refuses_to_mix() -> None:
    there = torch.arange(4.0).to(PRETENDED)
    assert (there + 1).device == PRETENDED
    assert (there + 1).cpu().tolist() == [1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(4)
    with pytest.raises(TypeError, match=r"call \.cpu"):
        there.numpy()


def test_an_embedder_gives_the_same_there_in_portions(second: None, monkeypatch: pytest.MonkeyPatch) -> None:
    config = IResNetConfig(name="iresnet", depth=18, width=8, input_px=64, embedding_dim=16)
    torch.manual_seed(0)
    backbone = build_backbone(config).eval()
    spec = PreprocessingSpec.of(find_template("arcface-64"), input_px=64)
    crops = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    here = TorchEmbedder(backbone, spec).embed(crops)
    monkeypatch.setattr(model_file, "_PORTION", 2)
    sizes: list[int] = []
    backbone.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    there = TorchEmbedder(backbone.to(PRETENDED), spec)
    assert there.device == "meta"
    np.testing.assert_allclose(there.embed(crops), here, atol=1e-5 * np.abs(here).max())
    assert sizes == [2, 2, 1]


def test_a_gallery_is_searched_there(second: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "COLUMNS", 7)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery = Gallery.of(vectors[:40], rng.integers(0, 25, 40))
    there = search(vectors[40:], gallery, count=5)
    monkeypatch.setattr(similarities, "computing_device", lambda: torch.device("cpu"))
    here = search(vectors[40:], gallery, count=5)
    for one, other in zip(there, here, strict=True):
        assert one.tolist() == other.tolist()


def test_faces_are_found_there(second: None) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert [seen.detection_pass for seen in TwoPassDetector().detect([photo])] == [None]


def test_photos_are_augmented_there_without_waiting(second: None, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"flip": 0.5, "zoom": 0.1, "contrast": 0.3, "grey": 0.2, "erase": 0.5, "low_resolution": 0.7}
    config = AugmentationConfig(**changes)
    draw = draw_augmentation(config, 20, generator=torch.Generator().manual_seed(0))
    crops = torch.randint(0, 256, (20, 32, 32, 3), dtype=torch.uint8)
    here = augment_crops(crops, draw, config=config, input_px=28)
    crops, draw = crops.to(PRETENDED), draw.to(PRETENDED)
    run, waited_for = pretend_device._run, []

    def watched(func: Any, args: Any, kwargs: Any) -> Any:
        waited_for.extend([func] if waits(func, args) else [])
        return run(func, args, kwargs)

    monkeypatch.setattr(pretend_device, "_run", watched)
    there = augment_crops(crops, draw, config=config, input_px=28)
    assert waited_for == []
    assert len(there[there[:, 0, 0, 0] > 2]) == len((there > 2).nonzero()) == 0
    assert not (there > 2).any()
    assert len(waited_for) == 3
    torch.testing.assert_close(there.cpu(), here)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: str(head["name"]))
def test_losses_and_gradients_are_the_same_there(second: None, head: dict[str, object]) -> None:
    config = validate_run_config(
        {
            "data": {"path": "none"},
            "backbone": {"name": "mobilefacenet", "embedding_dim": 16, "input_px": 32},
            "head": head,
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "schedule": {"name": "cosine"},
            "training": {"epochs": 1},
        },
        source="test",
    )
    torch.manual_seed(0)
    objective, given, labels = (
        Objective(config, classes=5, embedding_dim=16),
        torch.randn(6, 16),
        torch.arange(6) % 5,
    )
    losses = []
    for where in (torch.device("cpu"), PRETENDED):
        there = copy.deepcopy(objective).to(where)  # each call moves running statistics
        embeddings = given.clone().to(where).requires_grad_()
        loss = there(embeddings, labels.to(where)).loss
        loss.backward()
        assert embeddings.grad is not None
        losses.append((loss.detach().cpu(), embeddings.grad.cpu()))
    torch.testing.assert_close(losses[0], losses[1])


# foolbox computes these two through eagerpy, which does not follow the pretended tensors everywhere.
# AutoAttack is made of the others, and slow.
_NOT_HERE = {"deepfool", "carlini_wagner", "autoattack"}


@pytest.mark.parametrize("name", sorted(SMALL.keys() - _NOT_HERE))
def test_attacks_do_the_same_there(second: None, name: str) -> None:
    attack = SMALL[name]()
    threat = ThreatModel(min(attack.norms), 0.1, "targeted" in attack.goals)
    here = attack(lgm_model(), IMAGES, LABELS, threat=threat, seed=1)
    if isinstance(attack, Transfer):
        attack.source.to(PRETENDED)
    there = attack(lgm_model().to(PRETENDED), IMAGES, LABELS, threat=threat, seed=1)
    assert there.images.device == torch.device("cpu")
    torch.testing.assert_close(there.images, here.images, atol=1e-4, rtol=0)


def test_detectors_are_fitted_on_the_processor_and_score_there(second: None) -> None:
    model = lgm_model().to(PRETENDED)
    views = {name: view for detector in DETECTORS.values() for name, view in detector.views.items()}
    clean = extract_features(model, *band_images(300))
    assert clean.embeddings.device == torch.device("cpu")
    with torch.no_grad():
        features = looked_at(model.embed, model.head, IMAGES.to(PRETENDED), LABELS.to(PRETENDED), views)
    for name in DETECTORS:
        if name == "center":  # needs the center penalty, which this model was trained without
            continue
        detector = build_detector(name, model).fit(clean)
        assert detector.score(features).device == PRETENDED
        torch.testing.assert_close(
            detector.score(features).cpu(), detector.score(features.cpu()), atol=1e-4, rtol=1e-4
        )
