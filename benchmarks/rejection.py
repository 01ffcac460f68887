"""The cost of attacking and judging an image, of a step of PGD, and of training with fgsm_rs; peak memory.

    python benchmarks/rejection.py                          # the MNIST network with an L-GM head
    python benchmarks/rejection.py --images 2000 --rounds 5
    python benchmarks/rejection.py --tiny                   # does it still run

Goals: FGSM, features before and after, and both scores cost at most 3.5 forward passes per image; a step of
PGD costs at most 1.1 forward and backward passes to the pixels; a training step with fgsm_rs costs at most
2.3 plain ones; memory grows only by the clean and the attacked images themselves; no parameter keeps a
gradient. The peer is the plain way with foolbox: its FGSM, then one pass over the clean and one over the
attacked images. All are measured in turns in CPU time, and the best of each counts, so that other work on the
machine affects them alike.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from faceverif.classification.classifier import Classifier
from faceverif.classification.config import ClassificationConfig
from faceverif.config.adversarial import AdversarialConfig
from faceverif.config.reading import validate_config
from faceverif.perturbation.ascent import gradient_of
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.provenance import peak_memory_mb
from faceverif.training.adversarial import hardening
from robustness.attacked_model import AttackedModel, frozen
from robustness.attacks.fgsm import FGSM
from robustness.attacks.goal import Goal
from robustness.attacks.pgd import PGD
from robustness.attacks.through_foolbox import foolbox_attacks, run_foolbox
from robustness.detectors import Detector, build_detector
from robustness.features import Features, extract_features

GOAL_PASSES, GOAL_PGD_STEP, GOAL_FGSM_RS = 3.5, 1.1, 2.3
# Steps of PGD are the difference between two attacks, so that what an attack does once does not count. They
# are compared with as many forward and backward passes: a shorter measurement is more often undisturbed.
FEW_STEPS, MANY_STEPS = 2, 10
STEPS = MANY_STEPS - FEW_STEPS
# Of the training; the images of a portion.
BATCH = 128
THREAT = ThreatModel("linf", 0.1)
FGSM_RS = AdversarialConfig(attack="fgsm_rs", epsilon=0.1)
PORTION = 250
SETTINGS = {
    "data": {"name": "mnist", "path": "none"},
    "network": {"name": "six_conv", "embedding_dim": 100, "relu": True},
    "head": {"name": "lgm", "alpha": 1.0},
    "optimizer": {"name": "sgd", "learning_rate": 0.01},
    "schedule": {"name": "cosine"},
    "training": {"epochs": 1},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="a few images, to see that it runs")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(measure_memory(arguments.memory_of))
        return
    if arguments.tiny:
        report(measure_times(8, rounds=1), images=8)
        print(f"peak memory: {measure_memory(8)} MB at 8 images")
        return
    report(measure_times(arguments.images, rounds=arguments.rounds), images=arguments.images)
    report_memory(arguments.images)


def measure_times(images: int, *, rounds: int) -> dict[str, float]:
    """Best seconds of each contender."""
    model, detector = untrained_model()
    pixels, labels = random_images(images)
    plain, hardened = training_steps(None), training_steps(FGSM_RS)
    contenders: dict[str, Callable[[], None]] = {
        "forward pass": lambda: forward(model, pixels),
        "FGSM + detection": lambda: attack_and_judge(model, detector, pixels, labels),
        "foolbox, then two passes": lambda: plain_way(model, detector, pixels, labels),
        f"forward and backward, {STEPS} times": lambda: forward_and_backward(model, pixels, labels),
        f"PGD, {FEW_STEPS} steps": lambda: pgd(model, pixels, labels, steps=FEW_STEPS),
        f"PGD, {MANY_STEPS} steps": lambda: pgd(model, pixels, labels, steps=MANY_STEPS),
        "training": lambda: plain(pixels, labels),
        "training with fgsm_rs": lambda: hardened(pixels, labels),
    }
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, run in contenders.items():
            begun = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - begun)
    if any(parameter.grad is not None for parameter in model.parameters()):
        raise RuntimeError("a parameter has kept a gradient")
    return best


def report(best: dict[str, float], *, images: int) -> None:
    one = best["forward pass"]
    for name, seconds in best.items():
        print(f"{name:26} {images / seconds:8.0f} images/s {seconds / one:6.2f} forward passes")
    many, few = (best[f"PGD, {steps} steps"] for steps in (MANY_STEPS, FEW_STEPS))
    goals = {
        "FGSM + detection, in forward passes": (best["FGSM + detection"] / one, GOAL_PASSES),
        "a step of PGD, in forward and backward passes": (
            (many - few) / best[f"forward and backward, {STEPS} times"],
            GOAL_PGD_STEP,
        ),
        "a step with fgsm_rs, in plain ones": (
            best["training with fgsm_rs"] / best["training"],
            GOAL_FGSM_RS,
        ),
    }
    for name, (found, goal) in goals.items():
        print(f"{name}: {found:.2f}, goal at most {goal}: {'met' if found <= goal else 'missed'}")


def report_memory(images: int) -> None:
    small, large = (memory_of(count) for count in (images, 8 * images))
    stored = 7 * images * 28 * 28 * 4 / 2**20
    print(f"peak memory: {small} MB at {images:,} images, {large} MB at {8 * images:,}")
    print(f"of the difference, the clean and the attacked images are {stored:.0f} MB each")


def untrained_model() -> tuple[AttackedModel, Detector]:
    """The MNIST network with random weights, which costs as much as a trained one."""
    torch.manual_seed(0)
    config = validate_config(ClassificationConfig, SETTINGS, source="benchmark")
    classifier = Classifier(config, shape=(1, 28, 28), classes=10).to(memory_format=torch.channels_last)
    model = AttackedModel(classifier.network, classifier.objective).eval()
    detector = build_detector("lgm_class", model)
    return model, detector.fit(extract_features(model, *random_images(100)))


def random_images(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 1, 28, 28, generator=generator), torch.arange(count) % 10


@torch.no_grad()
def forward(model: AttackedModel, pixels: Tensor) -> None:
    for some in pixels.split(PORTION):
        model(some)


def forward_and_backward(model: AttackedModel, pixels: Tensor, labels: Tensor) -> None:
    """To the pixels, as an attack on the margin needs it, as often as steps are measured."""
    with frozen(model):
        for some, own in zip(pixels.split(PORTION), labels.split(PORTION), strict=True):
            for _ in range(STEPS):
                gradient_of(lambda asked, own=own: -Goal(own).margin(model(asked)), some)


def pgd(model: AttackedModel, pixels: Tensor, labels: Tensor, *, steps: int) -> None:
    attack = PGD(steps=steps, restarts=1, loss="margin")
    attack(model, pixels, labels, threat=THREAT, seed=0, portion=PORTION)


def training_steps(attack: AdversarialConfig | None) -> Callable[[Tensor, Tensor], None]:
    """Optimizer steps on images, plain or under the attack of an adversarial training."""
    config = validate_config(ClassificationConfig, SETTINGS, source="benchmark")
    classifier = (
        Classifier(config, shape=(1, 28, 28), classes=10).to(memory_format=torch.channels_last).train()
    )
    learning = hardening(classifier, attack=attack, noise=0.0)
    share = () if attack is None else (1.0,)  # of epsilon
    optimizer = torch.optim.SGD(classifier.parameters(), lr=1e-4)

    def run(pixels: Tensor, labels: Tensor) -> None:
        pictures = (255 * pixels).round().to(torch.uint8)  # as a training has them
        for some, own in zip(pictures.split(BATCH), labels.split(BATCH), strict=True):
            optimizer.zero_grad()
            learning(some, own, *share).loss.backward()
            optimizer.step()

    return run


def attack_and_judge(model: AttackedModel, detector: Detector, pixels: Tensor, labels: Tensor) -> None:
    result = FGSM()(model, pixels, labels, threat=THREAT, seed=0, portion=PORTION)
    detector.score(result.clean)
    detector.score(result.attacked)


def plain_way(model: AttackedModel, detector: Detector, pixels: Tensor, labels: Tensor) -> None:
    attack = foolbox_attacks.LinfFastGradientAttack()
    for some, own in zip(pixels.split(PORTION), labels.split(PORTION), strict=True):
        with frozen(model):
            changed = run_foolbox(attack, model, some, Goal(own), epsilon=THREAT.epsilon)
        with torch.no_grad():
            for images in (some, changed):
                embeddings = model.embed(images)
                detector.score(Features(embeddings, model.head.logits(embeddings), own))


def memory_of(images: int) -> int:
    """Peak memory in MB of a process of its own."""
    finished = subprocess.run(
        [sys.executable, __file__, "--memory-of", str(images)], capture_output=True, text=True, check=True
    )
    return int(finished.stdout.splitlines()[-1])


def measure_memory(images: int) -> int:
    model, detector = untrained_model()
    attack_and_judge(model, detector, *random_images(images))
    return peak_memory_mb() or 0


if __name__ == "__main__":
    main()
