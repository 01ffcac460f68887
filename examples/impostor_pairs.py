"""Draw enough impostor pairs for low false accept rates, among the people of LFW's View 1.

    python examples/impostor_pairs.py data/lfw/pairsDevTest.txt view1.csv   # --tiny: a list of its own
    faceverif calibrate --model MODEL --data data/lfw-112 --protocol view1.csv

A threshold at FAR 1e-3 needs at least a thousand impostor pairs, and View 1's training half has 1,100. Its
photos give millions. The file holds the genuine pairs of that half and 100,000 impostor pairs drawn among its
photos. View 2 must not choose a threshold, and the test half of View 1 stays unseen.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from data_prep.atomic import write_text
from data_prep.protocols import VerificationProtocol, protocol_alone

Pair = tuple[str, str]


def training_half(protocol: VerificationProtocol) -> tuple[list[Pair], list[str]]:
    """The genuine pairs of the folds that are not scored, and all photos of these folds in order."""
    pairs = list(zip(protocol.left, protocol.right, strict=True))
    chosen = np.flatnonzero(~np.isin(protocol.fold, protocol.scored_folds))
    genuine = [pairs[which] for which in chosen if protocol.same[which]]
    return genuine, sorted({photo for which in chosen for photo in pairs[which]})


def impostor_pairs(photos: list[str], count: int, *, seed: int) -> list[Pair]:
    """`count` different pairs of photos of different people; a photo's folder names its person."""
    people = [photo.partition("/")[0] for photo in photos]
    generator = np.random.default_rng(seed)
    drawn: set[tuple[int, int]] = set()
    while len(drawn) < count:
        first, second = sorted(map(int, generator.integers(0, len(photos), 2)))
        if people[first] != people[second]:
            drawn.add((first, second))
    return [(photos[first], photos[second]) for first, second in sorted(drawn)]


def write_pairs(out: Path, genuine: list[Pair], impostors: list[Pair]) -> None:
    """A list that `faceverif calibrate` and `faceverif verify` read."""
    rows = [f"{left},{right},1" for left, right in genuine]
    rows += [f"{left},{right},0" for left, right in impostors]
    write_text(out, "\n".join(["left,right,same", *rows]) + "\n")


def made_list(folder: Path) -> Path:
    """Both halves of a View 1 of twelve people, as LFW writes them."""
    for name, people in (("pairsDevTrain.txt", "abcdef"), ("pairsDevTest.txt", "ghijkl")):
        genuine = [f"{person}\t1\t2" for person in people]
        impostors = [
            f"{one}\t1\t{other}\t1" for one, other in zip(people, people[1:] + people[0], strict=True)
        ]
        (folder / name).write_text("\n".join([str(len(people)), *genuine, *impostors]) + "\n")
    return folder / "pairsDevTest.txt"


def main() -> None:
    """Write the pairs, and say what was drawn."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = "--tiny" in sys.argv
        source, out = (
            (made_list(Path(folder)), Path(folder) / "pairs.csv") if tiny else map(Path, sys.argv[1:3])
        )
        genuine, photos = training_half(protocol_alone(source, allow_partial=tiny))
        impostors = impostor_pairs(photos, 20 if tiny else 100_000, seed=0)
        write_pairs(out, genuine, impostors)
        print(
            f"{len(genuine):,} genuine and {len(impostors):,} impostor pairs of {len(photos):,} photos: {out}"
        )


if __name__ == "__main__":
    main()
