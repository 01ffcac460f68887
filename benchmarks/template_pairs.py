"""IJB-C's 1:1 protocol on simulated embeddings: time and peak memory of reading, scoring and measuring.

    python benchmarks/template_pairs.py                # 15,658,489 pairs of 23,124 IJB templates
    python benchmarks/template_pairs.py --only ours,loop
    python benchmarks/template_pairs.py --tiny         # does it still run

Pairs are as in IJB-C: the first 3,531 IJB templates with the other 19,593; 19,557 pairs are genuine. `loop`
is the field's usual way: 100,000 pairs at a time, both sides gathered in float64, multiplied and summed, then
scikit-learn's roc_curve. Each part runs in a process of its own, which also holds what it was given: the
embeddings, 47 MB, and the pairs, 141 MB.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv
from sklearn.metrics import auc, roc_curve

from data_prep.ijb import IjbFiles, TemplatePairs, load_template_protocol
from data_prep.ijb.sizes import SIZES
from faceverif.template_matching.run import FARS
from faceverif.template_matching.scoring import template_scores
from faceverif.verification.roc import RocNumbers

AT_ONCE = 100_000


class Size(NamedTuple):
    """Of what is simulated."""

    galleries: int
    templates: int
    pairs: int
    genuine: int
    dim: int


WHOLE = Size(3_531, 23_124, SIZES["IJB-C"].genuine + SIZES["IJB-C"].impostors, SIZES["IJB-C"].genuine, 512)
TINY = Size(30, 200, 5_000, 100, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--tiny", action="store_true", help="5,000 pairs, in this process")
    arguments = parser.parse_args()
    size = TINY if arguments.tiny else WHOLE
    print(f"{size.pairs:,} pairs of {size.templates:,} IJB templates, {size.dim} numbers each\n")
    print("| way | step | seconds | peak memory, GB |\n| --- | --- | --- | --- |")
    for name in arguments.only:
        for step, seconds, peak in measured(PARTS[name], size, tiny=arguments.tiny):
            print(f"| {name} | {step} | {seconds:,.1f} | {peak:.2f} |", flush=True)


def measured(part: Callable[[Size], Any], size: Size, *, tiny: bool) -> list[tuple[str, float, float]]:
    """(step, seconds, peak memory in GB so far) of each step, in a process of its own."""
    work = partial(run, part, size)
    if tiny:
        return work()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work).result()


def run(part: Callable[[Size], Iterator[tuple[str, float]]], size: Size) -> list[tuple[str, float, float]]:
    return [(*step, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9) for step in part(size)]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


# --- parts


def reading(size: Size) -> Iterator[tuple[str, float]]:
    """The list of pairs, from a file."""
    with tempfile.TemporaryDirectory() as folder:
        files = IjbFiles(Path(folder), "simulated")
        pairs = simulated_pairs(size)
        columns = {"left": pairs.left, "right": pairs.right, "label": pairs.same.astype(np.int8)}
        plain = csv.WriteOptions(include_header=False, delimiter=" ")
        csv.write_csv(pa.table(columns), files.pairs, plain)
        photos = "".join(f"{number}.jpg {number} {number}\n" for number in range(size.templates))
        files.photos.write_text(photos)
        seconds, protocol = timed(lambda: load_template_protocol(files))
        assert (protocol.pairs.left == pairs.left).all()
        yield "read the lists", seconds


def ours(size: Size) -> Iterator[tuple[str, float]]:
    """Scores and numbers as `faceverif verify` computes them."""
    unit, pairs = simulated_templates(size), simulated_pairs(size)
    seconds, scores = timed(lambda: template_scores(unit, pairs))
    yield "score", seconds
    seconds, numbers = timed(lambda: RocNumbers.of(scores, pairs.same, fars=FARS))
    yield f"measure; TAR at FAR 1e-4 {described(numbers.tar_at_far[1e-4])}", seconds


def loop(size: Size) -> Iterator[tuple[str, float]]:
    """The same as the field's script computes it."""
    unit, pairs = simulated_templates(size).astype(np.float64), simulated_pairs(size)

    def scored() -> NDArray[np.float64]:
        scores = np.zeros(len(pairs))
        for start in range(0, len(pairs), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            scores[part] = np.sum(unit[pairs.left[part]] * unit[pairs.right[part]], -1)
        return scores

    seconds, scores = timed(scored)
    yield "score", seconds

    def read_off() -> float:
        far, tar, _ = roc_curve(pairs.same, scores)
        auc(far, tar)
        far, tar = np.flipud(far), np.flipud(tar)
        return [float(tar[np.abs(far - target).argmin()]) for target in FARS][3]

    seconds, tar = timed(read_off)
    yield f"measure; TAR at FAR 1e-4 {100 * tar:.2f} %", seconds


def described(point: Any) -> str:
    return "not resolved" if point is None else f"{100 * point.tar:.2f} %"


# --- what is simulated


def simulated_pairs(size: Size) -> TemplatePairs:
    """Each person's gallery with the probes of all people; a probe's person is its number modulo them."""
    rng = np.random.default_rng(0)
    probes = np.arange(size.galleries, size.templates)
    genuine = rng.choice(probes, min(size.genuine, len(probes)), replace=False)
    left = np.concatenate(
        [genuine % size.galleries, rng.integers(0, size.galleries, size.pairs - len(genuine))]
    )
    right = np.concatenate([genuine, rng.choice(probes, size.pairs - len(genuine))])
    same = right % size.galleries == left
    order = np.argsort(left, kind="stable")  # as IJB's lists are ordered
    return TemplatePairs(left[order].astype(np.int32), right[order].astype(np.int32), same[order])


def simulated_templates(size: Size) -> NDArray[np.float32]:
    """Unit vectors around a centre per person."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((size.galleries, size.dim), dtype=np.float32)
    unit = centres[np.arange(size.templates) % size.galleries]
    unit += 2.4 * rng.standard_normal(unit.shape, dtype=np.float32)
    return unit / np.linalg.norm(unit, axis=1, keepdims=True)


PARTS: dict[str, Callable[[Size], Any]] = {"reading": reading, "ours": ours, "loop": loop}

if __name__ == "__main__":
    main()
