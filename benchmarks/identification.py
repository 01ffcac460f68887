"""Exact search of a gallery: ours, faiss's flat index, and a plain NumPy loop, in one run.

    OMP_NUM_THREADS=1 python benchmarks/identification.py    # 10,000 probes, 1 million entries
    python benchmarks/identification.py --entries 200000 --probes 2000 --device cuda
    python benchmarks/identification.py --tiny               # does it still run

Embeddings are drawn: a direction per entry, and for each probe a noisy copy of one. What takes long searches
a part of the probes, and its time is scaled to all. faiss is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import resource
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.device import choose_device, computing_device
from faceverif.identification.metrics import MOST_RANKS
from faceverif.identification.search import Gallery, search

COUNT = MOST_RANKS + 1  # people that `faceverif rank` asks for
NOISE = 0.06  # of each number of a probe

Embeddings = NDArray[np.float32]
Places = NDArray[np.int64]


def main() -> None:
    arguments = parse_arguments()
    device = choose_device(arguments.device)
    rng = np.random.default_rng(0)
    entries = unit(rng.standard_normal((arguments.entries, arguments.dim), dtype=np.float32))
    shown = rng.integers(0, arguments.entries, arguments.probes)
    noise = rng.standard_normal((arguments.probes, arguments.dim), dtype=np.float32)
    probes = unit(entries[shown] + np.float32(NOISE) * noise)
    print(
        f"{arguments.probes:,} probes, {arguments.entries:,} entries of {arguments.dim} numbers, "
        f"{COUNT} people each; {torch.get_num_threads()} thread(s), {device}"
    )
    print("\n| search | seconds | probes a second |\n| --- | --- | --- |")
    person = np.arange(arguments.entries) // 4
    with patch("faceverif.identification.flat_index.LARGE", math.inf):
        ours = measured(f"ours in blocks, {device.type}", by_search, probes, entries)
        measured(f"with 4 entries a person, {device.type}", by_search, probes, entries, person, share=0.2)
    if importlib.util.find_spec("faiss") is not None:
        compared("faiss", measured("faiss, IndexFlatIP, cpu", by_faiss, probes, entries), ours)
        measured(f"ours on its lists, {device.type}", by_search, probes, entries)
    looped = measured("NumPy, one probe at a time, cpu", by_loop, probes, entries, share=0.02)
    compared("NumPy", looped, ours)
    print(f"\nrank 1: {np.mean(ours[:, 0] == shown):.4f}; peak memory {peak_gb():.2f} GB")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--probes", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--device", default="auto", help="for ours: auto, cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="few of all, to see that it runs")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.probes, arguments.entries, arguments.dim = 50, 2000, 16
    return arguments


def measured(
    name: str,
    run: Callable[..., Places],
    probes: Embeddings,
    *inputs: NDArray[np.generic],
    share: float = 1.0,
) -> Places:
    """Search a share of the probes, print the time of all as a line of the table, return what is found."""
    part = probes[: max(1, round(share * len(probes)))]
    start = time.perf_counter()
    found = run(part, *inputs)
    rate = len(part) / (time.perf_counter() - start)
    scaled = "" if share == 1 else f" (from {len(part):,} probes)"
    print(f"| {name} | {len(probes) / rate:.1f}{scaled} | {rate:,.0f} |", flush=True)
    return found


def by_search(probes: Embeddings, entries: Embeddings, person: Places | None = None) -> Places:
    """(probes, COUNT) entries, by `faceverif rank`'s search."""
    gallery = Gallery.of(entries, np.arange(len(entries)) if person is None else person)
    found = search(probes, gallery, count=COUNT).entry
    if computing_device().type == "cuda":
        torch.cuda.synchronize()
    return found


def by_faiss(probes: Embeddings, entries: Embeddings) -> Places:
    """The same by faiss."""
    faiss = importlib.import_module("faiss")
    index = faiss.IndexFlatIP(entries.shape[1])
    index.add(entries)
    return np.asarray(index.search(probes, COUNT)[1])


def by_loop(probes: Embeddings, entries: Embeddings) -> Places:
    """The same as it is first written."""
    found = []
    for probe in probes:
        scores = entries @ probe
        best = np.argpartition(-scores, COUNT)[:COUNT]
        found.append(best[np.argsort(-scores[best])])
    return np.stack(found)


def compared(name: str, found: Places, ours: Places) -> None:
    """Print how many of another search's entries ours has found too."""
    same = np.mean(np.sort(found, axis=1) == np.sort(ours[: len(found)], axis=1))
    print(f"| of {name}'s entries, ours has | {100 * same:.3f} % | |")


def unit(vectors: Embeddings) -> Embeddings:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
