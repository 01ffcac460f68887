"""Every shipped table: its losses make ten steps, its networks take the images, its augmentation works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from faceverif.classification.augmentation import augment_images
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.networks import build_network
from faceverif.classification.sources import PIXEL_STATISTICS
from faceverif.config.run import RunConfig
from faceverif.config.yaml_text import parse_yaml
from faceverif.experiment.config import load_experiment, plan_runs
from faceverif.objective import Objective
from faceverif.training.optimizer import build_optimizer

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TABLES = sorted(
    path for path in CONFIGS.glob("*/*.yaml") if "methods" in parse_yaml(path.read_text(encoding="utf-8"))
)
CLASSES, DIM, BATCH, STEPS = 12, 6, 36, 10
SHAPES = {"mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28), "digits": (1, 8, 8), "fer2013": (1, 48, 48)}
LARGE = {"imagenet", "flowers102"}


def settings_of(path: Path) -> Iterator[ClassificationConfig | RunConfig]:
    for run in plan_runs(load_experiment(path), source=str(path)):
        yield run.config


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
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = objective(network(torch.randn(CLASSES, 8)[labels]), labels).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            objective.end_epoch()
        assert loss.isfinite()
        assert not torch.equal(network.weight, before)


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


def test_every_augmentation_keeps_the_shape_of_its_images() -> None:
    for data, section in image_configs("augmentation"):
        shape = shape_of(data)
        images = torch.randint(256, (3, *shape), dtype=torch.uint8)
        augmented = augment_images(images, section, generator=torch.Generator().manual_seed(0))
        assert (augmented.shape, augmented.dtype) == (images.shape, torch.uint8)
