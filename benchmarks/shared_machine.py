"""Training steps per second while other processes are busy, by how OpenMP's threads wait for each other.

    python benchmarks/shared_machine.py                # this machine as it is
    python benchmarks/shared_machine.py --busy 2       # with two processes that compute all the time
    python benchmarks/shared_machine.py --tiny         # does it still run

PyTorch's threads meet after each operation. While one waits, GNU's OpenMP lets it spin, which is quick on a
machine of its own and takes the core from the thread that is waited for on a shared one. With
OMP_WAIT_POLICY=PASSIVE or GOMP_SPINCOUNT=0 it sleeps at once. The variables are read when PyTorch is
imported, so every measurement is a process of its own; they take turns, so that other work hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WAYS: dict[str, dict[str, str]] = {
    "as OpenMP waits": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
TASKS = ("demo", "mnist")
_VARIABLES = {name for way in WAYS.values() for name in way}
_BUSY = "while True: pass"


def main() -> None:
    arguments = _arguments()
    if arguments.tiny:
        print(f"{_steps_per_s('mnist', batch=4, seconds=0.0):.1f} steps/s")
    elif arguments.measure:
        print(json.dumps(_steps_per_s(arguments.measure, batch=64, seconds=arguments.seconds)))
    else:
        with busy_processes(arguments.busy):
            for task in arguments.tasks:
                report(task, compare(task, rounds=arguments.rounds, seconds=arguments.seconds))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training steps per second on a shared machine.")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute meanwhile")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="which nets are trained")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a measurement")
    parser.add_argument("--tiny", action="store_true", help="one step of a small net, to see that it runs")
    parser.add_argument("--measure", choices=TASKS, help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Other people's work: processes that never wait."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compare(task: str, *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Steps per second of every way, one measurement per round."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, rates in found.items():
            rates.append(_in_own_process(task, WAYS[way], seconds=seconds))
    return found


def report(task: str, found: dict[str, list[float]]) -> None:
    """A table of medians, beside what OpenMP does by itself."""
    plain = statistics.median(next(iter(found.values())))
    load = os.getloadavg()[0]
    print(f"{task}: {os.cpu_count()} cores, load {load:.1f}")
    for way, rates in found.items():
        median = statistics.median(rates)
        spread = f"{min(rates):.2f} to {max(rates):.2f}"
        print(f"  {way:24} {median:7.2f} steps/s ({spread}), {median / plain:.2f} x", flush=True)


def _in_own_process(task: str, variables: dict[str, str], *, seconds: float) -> float:
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES} | variables
    command = [sys.executable, __file__, "--measure", task, "--seconds", str(seconds)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(found.stdout))


def _steps_per_s(task: str, *, batch: int, seconds: float) -> float:
    """Of steps on random pictures, after one that does not count; at least one is measured."""
    step = _demo_step(batch) if task == "demo" else _mnist_step(batch)
    step()
    steps, begun = 0, time.monotonic()
    while not steps or time.monotonic() - begun < seconds:
        step()
        steps += 1
    return steps / (time.monotonic() - begun)


def _demo_step(batch: int) -> Callable[[], None]:
    """The face model of `faceverif demo`, without reading and augmentation."""
    import torch

    from faceverif.config.run import load_run_config
    from faceverif.demo import CONFIG
    from faceverif.training.recognition_model import RecognitionModel

    config = load_run_config(CONFIG, [])
    side = config.backbone.input_px
    return _step_of(config, RecognitionModel(config, classes=240), torch.rand(batch, 3, side, side))


def _mnist_step(batch: int) -> Callable[[], None]:
    """The six-convolution net of the MNIST tables."""
    import torch

    from faceverif.classification.classifier import Classifier
    from faceverif.classification.config import ClassificationConfig
    from faceverif.config.reading import validate_config

    settings: dict[str, Any] = {
        "data": {"name": "mnist", "path": "unused"},
        "network": {"name": "six_conv", "embedding_dim": 2},
        "head": {"name": "lgm", "alpha": 1.0},
        "optimizer": {"name": "sgd", "learning_rate": 1e-3},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 1},
    }
    config = validate_config(ClassificationConfig, settings, source="benchmark")
    images = torch.randint(256, (batch, 1, 28, 28), dtype=torch.uint8)
    return _step_of(config, Classifier(config, shape=(1, 28, 28), classes=10), images)


def _step_of(config: Any, model: Any, pictures: Any) -> Callable[[], None]:
    import torch

    from data_prep.host_memory import keep_freed_memory
    from faceverif.training.optimizer import build_optimizer, set_learning_rate

    keep_freed_memory()
    model.to(memory_format=torch.channels_last)
    pictures = pictures.to(memory_format=torch.channels_last)
    optimizer, labels = build_optimizer(config.optimizer, model), torch.arange(len(pictures)) % 10
    set_learning_rate(optimizer, 1e-6)

    def step() -> None:
        optimizer.zero_grad()
        model(pictures, labels).loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
