"""Adversarial training: the attack on a batch, what is learnt from it, and a run from config to metrics."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_faces import write_faces
from small_runs import checkpoint, tensors
from small_runs import mobile_run_config as run_config
from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.data import load_image_sets
from faceverif.classification.dry_run import rehearse as rehearse_images
from faceverif.classification.learner import ClassifierLearner
from faceverif.classification.trained import load_classifier
from faceverif.classification.training import train_classifier
from faceverif.config.adversarial import AdversarialConfig
from faceverif.config.heads import CosFaceConfig
from faceverif.config.reading import validate_config
from faceverif.images.labelled import as_pixels
from faceverif.objective import LearningModel, Objective
from faceverif.training.adversarial import (
    AdversarialModel,
    NoisyModel,
    Robustness,
    changed_pixels,
    measure_robustness,
)
from faceverif.training.dry_run import rehearse
from faceverif.training.learner import Learner
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")

PGD = {"attack": "pgd", "epsilon": 0.15, "steps": 2}
HEAD: dict[str, Any] = {"name": "cosface", "scale": 8, "margin": 0.1}


def digits(adversarial: dict[str, Any] | None, **training: Any) -> ClassificationConfig:
    settings = {
        "seed": 3,
        "data": {"name": "digits", "limit": 400},
        "network": {"name": "strided_conv", "embedding_dim": 32},
        "head": {"name": "softmax"},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 2, "batch_size": 40, "adversarial": adversarial, **training},
    }
    return validate_config(ClassificationConfig, settings, source="test")


class Small(LearningModel):
    """A network with batch normalisation and dropout, under a head with a margin."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = digits(None).model_copy(update={"head": CosFaceConfig(**HEAD)})
        layers = (nn.Flatten(), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 5))
        self.network = nn.Sequential(*layers)
        self.objective = Objective(config, classes=3, embedding_dim=5)

    @property
    def layers(self) -> nn.Module:
        return self.network

    def embed(self, pixels: Tensor) -> Tensor:
        return self.network(pixels)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(9, 1, 4, 4, generator=generator), torch.arange(9) % 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attack": "pgd", "epsilon": 0}, "greater than 0"),
        ({"attack": "pgd", "epsilon": 30}, "adversarial.epsilon: must be at most 1 with linf"),
        ({"attack": "pgd", "epsilon": 0.1, "steps": 0}, "adversarial.steps"),
        ({"attack": "fgsm_rs", "epsilon": 0.1, "steps": 4}, "must be 1 with fgsm_rs"),
        ({"attack": "pgd", "epsilon": 0.1, "beta": 3}, "is for trades, not for pgd"),
        ({"attack": "pgd", "epsilon": 0.1, "compare": "probabilities"}, "only trades compares probabilities"),
        ({"attack": "ibp", "epsilon": 0.1, "compare": "embeddings"}, "is for attacks, and ibp is none"),
        ({"attack": "pgd"}, "epsilon: must be given"),
        ({"attack": "ibp", "epsilon": 0.1, "norm": "l2"}, "must be linf with ibp"),
        ({"attack": "ibp", "epsilon": 0.1, "steps": 3}, "is for attacks, and ibp is none"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        digits(settings)


def test_the_noise_of_a_training_does_not_depend_on_the_device(
    batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, labels = batch
    model = Small().eval()
    monkeypatch.setattr("faceverif.training.adversarial.normal_like", torch.ones_like)
    noisy, learnt = (
        NoisyModel(model, 0.25)(clean, labels, 1.0),
        model.objective(model.embed(clean + 0.25), labels),
    )
    assert torch.equal(noisy.loss, learnt.loss)
    config = AdversarialConfig(attack="trades", epsilon=0.1, steps=1, step=1e-6)
    start = changed_pixels(model, clean, labels, config=config)
    torch.testing.assert_close(start, (clean + 0.001).clamp(0, 1), atol=1e-6, rtol=0)


def test_the_attack_is_the_papers_algorithm(batch: tuple[Tensor, Tensor]) -> None:
    """Wong et al. (2020), Algorithm 3, and Madry et al.: written out in a loop."""
    clean, labels = batch
    model = Small().train()
    for attack, steps, step in (("fgsm_rs", 1, 1.25), ("pgd", 4, 2.5 / 4)):
        config = AdversarialConfig(attack=attack, epsilon=0.1, steps=steps)  # type: ignore[arg-type]
        torch.manual_seed(5)
        found = changed_pixels(model, clean, labels, config=config)
        torch.manual_seed(5)
        delta = torch.empty_like(clean).uniform_(-0.1, 0.1)
        model.eval()
        for _ in range(steps):
            pixels = (clean + delta).clamp(0, 1).requires_grad_()
            logits = model.objective.head(model.embed(pixels), labels).margin_logits
            gradient = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), pixels)[0]
            delta = (pixels.detach() - clean + 0.1 * step * gradient.sign()).clamp(-0.1, 0.1)
        model.train()
        torch.testing.assert_close(found, (clean + delta).clamp(0, 1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("attack", "compare"),
    [("pgd", None), ("trades", "probabilities"), ("trades", "embeddings"), ("pgd", "embeddings")],
)
def test_a_change_stays_in_its_ball_and_hurts(
    batch: tuple[Tensor, Tensor], norm: Any, attack: Any, compare: Any
) -> None:
    clean, labels = batch
    model = Small().train()
    config = AdversarialConfig(attack=attack, norm=norm, epsilon=0.3, compare=compare)
    changed = changed_pixels(model, clean, labels, config=config, share=0.5)
    sizes = torch.linalg.vector_norm((changed - clean).flatten(1), torch.inf if norm == "linf" else 2, dim=1)
    assert sizes.max() <= 0.15 + 1e-6
    assert sizes.min() > 0.05
    assert 0 <= changed.min() <= changed.max() <= 1
    random = (clean + (changed - clean).abs() * torch.randn_like(clean).sign()).clamp(0, 1)
    model.eval()
    own, moved, elsewhere = (model.embed(pixels) for pixels in (clean, changed, random))
    for_classes = model.objective.head.logits
    raised: dict[Any, Callable[[Tensor], Tensor]] = {
        None: lambda embeddings: F.cross_entropy(for_classes(embeddings), labels),
        "probabilities": lambda embeddings: F.kl_div(
            for_classes(embeddings).log_softmax(1), for_classes(own).softmax(1), reduction="sum"
        ),
        "embeddings": lambda embeddings: -F.cosine_similarity(own, embeddings).sum(),
    }
    assert raised[compare](moved) > raised[compare](elsewhere)


def test_the_attack_leaves_statistics_modes_and_gradients_as_they_were(batch: tuple[Tensor, Tensor]) -> None:
    model = Small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    changed_pixels(model, *batch, config=AdversarialConfig(**PGD))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(part.training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    AdversarialModel(model, AdversarialConfig(**PGD))(*batch, 1.0)
    statistics = model.network[2].num_batches_tracked  # type: ignore[union-attr]
    assert statistics == 1  # the pass that learns, and no other


@pytest.mark.parametrize("compare", ["probabilities", "embeddings"])
def test_trades_adds_the_divergence_to_the_clean_objective(
    batch: tuple[Tensor, Tensor], compare: Any
) -> None:
    clean, labels = batch
    model = Small().eval()  # without dropout both sides see the same network
    config = AdversarialConfig(attack="trades", epsilon=0.2, beta=2.5, compare=compare)
    torch.manual_seed(9)
    loss = AdversarialModel(model, config)(clean, labels, 1.0).loss
    torch.manual_seed(9)
    changed = changed_pixels(model, clean, labels, config=config)
    own, moved = model.embed(clean), model.embed(changed)
    if compare == "probabilities":
        before, after = (model.objective.head.logits(each).softmax(dim=1) for each in (own, moved))
        apart = (before * (before / after).log()).sum(dim=1)
    else:
        apart = 1 - (own * moved).sum(dim=1) / own.norm(dim=1) / moved.norm(dim=1)
    torch.testing.assert_close(loss, model.objective(own, labels).loss + 2.5 * apart.mean())


@pytest.mark.parametrize("attack", ["fgsm_rs", "pgd", "trades"])
def test_every_weight_learns_under_mixed_precision(batch: tuple[Tensor, Tensor], attack: Any) -> None:
    """Autocast remembers weights that it has cast; those cast in the attack must still have gradients."""
    model = Small().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        AdversarialModel(model, AdversarialConfig(attack=attack, epsilon=0.1))(*batch, 1.0).loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_epsilon_grows_and_a_share_of_zero_is_a_plain_step(batch: tuple[Tensor, Tensor]) -> None:
    model = Small().eval()
    seen = AdversarialModel(model, AdversarialConfig(**PGD))
    torch.testing.assert_close(seen(*batch, 0.0).loss, model(*batch).loss)
    assert seen(*batch, 0.0).loss < seen(*batch, 0.5).loss < seen(*batch, 1.0).loss


class Killed(Exception):
    pass


def kill_at(monkeypatch: pytest.MonkeyPatch, learner: type[Any], last: int) -> None:
    update = learner.update

    def dying(self: Any, *, step: int) -> None:
        if step == last:
            raise Killed
        update(self, step=step)

    monkeypatch.setattr(learner, "update", dying)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{key: cell for key, cell in row.items() if key not in TIMES} for row in csv.DictReader(file)]


TIMES = {"seconds", "images_per_s"}


def test_an_image_run_resists_more_than_a_plain_one_and_resumes_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = digits(PGD | {"warmup_epochs": 1.0}, epochs=5)
    train_classifier(config, tmp_path / "whole", resume=False)
    with monkeypatch.context() as patch:
        kill_at(patch, ClassifierLearner, 33)
        with pytest.raises(Killed):
            train_classifier(config, tmp_path / "killed", resume=False)
    train_classifier(config, tmp_path / "killed", resume=True)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert set(Robustness._fields) <= rows(tmp_path / "whole")[-1].keys()
    train_classifier(digits(None, epochs=5), tmp_path / "plain", resume=False)
    assert "robust_accuracy" not in rows(tmp_path / "plain")[-1]
    hardened, plain = (robustness_of(tmp_path / name) for name in ("whole", "plain"))
    assert hardened.robust_accuracy > plain.robust_accuracy + 0.1
    assert float(rows(tmp_path / "whole")[-1]["robust_accuracy"]) == pytest.approx(
        hardened.robust_accuracy, abs=0.05
    )


def robustness_of(run: Path) -> Robustness:
    trained = load_classifier(run)
    _, images = load_image_sets(trained.config.data, trained.config.seed)

    class Loaded(LearningModel):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.objective = trained.network, trained.objective

        @property
        def layers(self) -> nn.Module:
            return self.network

        def embed(self, pixels: Tensor) -> Tensor:
            return self.network(pixels)

    config = AdversarialConfig(**PGD)
    return measure_robustness(Loaded(), as_pixels(images.images), images.labels, config=config, seed=0)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("data"), people=4, photos=5).root


@pytest.mark.parametrize(
    "attack",
    [
        {"attack": "fgsm_rs", "epsilon": 0.03},
        {"attack": "trades", "epsilon": 0.03, "steps": 2, "compare": "embeddings"},
    ],
)
def test_a_face_run_is_logged_and_resumes_bit_for_bit(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: dict[str, Any]
) -> None:
    config = run_config(faces, training={"epochs": 2, "adversarial": attack})
    train(config, tmp_path / "whole", resume=False)
    with monkeypatch.context() as patch:
        kill_at(patch, Learner, 3)
        with pytest.raises(Killed):
            train(config, tmp_path / "killed", resume=False)
    train(config, tmp_path / "killed", resume=True)
    one, other = (tensors(checkpoint(tmp_path / name)) for name in ("whole", "killed"))
    assert all(torch.equal(one[path], other[path]) for path in one)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    measured = [row for row in rows(tmp_path / "whole") if row["robust_accuracy"]]
    assert [row["step"] for row in measured] == ["2", "4"]


def test_the_dry_run_shows_what_the_attack_costs(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceverif.training.rehearsal._MEASURED_STEPS", 4)
    attack = {"attack": "pgd", "epsilon": 0.03, "steps": 4}
    runs = (
        rehearse(run_config(faces, training={"epochs": 9, "adversarial": attack}), tmp_path / "run"),
        rehearse_images(digits(attack, epochs=9), tmp_path / "run"),
    )
    for text, steps in zip((each.text() for each in runs), (2, 10), strict=True):
        [line] = [line for line in text.splitlines() if line.startswith("an epoch")]
        assert f"s for {steps} steps with pgd of 4 steps, " in line
        dearer = float(line.partition("a step costs ")[2].split()[0])
        assert 1.5 < dearer < 12
        epoch = int(line.partition("an epoch as much as ")[2].split()[0])
        assert epoch == pytest.approx(steps * dearer, abs=1)
    assert "359 of them attacked after every epoch" in text
    assert not (tmp_path / "run").exists()


def test_a_model_that_withstands_single_steps_only_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert Robustness(0.99, 0.95, 0.6).warning().startswith("catastrophic overfitting: 95.0 %")
    assert not Robustness(0.99, 0.8, 0.7).warning()
    assert not Robustness(0.99, 0.1, 0.0).warning()


def test_a_warning_reaches_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overfitted: Callable[..., Robustness] = lambda *_, **__: Robustness(0.9, 0.9, 0.1)  # noqa: E731
    monkeypatch.setattr("faceverif.training.one_step.measure_robustness", overfitted)
    train_classifier(digits({"attack": "fgsm_rs", "epsilon": 0.1}, epochs=1), tmp_path, resume=False)
    assert "warning: catastrophic overfitting" in capsys.readouterr().err
