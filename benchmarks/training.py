"""Does the pipeline feed the device? Images per second of reading, of computing, and of the whole loop.

    python benchmarks/training.py                                           # random crops, the CelebA recipe
    python benchmarks/training.py --set backbone='{name: mobilefacenet, input_px: 64}'    # another backbone
    python benchmarks/training.py --data data/celeba-aligned                # any aligned folder
    python benchmarks/training.py --tiny                                    # does it still run

The goal: the whole loop reaches at least 0.90 of the slower of the two. The three are measured in turns in
one run, and the best of each counts, so that other work on the machine affects them alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from data_prep.alignment import TEMPLATES
from data_prep.dataset.manifest import Status, header_for, write_manifest
from faceverif.config.run import RunConfig, load_run_config
from faceverif.training.data import TrainingPhotos, load_training_photos, read_batches
from faceverif.training.loop import TrainingRun, prepare
from faceverif.training.order import RemainingBatches
from faceverif.training.stop import StopRequest

GOAL = 0.90
PEOPLE = 100
TINY = ["backbone.width=8", "training.batch_size=8", "training.workers=0"]


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.tiny:
            arguments.photos, arguments.steps, arguments.rounds = 32, 1, 1
            arguments.set = [*TINY, *arguments.set]
        data = arguments.data or write_random_crops(Path(folder) / "data", photos=arguments.photos)
        overrides = [f"data.path={data}", "data.min_photos_per_identity=1", "verification=[]"]
        overrides += ["training.epochs=1", "training.checkpoint_every_minutes=1000", *arguments.set]
        config = load_run_config(arguments.config, overrides)
        report(config, measure(config, Path(folder), rounds=arguments.rounds, steps=arguments.steps))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/faces/celeba_cosface.yaml"))
    parser.add_argument("--data", type=Path, help="an aligned folder; without it random crops are written")
    parser.add_argument("--photos", type=int, default=2000, help="number of random crops")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as in faceverif train"
    )
    parser.add_argument("--steps", type=int, default=15, help="steps of the compute-only measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="a few small steps, to see that it runs")
    return parser.parse_args()


def write_random_crops(root: Path, *, photos: int) -> Path:
    """An aligned folder of noise over coarse blocks, which decodes about as slowly as faces do."""
    template, random, rows = TEMPLATES["arcface-64"], np.random.default_rng(0), []
    side = template.crop_px
    for photo in range(photos):
        name = f"person{photo % PEOPLE:03d}/{photo:05d}.jpg"
        blocks = random.integers(0, 256, (16, 16, 3)).astype(np.float32)
        crop = cv2.resize(blocks, (side, side), interpolation=cv2.INTER_CUBIC)
        crop = crop + random.normal(0, 8, (side, side, 3))
        path = root / "crops" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), crop.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])
        known = {"photo": name, "identity": name.partition("/")[0], "crop": f"crops/{name}"}
        rows.append(known | {"status": Status.ALIGNED.value, "sha256": "", "width": side, "height": side})
    write_manifest(root, header_for(template, policy="none", min_face_px=20), rows)
    return root


def measure(config: RunConfig, folder: Path, *, rounds: int, steps: int) -> dict[str, float]:
    """Best images per second of each part over the rounds."""
    photos = load_training_photos(config.data, input_px=config.backbone.input_px, seed=config.seed)
    best = {"loader only": 0.0, "compute only": 0.0, "whole loop": 0.0}
    for number in range(rounds):
        run = new_run(config, photos, folder / f"run{number}")
        parts: dict[str, Callable[[], int]] = {
            "loader only": lambda: read_all(config, photos),
            "compute only": lambda run=run: compute(run, photos, steps=steps),
            "whole loop": lambda run=run: fit(run),
        }
        for name, part in parts.items():
            start = time.perf_counter()
            best[name] = max(best[name], part() / (time.perf_counter() - start))
    return best


def new_run(config: RunConfig, photos: TrainingPhotos, folder: Path) -> TrainingRun:
    run = prepare(config, folder)
    run.begin()
    compute(run, photos, steps=2)  # the first steps fill caches and memory
    return run


def epoch_of(config: RunConfig, photos: TrainingPhotos) -> RemainingBatches:
    size = config.training.batch_size
    steps = (0, len(photos) // size)
    return RemainingBatches(len(photos), batch_size=size, steps=steps, seed=0, share=(0, 1))


def read_all(config: RunConfig, photos: TrainingPhotos) -> int:
    order = epoch_of(config, photos)
    return sum(
        len(batch.labels) for batch in read_batches(photos, order, workers=config.training.workers, pin=False)
    )


def compute(run: TrainingRun, photos: TrainingPhotos, *, steps: int) -> int:
    """Steps on one batch in memory."""
    [batch] = islice(read_batches(photos, epoch_of(run.config, photos), workers=0, pin=False), 1)
    for step in range(steps):
        run.learner.compute_gradients(batch, step=step)
        run.learner.update(step=step)
    return steps * len(batch.labels)


def fit(run: TrainingRun) -> int:
    """One epoch as in training: with its log, its checks and its checkpoint."""
    with StopRequest() as stop:
        run.fit(stop)
    return run.step * run.config.training.batch_size


def report(config: RunConfig, rates: dict[str, float]) -> None:
    training = config.training
    print(f"{config.backbone}\nbatch {training.batch_size}, {training.precision}, {training.workers} workers")
    for name, rate in rates.items():
        print(f"{name:14}{rate:10.1f} images/s")
    share = rates["whole loop"] / min(rates["loader only"], rates["compute only"])
    print(f"whole loop / slower part: {share:.3f} (goal {GOAL:.2f}: {'met' if share >= GOAL else 'MISSED'})")


if __name__ == "__main__":
    main()
