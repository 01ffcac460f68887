"""Is training from packed crops as fast as from files? Images per second of the training loader for each.

    python benchmarks/loading.py data/celeba-aligned                  # an aligned folder, packed first
    python benchmarks/loading.py data/celeba-aligned --workers 2      # decoding processes; default 1
    python benchmarks/loading.py --tiny                               # does it still run

The same crops are stored as files, as InsightFace's train.rec and as WebDataset shards. The loader reads
each in turns in one run, shuffled as in training. Medians count, so that other work on the machine affects
them alike. Before that, each is opened in a process of its own, which reports the time and its peak memory,
with workers.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import struct
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from data_prep.dataset.export import export_webdataset
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.face_model import load_face_model
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.synthetic import synthesise_photos
from faceverif.config.run import DataConfig
from faceverif.training.data import TrainingPhotos, load_training_photos, read_batches
from faceverif.training.order import RemainingBatches

BATCH = 128


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.tiny:
            arguments.data = synthetic_crops(Path(scratch))
        places = pack(arguments.data, Path(scratch))
        measure = opening_s_and_peaks_mb if arguments.tiny else in_own_process
        opened = {name: measure(path, workers=arguments.workers) for name, path in places.items()}
        photos = {name: load(path) for name, path in places.items()}
        rates: dict[str, list[float]] = {name: [] for name in places}
        for turn in range(arguments.turns):
            for name in places:
                rates[name].append(images_per_s(photos[name], turn=turn, workers=arguments.workers))
        report(opened, rates, photos=len(photos["files"]), workers=arguments.workers)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "data", type=Path, nargs="?", help="a folder made by `faceverif align` in arcface-112"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument(
        "--tiny", action="store_true", help="six crops of synthetic people, to see that it runs"
    )
    arguments = parser.parse_args()
    if (arguments.data is None) is not arguments.tiny:
        parser.error("give the folder DATA, or --tiny")
    if arguments.tiny:
        arguments.workers, arguments.turns = 0, 1
    return arguments


# --- the same crops in three places


def synthetic_crops(folder: Path) -> Path:
    synthesise_photos(load_face_model(), folder / "photos", identities=2, photos=3, seed=0)
    align_folder(folder / "photos", folder / "data", settings=AlignSettings(min_face_px=60))
    return folder / "data"


def pack(folder: Path, scratch: Path) -> dict[str, Path]:
    dataset = AlignedDataset.load(folder)
    export_webdataset(dataset, scratch / "shards", shard_mb=50)
    write_records(dataset, scratch / "records" / "train.rec")
    return {"files": folder, "train.rec": scratch / "records", "shards": scratch / "shards"}


def write_records(dataset: AlignedDataset, path: Path) -> None:
    """train.rec and train.idx of the aligned crops, one photo per record."""
    path.parent.mkdir()
    rows = dataset.with_status(Status.ALIGNED)
    _, labels = np.unique(dataset.column("identity")[rows].astype(str), return_inverse=True)
    with path.open("wb") as records, path.with_suffix(".idx").open("w") as index:
        for number, (label, content) in enumerate(
            zip(labels, dataset.crops.contents(rows), strict=True), start=1
        ):
            index.write(f"{number}\t{records.tell()}\n")
            payload = struct.pack("<IfQQ", 0, label, number, 0) + content
            records.write(struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4))


# --- measuring


def load(path: Path) -> TrainingPhotos:
    return load_training_photos(DataConfig(path=path), input_px=112, seed=0)


def batches(photos: TrainingPhotos, *, turn: int) -> RemainingBatches:
    size = min(BATCH, len(photos))
    steps = (0, len(photos) // size)
    return RemainingBatches(len(photos), batch_size=size, steps=steps, seed=turn, share=(0, 1))


def images_per_s(photos: TrainingPhotos, *, turn: int, workers: int) -> float:
    start = time.perf_counter()
    read = read_batches(photos, batches(photos, turn=turn), workers=workers, pin=False)
    count = sum(len(batch.labels) for batch in read)
    return count / (time.perf_counter() - start)


def in_own_process(path: Path, *, workers: int) -> tuple[float, float, float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(opening_s_and_peaks_mb, path, workers=workers).result()


def opening_s_and_peaks_mb(path: Path, *, workers: int) -> tuple[float, float, float]:
    """Seconds to open a data set; peak memory of this process and of its largest worker in an epoch."""
    start = time.perf_counter()
    photos = load(path)
    seconds = time.perf_counter() - start
    images_per_s(photos, turn=0, workers=workers)
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, worker = (resource.getrusage(kind).ru_maxrss / 1024 for kind in kinds)
    return seconds, own, worker


def report(
    opened: dict[str, tuple[float, float, float]], rates: dict[str, list[float]], *, photos: int, workers: int
) -> None:
    print(f"\n{photos:,} crops, {workers} worker(s), batch {BATCH}, medians of {len(rates['files'])} turns")
    print(f"{'':12}{'images/s':>10}{'x files':>9}{'opening':>10}{'memory':>10}{'of a worker':>13}")
    files = statistics.median(rates["files"])
    for name, turns in rates.items():
        rate, (seconds, own, worker) = statistics.median(turns), opened[name]
        print(f"{name:12}{rate:10,.0f}{rate / files:9.2f}{seconds:8.1f} s{own:7,.0f} MB{worker:10,.0f} MB")


if __name__ == "__main__":
    main()
