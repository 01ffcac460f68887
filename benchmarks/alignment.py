"""How fast photos are aligned, and how well that agrees with facenet-pytorch's MTCNN.

    python benchmarks/alignment.py PHOTOS [--count 400] [--min-face 30]
    python benchmarks/alignment.py PHOTOS --cpu-time # CPU time on one thread: where other work disturbs
    python benchmarks/alignment.py --tiny            # does it still run: eight synthetic photos, no memory

Everything is measured in one run on the same cores, in turns, so that other work on the machine slows all of
them alike. `faceverif align` reads, detects, warps and writes, with a process per core. The others only
detect, in decoded photos: `CascadeDetector` on one thread, facenet-pytorch on one per core.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray
from PIL import Image

from data_prep.detection.cascade import CascadeDetector
from data_prep.detection.faces import Faces, centred_largest
from data_prep.face_model import load_face_model
from data_prep.host_memory import keep_freed_memory
from data_prep.photos import read_photo
from data_prep.prepare.task import AlignSettings, Row, Task
from data_prep.prepare.workers import AlignJob
from data_prep.sources.base import FilePhoto
from data_prep.sources.folder import list_photos
from data_prep.synthetic import synthesise_photos
from data_prep.work.here import Processes
from data_prep.work.worker import use_threads

Photos = list[NDArray[np.uint8]]
Item = TypeVar("Item")
Result = TypeVar("Result")

_BATCH = 32
_ROUNDS = 4
_CORES = os.cpu_count() or 1
_ALIGN = "faceverif align"
_DETECT = f"CascadeDetector, batches of {_BATCH}"
_ONE_BY_ONE = "facenet-pytorch one by one"
_BATCHED = f"facenet-pytorch, batches of {_BATCH}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of photos per identity, of one size")
    parser.add_argument("--count", type=int, default=400, help="photos drawn from it")
    parser.add_argument("--min-face", type=int, default=30, help="smallest face, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time, all on one thread")
    parser.add_argument("--tiny", action="store_true", help="eight synthetic photos: does it run")
    options = parser.parse_args()
    if (options.photos is None) is not options.tiny:
        parser.error("give a folder of PHOTOS, or --tiny")
    if options.tiny:
        with tempfile.TemporaryDirectory() as folder:
            measure(tiny_sample(Path(folder)), min_face_px=60, rounds=1, workers=0)
    else:
        sample = random.Random(options.seed).sample(list_photos(options.photos).photos, options.count)
        if options.cpu_time:
            work_on_one_core_only()
            measure(sample, min_face_px=options.min_face, rounds=_ROUNDS, workers=0, clock=time.process_time)
            return
        measure(sample, min_face_px=options.min_face, rounds=_ROUNDS, workers=_CORES)
        print_memory(sample, min_face_px=options.min_face)


def tiny_sample(folder: Path) -> list[FilePhoto]:
    synthesise_photos(load_face_model(), folder, identities=2, photos=4, seed=0)
    for photo in list_photos(folder).photos:
        Image.open(photo.path).resize((160, 160)).save(photo.path)  # batches want one size
    return list_photos(folder).photos


def work_on_one_core_only() -> None:
    """As the workers of `faceverif align` compute, for every contender."""
    use_threads(1, 1)
    keep_freed_memory()


def measure(
    sample: list[FilePhoto],
    *,
    min_face_px: int,
    rounds: int,
    workers: int,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    how = "CPU time on one thread" if clock is time.process_time else f"{_CORES} cores"
    print(f"{len(sample)} photos, min face {min_face_px} px, {how}\n")
    seconds, ours, theirs = time_in_turns(
        sample, min_face_px=min_face_px, rounds=rounds, workers=workers, clock=clock
    )
    print_speed(seconds, len(sample))
    print_agreement([read_photo(photo.path) for photo in sample], ours, theirs)


# --- speed


def time_in_turns(
    sample: list[FilePhoto], *, min_face_px: int, rounds: int, workers: int, clock: Callable[[], float]
) -> tuple[dict[str, float], list[Faces], list[Faces]]:
    """Seconds of each contender over all rounds, our faces and facenet-pytorch's; 0 workers: no processes."""
    seconds: dict[str, float] = defaultdict(float)
    timed = partial(add_time, seconds, clock)
    ours: list[Faces] = []
    theirs: list[Faces] = []
    detector = CascadeDetector(min_face_px)
    reference = MTCNN(min_face_size=min_face_px, keep_all=True)
    settings = AlignSettings(min_face_px=min_face_px)
    with tempfile.TemporaryDirectory() as out, aligners(Path(out), settings, workers=workers) as align:
        list(align(batches(sample[: 4 * max(1, workers)], size=2)))  # every process is up and warm
        for turn in range(rounds):
            part = sample[turn::rounds]
            photos = [read_photo(photo.path) for photo in part]
            # Equal tasks: in a run of any length it does not matter that one process ends before the other.
            tasks = batches(part, size=math.ceil(len(part) / (2 * max(1, workers))))
            timed(_ALIGN, lambda tasks=tasks: list(align(tasks)))
            ours += timed(_DETECT, lambda photos=photos: detect_ours(detector, photos))
            theirs += timed(_ONE_BY_ONE, lambda photos=photos: detect_singly(reference, photos))
            timed(_BATCHED, lambda photos=photos: detect_batched(reference, photos))
    order = np.argsort(np.concatenate([np.arange(len(sample))[turn::rounds] for turn in range(rounds)]))
    return seconds, [ours[i] for i in order], [theirs[i] for i in order]


def aligners(
    out: Path, settings: AlignSettings, *, workers: int
) -> AbstractContextManager[Callable[[Iterable[Task]], Iterator[list[Row]]]]:
    return Processes(workers).workers(AlignJob(out, settings), shards=2 * workers or 1)


def add_time(
    seconds: dict[str, float], clock: Callable[[], float], name: str, call: Callable[[], Result]
) -> Result:
    start = clock()
    result = call()
    seconds[name] += clock() - start
    return result


def detect_ours(detector: CascadeDetector, photos: Photos) -> list[Faces]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = [faces for batch in batches(photos) for faces in detector.detect(batch)]
    torch.set_num_threads(threads)
    return found


def detect_singly(reference: MTCNN, photos: Photos) -> list[Faces]:
    return [faces_of(*reference.detect(photo, landmarks=True)) for photo in photos]


def detect_batched(reference: MTCNN, photos: Photos) -> None:
    for batch in batches(photos):
        reference.detect(np.stack(batch), landmarks=True)


def batches(items: list[Item], *, size: int = _BATCH) -> list[list[Item]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def faces_of(
    boxes: NDArray[np.float32] | None, scores: NDArray[np.float32], points: NDArray[np.float32]
) -> Faces:
    if boxes is None:
        return Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    return Faces(boxes.astype(np.float32), scores.astype(np.float32), points.astype(np.float32))


def print_speed(seconds: dict[str, float], count: int) -> None:
    rate = {name: count / seconds[name] for name in (_ALIGN, _DETECT, _ONE_BY_ONE, _BATCHED)}
    print(f"{'':48s}{'images/s':>10s}{'x one by one':>14s}{'x batches':>11s}")
    for name, value in rate.items():
        print(f"{name:48s}{value:10.1f}{value / rate[_ONE_BY_ONE]:14.2f}{value / rate[_BATCHED]:11.2f}")


# --- agreement


@dataclass
class Agreement:
    """The chosen faces of some photos, ours against facenet-pytorch's."""

    iou: list[float]
    landmark_px: list[float]

    def line(self, name: str) -> str:
        """A line of the table."""
        share = np.mean(np.array(self.iou) >= 0.9)
        distance = np.mean(self.landmark_px)
        return f"{name:48s}{len(self.iou):10d}{share:14.4f}{distance:11.3f}"


def print_agreement(photos: Photos, ours: list[Faces], theirs: list[Faces]) -> None:
    """Boxes across the border have a line of their own: facenet-pytorch clips them, which moves landmarks."""
    everywhere, inside, missed = Agreement([], []), Agreement([], []), 0
    for photo, mine, other in zip(photos, ours, theirs, strict=True):
        height, width = photo.shape[:2]
        i = centred_largest(mine, width=width, height=height)
        j = centred_largest(other, width=width, height=height)
        if i is None or j is None:
            missed += i is not j
            continue
        touches = touches_border(other.boxes[j], width=width, height=height)
        for agreement in [everywhere] if touches else [everywhere, inside]:
            agreement.iou.append(iou(mine.boxes[i], other.boxes[j]))
            distance = np.linalg.norm(mine.landmarks[i] - other.landmarks[j], axis=1)
            agreement.landmark_px.append(float(distance.mean()))
    heading = f"{'chosen faces, ours and facenet-pytorch':48s}"
    print(f"\n{heading}{'photos':>10s}{'IoU >= 0.9':>14s}{'landmarks':>11s}")
    print(inside.line("box and its square inside the photo") + " px")
    print(everywhere.line("all") + " px")
    print(f"{'found by one of the two only':48s}{missed:10d}")


def touches_border(box: NDArray[np.float32], *, width: int, height: int) -> bool:
    """Whether the square around a box, which is what the networks saw, leaves the photo."""
    centre, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()
    return bool((centre - side / 2 < 1).any() or (centre + side / 2 > (width, height)).any())


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(overlap / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap))


# --- memory


def print_memory(sample: list[FilePhoto], *, min_face_px: int) -> None:
    print(f"\n{'peak memory of a worker process':48s}{'photos':>10s}{'MB':>14s}")
    for part in (sample[: len(sample) // 4], sample):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            peak = fresh.submit(peak_memory_mb, part, min_face_px).result()
        print(f"{'':48s}{len(part):10d}{peak:14.0f}")


def peak_memory_mb(photos: list[FilePhoto], min_face_px: int) -> float:
    """Peak resident memory of the largest worker; runs in a process of its own, whose children they are."""
    settings = AlignSettings(min_face_px=min_face_px)
    with tempfile.TemporaryDirectory() as out, aligners(Path(out), settings, workers=_CORES) as align:
        list(align(batches(photos)))
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


if __name__ == "__main__":
    main()
