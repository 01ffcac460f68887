"""Every shipped table: its losses make ten steps, its networks one, and its augmentation works.

The ten steps are those of a small layer: the tables' own networks would need minutes for them. Each network
makes one step at the smallest input that it takes, apart from those in `TOO_LARGE`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from data_prep.alignment import find_template, refuse_unfit_input
from faceverif.classification.augmentation import augment_images
from faceverif.classification.classifier import Classifier
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.networks import build_network
from faceverif.classification.sources import PIXEL_STATISTICS
from faceverif.config.run import RunConfig
from faceverif.config.yaml_text import parse_yaml
from faceverif.experiment.config import load_experiment
from faceverif.experiment.plan import plan_runs
from faceverif.objective import LearningModel, Objective
from faceverif.penalties import Lesson
from faceverif.training.optimizer import build_optimizer
from faceverif.training.recognition_model import RecognitionModel
from faceverif.training.teachers.base import TeacherOutput

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TABLES = sorted(
    path for path in CONFIGS.glob("*/*.yaml") if "methods" in parse_yaml(path.read_text(encoding="utf-8"))
)
CLASSES, DIM, BATCH, STEPS = 12, 6, 36, 10
SHAPES = {"mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28), "digits": (1, 8, 8), "fer2013": (1, 48, 48)}
LARGE = {"imagenet", "flowers102"}
# Side of the smallest images that a network takes; 8 for the others.
SMALLEST_PX = {"alexnet": 32, "lenet5": 16, "fer_vgg": 16}
# Millions of parameters of the networks that make no step here: it would take one to two seconds each.
TOO_LARGE = {
    "resnet50": 23.5,
    "resnet101": 42.5,
    "fer_vgg": 23.6,
    "lgm_resnet": 23.4,
    "iresnet 50": 31.8,
    "sphereface 64": 38.2,
}


@cache
def settings_of(path: Path) -> tuple[ClassificationConfig | RunConfig, ...]:
    return tuple(run.config for run in plan_runs(load_experiment(path), source=str(path)))


def has_teacher(config: ClassificationConfig | RunConfig) -> bool:
    return isinstance(config, RunConfig) and config.teacher is not None


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_loss_makes_ten_steps(path: Path) -> None:
    """With its own optimizer, on embeddings that a linear layer makes of small clusters."""
    seen: set[str] = set()
    for config in settings_of(path):
        parts = (config.head, config.criterion, config.penalties, config.optimizer)
        if str(parts) in seen:
            continue
        seen.add(str(parts))
        torch.manual_seed(0)
        network = nn.Linear(8, DIM)
        objective = Objective(config, classes=CLASSES, embedding_dim=DIM)
        model = nn.ModuleList([network, objective])
        optimizer = build_optimizer(config.optimizer, model)
        labels = torch.arange(BATCH) % CLASSES
        before = network.weight.detach().clone()
        lesson = Lesson(torch.randn(BATCH, DIM)) if has_teacher(config) else None
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = objective(network(torch.randn(CLASSES, 8)[labels]), labels, lesson).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            objective.end_epoch()
        assert loss.isfinite()
        assert not torch.equal(network.weight, before)


def distinct_networks() -> dict[str, ClassificationConfig | RunConfig]:
    """A config with each network that is built here; the length of its embedding makes no other network."""
    found: dict[str, ClassificationConfig | RunConfig] = {}
    for path in TABLES:
        for config in settings_of(path):
            section = config.network if isinstance(config, ClassificationConfig) else config.backbone
            if section.name == "onnx":  # its network lies in an imported model
                continue
            found.setdefault(str(section.model_copy(update={"embedding_dim": None})), config)
    return found


def size_named(config: ClassificationConfig | RunConfig) -> str:
    section = config.network if isinstance(config, ClassificationConfig) else config.backbone
    depth = getattr(section, "depth", "") if not isinstance(config, ClassificationConfig) else ""
    return f"{section.name} {depth}".strip()


def smallest_model(config: ClassificationConfig | RunConfig) -> tuple[LearningModel, tuple[int, int, int]]:
    """The model of a config for the smallest images, and their shape."""
    if isinstance(config, RunConfig):
        backbone = config.backbone.model_copy(update={"input_px": 32})
        config = config.model_copy(update={"backbone": backbone})
        return RecognitionModel(config, classes=CLASSES), (3, 32, 32)
    side = SMALLEST_PX.get(config.network.name, 8)
    shape = shape_of(config.data.name)[0], side, side
    return Classifier(config, shape=shape, classes=CLASSES), shape


def test_every_network_makes_a_step_with_its_loss_and_optimizer() -> None:
    networks = distinct_networks()
    assert len(networks) > 20
    assert {size_named(config) for config in networks.values()} >= TOO_LARGE.keys()
    labels = torch.tensor([0, 0, 1, 1])  # SNR and the pair losses need a class twice
    for config in networks.values():
        if size_named(config) in TOO_LARGE:
            continue
        torch.manual_seed(0)
        model, shape = smallest_model(config)
        optimizer = build_optimizer(config.optimizer, model.train())
        weight = next(each for each in model.parameters() if each.ndim == 4)
        before = weight.detach().clone()
        pixels = torch.randint(256, (len(labels), *shape), dtype=torch.uint8)
        taught = (
            [TeacherOutput(torch.randn(4, config.backbone.embedding_dim), {})] if has_teacher(config) else []
        )
        loss = model(
            pixels if isinstance(config, ClassificationConfig) else pixels / 255, labels, *taught
        ).loss
        loss.backward()
        optimizer.step()
        assert loss.isfinite(), config
        assert not torch.equal(weight, before), config


def image_configs(part: str) -> list[tuple[str, Any]]:
    """Each data set with each network, or augmentation, that a table uses on it."""
    found: dict[str, tuple[str, Any]] = {}
    for path in TABLES:
        for config in settings_of(path):
            if isinstance(config, ClassificationConfig):
                section = getattr(config, part)
                found.setdefault(f"{config.data.name} {section}", (config.data.name, section))
    return list(found.values())


def shape_of(data: str) -> tuple[int, int, int]:
    return (3, 224, 224) if data in LARGE else SHAPES.get(data, (3, 32, 32))


def test_every_network_takes_the_images_of_its_data() -> None:
    pairs = {(data, section.name): section for data, section in image_configs("network")}
    assert len(pairs) > 12
    for (data, name), section in pairs.items():
        if name == "resnet101" or (data == "cifar10" and name in ("resnet50", "googlenet")):
            continue  # resnet50 with more blocks; tested with the networks
        with torch.device("meta"):  # shapes without arithmetic
            network = build_network(section, shape=shape_of(data), pixels=PIXEL_STATISTICS[data]).eval()
            assert network(torch.rand(2, *shape_of(data))).shape == (2, network.embedding_dim)


def test_inputs_fit_the_crops_that_a_table_names() -> None:
    faces = {
        (config.data.path.name, config.backbone.input_px)
        for path in TABLES
        for config in settings_of(path)
        if isinstance(config, RunConfig)
    }
    assert len(faces) >= 5
    for name, input_px in faces:
        side = re.findall(r"\d+", name)[-1]  # casia-128, faces_webface_112x112
        refuse_unfit_input(find_template(f"arcface-{side}"), input_px=input_px)


def test_every_augmentation_keeps_the_shape_of_its_images() -> None:
    for data, section in image_configs("augmentation"):
        shape = shape_of(data)
        images = torch.randint(256, (3, *shape), dtype=torch.uint8)
        augmented = augment_images(images, section, generator=torch.Generator().manual_seed(0))
        assert (augmented.shape, augmented.dtype) == (images.shape, torch.uint8)
