"""Randomness by counting: every draw is a function of the seed and of what it is for.

Nothing is stored and nothing runs on, so a resumed run draws what an uninterrupted one would have drawn, on
any number of processes.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def counted_seed(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed for one purpose at one place of a run; see numpy's SeedSequence for the mixing."""
    words = [seed, zlib.crc32(purpose.encode()), *counters]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def counted_generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A CPU generator that starts from `counted_seed`."""
    return torch.Generator().manual_seed(counted_seed(seed, purpose, *counters))
