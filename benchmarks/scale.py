"""What millions of photos cost: time and peak memory of listing, manifest, training order and audit.

    python benchmarks/scale.py --photos 5000000                     # 93,431 people, as MS1MV3
    python benchmarks/scale.py --photos 5000000 --only listing,order
    python benchmarks/scale.py --recall EMBEDDINGS.npy              # pairs that cells find, of all pairs
    python benchmarks/scale.py --tiny                               # does it still run

Rows are simulated: records of 36 bytes in a train.rec with its index, manifest rows with hashes, box and
landmarks, embeddings drawn around a centre per person, 512 numbers each or as many as those of `--like` have.
Each measurement runs in a process of its own. `audit` reports its steps; `--photos 200000` already takes
minutes.
"""

from __future__ import annotations

import argparse
import resource
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.alignment import find_template
from data_prep.dataset.manifest import SCHEMA, AlignedDataset, Status, header_for, write_manifest
from data_prep.dataset.packed import RecordCrops, load_aligned
from data_prep.quality.names import QUALITY_COLUMNS
from data_prep.sources import webdataset
from data_prep.sources.base import Skipped
from data_prep.sources.recordio import list_photos
from data_prep.sources.shard_file import ShardFile
from data_prep.sources.shard_index import INDEX, IndexedShard
from faceverif.audit.cells import PER_CELL, PROBES, by_own_cell, compared_in_cells, nearest_cells
from faceverif.audit.people import People
from faceverif.audit.similarity import Pairs, nearest_other, pairs_among, pairs_from, pairs_in_cells
from faceverif.audit.vector_file import reordered
from faceverif.report.numbers import percent
from faceverif.training.order import RemainingBatches

Step = Callable[[int, Path], Iterator[tuple[str, float]]]

PER_PERSON = 5_179_510 / 93_431  # of MS1MV3
PER_PERSON_OF_WEBFACE = 42_474_558 / 2_059_906
PER_SHARD = 10_000
DIM = 512
ALIKE, ONE_PERSON = 0.9, 0.6
RECORD = struct.Struct("<IIIfQQ4s")
RECORDS = np.dtype(
    [
        *(("magic", "<u4"), ("length", "<u4"), ("count", "<u4"), ("label", "<f4")),
        *(("id", "<u8"), ("second", "<u8"), ("content", "S4")),
    ]
)


def main() -> None:
    arguments = parse_arguments()
    if arguments.recall is not None:
        print_recall(np.load(arguments.recall))
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        print("| step | photos | seconds | peak memory, GB |\n| --- | --- | --- | --- |")
        for name in arguments.only:
            step = STEPS[name]
            if name == "audit":
                step = partial(audit, like=arguments.like, parts=arguments.parts_of_cells)
            if arguments.tiny:
                print_steps(step, arguments.photos, Path(folder))
            else:
                process = get_context("spawn").Process(
                    target=print_steps, args=(step, arguments.photos, Path(folder))
                )
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(process.exitcode)
    if arguments.tiny:
        print_recall(embeddings(arguments.photos, people=40))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=5_000_000)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(STEPS))
    parser.add_argument("--scratch", type=Path, help="folder for the simulated files; default: the system's")
    parser.add_argument("--recall", type=Path, help="unit embeddings, (photos, dim), as an .npy file")
    parser.add_argument("--like", type=Path, help="real embeddings, as for --recall: `audit` draws like them")
    parser.add_argument(
        "--parts-of-cells",
        type=int,
        default=1,
        metavar="N",
        help="`audit` compares photos in the first of N parts of the cells only, and says so",
    )
    parser.add_argument("--tiny", action="store_true", help="2,000 photos, in this process")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.photos = 2000
    return arguments


def print_steps(step: Step, photos: int, folder: Path) -> None:
    """A line of the table for each part of a step: seconds, and peak memory of this process so far."""
    done = threading.Event()
    threading.Thread(target=watch_memory, args=(done,), daemon=True).start()
    try:
        for what, seconds in step(photos, folder):
            print(f"| {what} | {photos:,} | {seconds:,.1f} | {peak_gb():.2f} |", flush=True)
    finally:
        done.set()


_PEAK = [0.0]


def watch_memory(done: threading.Event) -> None:
    """Note the largest memory of this process without files that it maps: the system may drop those."""
    status = Path("/proc/self/status")
    while status.exists():
        [kilobytes] = [line.split()[1] for line in status.read_text().splitlines() if "RssAnon" in line]
        _PEAK[0] = max(_PEAK[0], int(kilobytes) * 1024 / 1e9)
        if done.wait(0.02):
            return


def peak_gb() -> float:
    """Peak so far; outside Linux with mapped files, where macOS counts bytes."""
    return _PEAK[0] or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def timed(what: str, work: Callable[[], Any]) -> tuple[str, float]:
    start = time.perf_counter()
    work()
    return what, time.perf_counter() - start


# --- steps


def listing(photos: int, folder: Path) -> Iterator[tuple[str, float]]:
    """The photos of a train.rec, and the training rows of it."""
    write_records(folder / "train.rec", photos)
    found: list[Any] = []
    yield timed(
        "list a train.rec by its index", lambda: found.append(list_photos(folder / "train.rec").photos)
    )
    assert len(found[0]) == photos
    crops = RecordCrops(crop_px=112, way_out="", path=folder / "train.rec", offsets=found[0].offsets)
    assert len(next(iter(crops.contents([photos // 2])))) == 4


def shards(photos: int, folder: Path) -> Iterator[tuple[str, float]]:
    """The photos of WebDataset shards as an export writes them; what their tars would say is simulated."""
    header = header_for(find_template("arcface-112"), policy="simulated", min_face_px=20)
    about = {"header": asdict(header), "photos": photos}
    tars = folder / "shards"
    tars.mkdir()
    for start in range(0, photos, PER_SHARD):
        (tars / f"{start:09d}.tar").touch()

    def indexed(shard: ShardFile, skipped: Skipped) -> IndexedShard:
        start = int(shard.path.stem)
        return IndexedShard(about, True, shard_rows(start, min(PER_SHARD, photos - start), photos))

    loaded: list[AlignedDataset] = []
    with patch.object(webdataset, "index_shard", indexed):
        yield timed("index shards, without reading tars", lambda: loaded.append(load_aligned(tars)))
    aligned = loaded[0].with_status(Status.ALIGNED)
    yield timed("their people and labels", lambda: loaded[0].people(aligned))


def manifest(photos: int, folder: Path) -> Iterator[tuple[str, float]]:
    """A manifest, written in rows as the journal has them, at most 100,000, and read."""
    header = header_for(find_template("arcface-112"), policy="simulated", min_face_px=20)
    written = min(photos, 100_000)
    yield timed(f"write a manifest, {written:,} rows", lambda: write_manifest(folder, header, rows(written)))
    write_columns(folder, photos)
    loaded: list[AlignedDataset] = []
    yield timed("open a manifest", lambda: loaded.append(AlignedDataset.load(folder)))
    dataset = loaded[0]
    assert len(dataset) == photos
    aligned = dataset.with_status(Status.ALIGNED)
    yield timed("its people and their labels", lambda: dataset.people(aligned))
    few = np.random.default_rng(0).choice(aligned, 128)
    yield timed("the names of 100 batches", lambda: [dataset.photos(few) for _ in range(100)])


def order(photos: int, folder: Path) -> Iterator[tuple[str, float]]:
    """The order of one epoch, batch by batch."""
    steps = photos // 512
    batches = RemainingBatches(photos, batch_size=512, steps=(0, steps), seed=0, share=(0, 1))
    yield timed("the order of an epoch, batches of 512", lambda: [len(batch) for batch in batches])


def audit(photos: int, folder: Path, like: Path | None = None, parts: int = 1) -> Iterator[tuple[str, float]]:
    """The steps of an audit that grow with the photos, on drawn embeddings in a file."""
    people, spread = people_of(photos), spread_like(like)
    shape = photos, len(spread)
    vectors = np.lib.format.open_memmap(folder / "all.npy", mode="w+", dtype=np.float32, shape=shape)
    labels = np.arange(photos) * people // photos
    fill(vectors, labels, people, spread)
    names = tuple(f"{number:06d}" for number in range(people))
    nothing: Any = None
    found = People(nothing, np.arange(photos), vectors, labels, names)
    yield timed("centres and own similarities", lambda: found.own_scores)
    far = np.flatnonzero(np.arange(photos) % 10_000 == 0)
    yield timed(
        "one photo in 10,000 with all centres",
        lambda: nearest_other(vectors[far], found.centres, labels[far]),
    )
    yield from copies_in_cells(vectors, max(1, photos // PER_CELL), parts)
    yield timed("people under two names", lambda: pairs_from(ONE_PERSON, found.centres))
    if photos <= 200_000:
        yield timed("copies, all pairs", lambda: pairs_from(ALIKE, vectors))


def copies_in_cells(vectors: np.ndarray, cells: int, parts: int) -> Iterator[tuple[str, float]]:
    """Sort photos into cells, then look for copies in all of these cells or in some."""
    near: list[np.ndarray] = []
    yield timed(
        f"sort into {cells:,} cells",
        lambda: near.append(nearest_cells(vectors, cells=cells, probes=PROBES)),
    )
    yield from found_in(vectors, near[0])
    yield from copies_among(vectors, near.pop(), parts)


def copies_among(vectors: np.ndarray, near: np.ndarray, parts: int) -> Iterator[tuple[str, float]]:
    """Bring the photos of a cell together, and compare them in all cells or in some."""
    which = "in all cells" if parts == 1 else f"in the first of {parts} parts of the cells"
    cells = int(near.max()) + 1
    order = by_own_cell(near)
    near = near[order]
    ordered: list[np.ndarray] = []
    found: list[Pairs] = []
    with ExitStack() as files:
        beside = reordered(vectors, order)
        yield timed("bring cells together", lambda: ordered.append(files.enter_context(beside)))
        some = islice(compared_in_cells(near), -(-cells // parts))  # neighbours, as when all are compared
        yield timed(f"copies, {which}", lambda: found.append(pairs_among(ALIKE, ordered[0], some)))
    yield f"{len(found[0].scores):,} pairs from {ALIKE} on found {which}", 0.0


def found_in(vectors: np.ndarray, near: np.ndarray) -> Iterator[tuple[str, float]]:
    """Of similar neighbours in the file, which are one person or copies, the share that cells compare."""
    left, right = near[:-1], near[1:]
    together = (left == right[:, :1]).any(axis=1) | (right == left[:, :1]).any(axis=1)
    blocks = [slice(start, start + 65_536) for start in range(0, len(together), 65_536)]
    alike = np.concatenate(
        [np.einsum("pd,pd->p", vectors[:-1][block], vectors[1:][block]) for block in blocks]
    )
    for threshold in (ALIKE, ONE_PERSON):
        similar = alike >= threshold
        found = percent(together[similar].mean())
        yield f"{found} % of {similar.sum():,} neighbours from {threshold} on found", 0.0


STEPS: dict[str, Step] = {
    "listing": listing,
    "shards": shards,
    "manifest": manifest,
    "order": order,
    "audit": audit,
}


# --- simulated data


def people_of(photos: int) -> int:
    """As many photos per person as MS1MV3 has, and Glint360K nearly; in larger sets as WebFace42M."""
    return max(2, round(photos / (PER_PERSON if photos <= 20_000_000 else PER_PERSON_OF_WEBFACE)))


def write_records(path: Path, photos: int) -> None:
    """A train.rec of records with four bytes as a photo, and its index."""
    people = people_of(photos)
    offsets = np.arange(photos + 1) * RECORD.size
    with path.open("wb") as file:
        file.write(RECORD.pack(0xCED7230A, 28, 1, 0, 0, 0, struct.pack("<f", photos + 1)))
        for start in range(0, photos, 1_000_000):
            number = np.arange(start, min(start + 1_000_000, photos))
            part = np.zeros(len(number), RECORDS)
            part["magic"], part["length"], part["content"] = 0xCED7230A, 28, b"jpeg"
            part["label"], part["id"] = number * people // photos, number + 1
            file.write(part.tobytes())
    with path.with_suffix(".idx").open("w") as index:
        for start in range(0, photos + 1, 1_000_000):
            part = offsets[start : start + 1_000_000].tolist()
            index.writelines(f"{start + number}\t{offset}\n" for number, offset in enumerate(part))


def rows(photos: int) -> Iterator[dict[str, Any]]:
    for start in range(0, photos, 10_000):
        yield from manifest_rows(start, min(10_000, photos - start), photos).to_pylist()


def manifest_rows(start: int, count: int, photos: int) -> pa.Table:
    """Rows of a manifest; hashes and landmarks are random, as real ones look to a compressor."""
    random = np.random.default_rng(start)
    person, photo = names(start, count, photos)
    numbers = {"width": 250, "height": 250, "score": 0.99, "faces": 1, "detection_pass": 1}
    known: dict[str, Any] = (
        {name: np.full(count, value) for name, value in numbers.items()}
        | {
            "photo": photo,
            "identity": person,
            "crop": pc.binary_join_element_wise("crops/", photo, ".jpg", ""),
            "sha256": hashes(random, count),
            "crop_sha256": hashes(random, count),
            "status": pa.array(["aligned"]).take(pa.array(np.zeros(count, int))),
            "reason": pa.nulls(count),
            "box": points(random, count, 4),
            "landmarks": points(random, count, 10),
        }
        | {name: random.normal(30, 9, count) for name in QUALITY_COLUMNS}
    )
    return pa.table([known[name] for name in SCHEMA.names], names=SCHEMA.names).cast(SCHEMA)


def shard_rows(start: int, count: int, photos: int) -> pa.Table:
    """What the index of a shard has; an export shuffles the photos."""
    random = np.random.default_rng(start)
    shuffled = (np.arange(start, start + count) * 7_654_321) % photos
    person, photo = names(shuffled, count, photos)
    columns = {
        "key": photo,
        "identity": person,
        "refused": pa.nulls(count),
        "name": pc.binary_join_element_wise(padded(np.arange(start, start + count), 9), "jpg", "."),
        "offset": 1024 + 12_000 * np.arange(count),
        "size": random.integers(5_000, 12_000, count),
        "checksum": pa.nulls(count),
        "sha256": hashes(random, count),
        "landmarks": points(random, count, 10),
    }
    return pa.table(columns).cast(INDEX)


def names(start: Any, count: int, photos: int) -> tuple[pa.Array, pa.Array]:
    """Person and photo of some rows: from one on, or of these numbers."""
    number = start if isinstance(start, np.ndarray) else np.arange(start, start + count)
    person = padded(number * people_of(photos) // photos, 7)
    file = pc.binary_join_element_wise(padded(number, 8), ".jpg", "")
    return person, pc.binary_join_element_wise(person, file, "/")


def padded(numbers: np.ndarray, digits: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), digits, "0")


def hashes(random: np.random.Generator, count: int) -> pa.Array:
    text = random.bytes(32 * count).hex().encode()
    begins = np.arange(count + 1, dtype=np.int32) * 64
    return pa.StringArray.from_buffers(count, pa.py_buffer(begins), pa.py_buffer(text))


def points(random: np.random.Generator, count: int, numbers: int) -> pa.Array:
    drawn = random.random(count * numbers, np.float32) * 250
    return pa.FixedSizeListArray.from_arrays(pa.array(drawn), numbers)


def write_columns(folder: Path, photos: int) -> None:
    """The manifest with all rows; as Python objects they would take hours."""
    path = folder / "manifest.parquet"
    schema = pq.read_schema(path)
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for start in range(0, photos, 10_000):
            part = manifest_rows(start, min(10_000, photos - start), photos)
            writer.write_table(part.replace_schema_metadata(schema.metadata))


def embeddings(photos: int, *, people: int) -> np.ndarray:
    vectors = np.empty((photos, 64), np.float32)
    fill(vectors, np.arange(photos) * people // photos, people, np.eye(64, dtype=np.float32))
    return vectors


def spread_like(real: Path | None) -> np.ndarray:
    """(dim, dim) what makes normal numbers vary as real embeddings do; without those, in all directions."""
    if real is None:
        return np.eye(DIM, dtype=np.float32)
    return np.linalg.cholesky(np.cov(np.load(real).T) + 1e-6 * np.eye(np.load(real).shape[1])).astype("f4")


def fill(vectors: np.ndarray, labels: np.ndarray, people: int, spread: np.ndarray) -> None:
    """Unit vectors around a centre per person; one in 500 is a copy of its neighbour, more or less alike."""
    dim, random = vectors.shape[1], np.random.default_rng(0)
    centres = random.standard_normal((people, dim), dtype=np.float32) @ spread.T
    for start in range(0, len(vectors), 65_536):
        part = slice(start, min(start + 65_536, len(vectors)))
        noise = random.standard_normal((part.stop - start, dim), dtype=np.float32) @ spread.T
        drawn = centres[labels[part]] + 0.8 * noise
        copies = len(drawn[1::500])
        drawn[1::500] = drawn[::500][:copies] + random.uniform(0, 0.6, (copies, 1)) * noise[1::500]
        vectors[part] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


# --- recall


def print_recall(vectors: np.ndarray) -> None:
    """Of the pairs that all comparisons find, the share that cells find, and the share that they compare."""
    print("| threshold | pairs | cells | photos per cell | probes | found |")
    print("| --- | --- | --- | --- | --- | --- |")
    for threshold in (ALIKE, ONE_PERSON):
        every = {(i, j) for i, j, _ in pairs_from(threshold, vectors).rows()}
        for per_cell in (500, 100):
            for probes in (1, 4, 8):
                cells = max(2, len(vectors) // per_cell)
                some = pairs_in_cells(threshold, vectors, cells=cells, probes=probes)
                share = len({(i, j) for i, j, _ in some.rows()} & every) / max(len(every), 1)
                counts = f"{len(every):,} | {cells:,} | {per_cell} | {probes}"
                print(f"| {threshold} | {counts} | {percent(share)} % |", flush=True)


if __name__ == "__main__":
    main()
