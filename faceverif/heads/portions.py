"""What the products of embeddings and classes share.

With 85,742 classes every (classes, dim) or (batch, classes) temporary costs up to 175 MB and a trip to
memory. Products with one matrix of weights make do with few of them; those with two go through the classes in
portions, so that what they need besides exists for a share of the classes at a time.

Where logits lie far apart the gradient of a softmax is full of denormal floats, on which a CPU's matrix
products crawl. What is below 1e-30 is cut off before the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from faceverif.sharding.own_class import OwnClass

_WORTHLESS = 1e-30
# Floats of one portion, weights and logits together: 4 MB on a CPU, to stay in its cache, unless that made
# too many portions.
_PORTION = {"cpu": 2**20}
_PORTION_ELSEWHERE = 2**26
_SMALLEST_PORTION = 64
_SMALLEST_NORM = 1e-12

_Step = TypeVar("_Step", bound=Callable[..., Any])


def portions(x: Tensor, weight: Tensor, *, at_most: int) -> Iterator[slice]:
    """All classes, in portions whose weights and logits fit in the cache together, but in `at_most` of them.

    With many thousand classes they are larger for it: more calls would cost more than the cache saves.
    """
    floats = _PORTION.get(x.device.type, _PORTION_ELSEWHERE)
    size = max(_SMALLEST_PORTION, floats // (len(x) + x.shape[1]), -(-len(weight) // at_most))
    for start in range(0, len(weight), size):
        yield slice(start, min(start + size, len(weight)))


def without_denormals(gradient: Tensor) -> Tensor:
    """A copy in which what is too small to matter is zero."""
    return F.hardshrink(gradient, _WORTHLESS)


def zero_own(gradient: Tensor, labels: Tensor, classes: slice) -> Tensor:
    """The gradient of a portion of the classes, at each sample's own class set to zero in place."""
    if len(labels):
        OwnClass.among(labels - classes.start, gradient.shape[1]).put(gradient, 0.0)
    return gradient


def asking_waits(tensor: Tensor) -> bool:
    """Whether a look at a value stops until the device has computed it, so that it pays to work without."""
    return tensor.device.type != "cpu"


def inverse_norms_of(weight: Tensor) -> Tensor:
    """1 / |w| of every row, (rows,); a row of zeros counts as one of length 1e-12."""
    return torch.linalg.vector_norm(weight, dim=1).clamp_min_(_SMALLEST_NORM).reciprocal_()


def without_autocast(step: _Step) -> _Step:
    """A forward or backward pass that computes in the precision of its tensors, autocast or not."""

    @wraps(step)
    def wrapped(ctx: Any, first: Tensor | None, *others: Any) -> Any:
        device = "cpu" if first is None else first.device.type
        if not torch.is_autocast_enabled(device):
            return step(ctx, first, *others)
        with torch.autocast(device, enabled=False):
            return step(ctx, first, *others)

    return cast(_Step, wrapped)
