"""Training for interval bounds: what it counts, that it verifies more, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import mobile_run_config as run_config
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.classification.classifier import Classifier
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.training import train_classifier
from faceverif.config.adversarial import AdversarialConfig
from faceverif.config.reading import validate_config
from faceverif.images.labelled import as_pixels
from faceverif.training.adversarial import Robustness
from faceverif.training.bounded import BoundedModel
from robustness.certificates.verified import verify_images

BOUNDS = AdversarialConfig(attack="ibp", epsilon=0.1)


def digits(
    adversarial: dict[str, Any] | None, *, epochs: int = 1, head: str = "softmax"
) -> ClassificationConfig:
    settings = {
        "seed": 3,
        "data": {"name": "digits", "limit": 400},
        "network": {"name": "strided_conv", "embedding_dim": 32},
        "head": {"name": head},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "schedule": {"name": "cosine"},
        "training": {"epochs": epochs, "batch_size": 40, "adversarial": adversarial},
    }
    return validate_config(ClassificationConfig, settings, source="test")


def classifier(head: str = "softmax") -> Classifier:
    torch.manual_seed(0)
    return Classifier(digits(None, head=head), shape=(1, 8, 8), classes=10).train()


def test_bounds_in_training_count_no_less_than_any_change() -> None:
    model = classifier()
    pictures, labels = torch.randint(256, (6, 1, 8, 8), dtype=torch.uint8), torch.arange(6)
    clean, head = as_pixels(pictures), model.objective.head
    own = F.cross_entropy(head.logits(model.embed(clean)), labels)
    bounded = BoundedModel(model, BOUNDS)
    torch.testing.assert_close(bounded(pictures, labels, 0.0).loss, own)
    for share in (0.5, 1.0):
        worst = (bounded(pictures, labels, share).loss - (1 - share / 2) * own) / (share / 2)
        changes = share * 0.1 * torch.randn(50, 6, 1, 8, 8).sign()
        for change in changes:
            under = F.cross_entropy(head.logits(model.embed((clean + change).clamp(0, 1))), labels)
            assert own < worst
            assert under < worst
    loss = bounded(pictures, labels, 1.0).loss
    loss.backward()
    assert model.training
    assert all(weight.grad is not None for weight in model.parameters())


def test_a_training_for_bounds_verifies_what_a_plain_one_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gap = Robustness(clean_accuracy=1.0, fgsm_accuracy=0.9, robust_accuracy=0.1)
    monkeypatch.setattr("faceverif.training.one_step.measure_robustness", lambda *_, **__: gap)
    found = {}
    for name, attack in (("plain", None), ("ibp", {"attack": "ibp", "epsilon": 0.02, "warmup_epochs": 2})):
        train_classifier(digits(attack, epochs=4), tmp_path / name, resume=False)
        verify_images(tmp_path / name, tmp_path / f"{name}-verified", epsilons=(0.02,), images=40, seed=0)
        found[name] = json.loads((tmp_path / f"{name}-verified" / "result.json").read_text())["at_epsilon"][1]
    assert "overfitting" not in capsys.readouterr().err
    assert found["ibp"]["verified_error"] < 0.9 < found["plain"]["verified_error"]


def test_what_has_no_bounds_is_refused_in_one_line(tmp_path: Path) -> None:
    message = r"^training\.adversarial\.attack: ibp: the model must have a softmax head.*; got CosFaceHead\."
    with pytest.raises(InputError, match=message):
        BoundedModel(classifier("cosface"), BOUNDS)(
            torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), 1.0
        )
    with pytest.raises(InputError, match=r"training\.adversarial\.attack: must be .* for faces"):
        run_config(tmp_path, training={"adversarial": {"attack": "ibp", "epsilon": 0.1}})
