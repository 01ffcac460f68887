"""How long do short answers take? Processor time of --help, of a refused command, and of 6,000 scored pairs.

    python benchmarks/answers.py            # median of 5
    python benchmarks/answers.py --tiny     # does it still run

The commands run in processes of their own, as a user starts them. They answer without PyTorch, which alone
takes about three seconds to import. Goals: 0.5 s for --help, 1 s for a refusal, 50 ms for the pairs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from faceverif.verification.metrics import measure

COMMANDS = {
    "--help": ["--help"],
    "a config that is missing": ["train", "nowhere.yaml", "--run", "run"],
    "photos that are missing": ["align", "nowhere", "out"],
}
PAIRS, FOLDS = 6000, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    parser.add_argument("--tiny", action="store_true", help="one command, once, to see that it runs")
    arguments = parser.parse_args()
    commands = {"--help": COMMANDS["--help"]} if arguments.tiny else COMMANDS
    rounds = 1 if arguments.tiny else arguments.rounds
    for name, words in commands.items():
        report(name, [command_s(words) for _ in range(rounds)])
    report(f"{PAIRS:,} scored pairs", [pairs_s(seed) for seed in range(rounds)])


def command_s(words: list[str]) -> float:
    """Processor time of a command, from the start of its process to its end."""
    command = [sys.executable, "-c", "from faceverif.cli import main; main()", *words]
    return used_s(lambda: subprocess.run(command, capture_output=True, check=False))


def pairs_s(seed: int) -> float:
    """Processor time of all numbers of a protocol with LFW's size."""
    same = np.arange(PAIRS) % 2 == 0
    scores = np.random.default_rng(seed).normal(loc=same * 1.5)
    fold = np.arange(PAIRS) * FOLDS // PAIRS
    return used_s(lambda: measure(scores, same, fold, scored_folds=tuple(range(FOLDS))))


def used_s(work: Callable[[], object]) -> float:
    """Processor time of this process during some work; children that end meanwhile count."""
    before, children = time.process_time(), os.times()
    work()
    after = os.times()
    of_children = (
        after.children_user + after.children_system - children.children_user - children.children_system
    )
    return time.process_time() - before + of_children


def report(name: str, seconds: list[float]) -> None:
    spread = f"({min(seconds):.3f} to {max(seconds):.3f} s)"
    print(f"{name:28} {statistics.median(seconds) * 1000:6.0f} ms   {spread}")


if __name__ == "__main__":
    main()
