"""All classes, a portion at a time: what the products of the heads share.

With 85,742 classes every (classes, dim) or (batch, classes) temporary costs 175 MB and a trip to memory, and
a normalised copy of the class weights is one of them. Here such values exist for a few thousand classes at a
time, in the processor's cache, so a normalised or weights-biased product costs little more time and no more
memory than a linear layer.

Where logits lie far apart the gradient of a softmax is full of denormal floats, on which a CPU's matrix
products crawl. What is below 1e-30 is cut off before the products.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

_WORTHLESS = 1e-30
# Floats of one portion, weights and logits together: 4 MB on a CPU, to stay in its cache. With very many
# classes a sixteenth of them: the calls would cost more than the cache saves, and memory hardly grows.
_PORTION = {"cpu": 2**20}
_LARGEST_SHARE = 1 / 16
_PORTION_ELSEWHERE = 2**26
_SMALLEST_PORTION = 64
_SMALLEST_NORM = 1e-12


def portions(x: Tensor, weight: Tensor) -> Iterator[slice]:
    """All classes, in portions whose weights and logits fit in the cache together."""
    floats = _PORTION.get(x.device.type, _PORTION_ELSEWHERE)
    share = int(len(weight) * _LARGEST_SHARE)
    size = max(_SMALLEST_PORTION, floats // (len(x) + x.shape[1]), share)
    for start in range(0, len(weight), size):
        yield slice(start, min(start + size, len(weight)))


def without_denormals(gradient: Tensor) -> Tensor:
    """A copy in which what is too small to matter is zero."""
    return F.hardshrink(gradient, _WORTHLESS)


def set_own(gradient: Tensor, labels: Tensor, classes: slice, value: Tensor | None) -> Tensor:
    """The gradient of a portion of the classes, at each sample's own class set in place; None: to zero."""
    if len(labels):
        place = labels - classes.start
        rows = ((place >= 0) & (place < gradient.shape[1])).nonzero().squeeze(1)
        gradient[rows, place[rows]] = 0.0 if value is None else value[rows]
    return gradient


def inverse_norms_of(weight: Tensor) -> Tensor:
    """1 / |w| of every row, (rows,); a row of zeros counts as one of length 1e-12."""
    return torch.linalg.vector_norm(weight, dim=1).clamp_min_(_SMALLEST_NORM).reciprocal_()
