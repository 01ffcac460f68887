"""Checks of tensors and numbers that heads, penalties and attacks share."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import partial

import torch
from torch import Tensor

from data_prep.errors import InputError


class DeferredChecks:
    """A context in which values are checked on the device, to be read once at the end of a step.

    Asking a GPU for a number means waiting for it. Within the context, labels and embeddings leave a flag on
    the device instead, and labels out of range are replaced by valid ones, so that the step can end. Shapes
    and types, which the device is not asked for, are refused at once as ever.
    """

    def __init__(self) -> None:
        self._flags: list[Tensor] = []
        self._checks: list[Callable[[], None]] = []
        self._valid: list[Tensor] = []

    def __enter__(self) -> DeferredChecks:
        self._token: Token[DeferredChecks | None] = _deferred.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _deferred.reset(self._token)

    @property
    def failed(self) -> Tensor:
        """A single number, 1 where a check may have failed, else 0."""
        return torch.stack(self._flags).any().float() if self._flags else torch.zeros(())

    def refuse(self) -> None:
        """Make all checks again, reading their values.

        Raises:
            InputError: as the check that fails first.
        """
        for check in self._checks:
            check()

    def note(self, flag: Tensor, check: Callable[[], None]) -> None:
        """Remember a check: whether it may fail, on the device, and how it is made with reading."""
        self._flags.append(flag)
        self._checks.append(check)

    def validate(self, labels: Tensor, classes: int, check: Callable[[], None]) -> Tensor:
        """Labels in [0, classes); those of the tensor that this gave before are not checked again."""
        if any(labels is each for each in self._valid):
            return labels
        self.note(((labels < 0) | (labels >= classes)).any(), check)
        valid = labels.clamp(0, classes - 1)
        self._valid.append(valid)
        return valid


_deferred: ContextVar[DeferredChecks | None] = ContextVar("deferred checks", default=None)


def check_later(may_fail: Tensor, check: Callable[[], None]) -> None:
    """Make a check if it may fail: now, or within `DeferredChecks` at their end.

    Args:
        may_fail: a single truth value, on the device.
        check: raises an InputError if it fails.
    """
    deferred = _deferred.get()
    if deferred is not None:
        deferred.note(may_fail, check)
    elif may_fail:
        check()


def valid_labels(labels: Tensor, *, batch: int, classes: int) -> Tensor:
    """Labels that name a class each: those given, except in `DeferredChecks`, which see.

    Args:
        labels: (batch,), int64 in [0, classes).
        batch: how many there must be.
        classes: how many classes there are.

    Raises:
        InputError: another type or shape, or a label out of range.
    """
    _refuse_other_form(labels, batch=batch)
    check = partial(_refuse_out_of_range, labels, classes=classes)
    deferred = _deferred.get()
    if deferred is not None:
        return deferred.validate(labels, classes, check)
    check()
    return labels


def refuse_bad_labels(labels: Tensor, *, batch: int, classes: int) -> None:
    """Stop on labels that do not name a class each; see `valid_labels`."""
    if valid_labels(labels, batch=batch, classes=classes) is not labels:
        _refuse_out_of_range(labels, classes=classes)  # they are used as they are


def _refuse_other_form(labels: Tensor, *, batch: int) -> None:
    if labels.dtype != torch.int64:
        raise InputError("labels", "must be int64", got=labels.dtype, fix="Convert them: labels.long().")
    if labels.shape != (batch,):
        raise InputError(
            "labels",
            f"must have one entry per embedding, ({batch},)",
            got=tuple(labels.shape),
            fix="Flatten.",
        )


def _refuse_out_of_range(labels: Tensor, *, classes: int) -> None:
    lowest, highest = (int(bound) for bound in torch.aminmax(labels)) if len(labels) else (0, 0)
    if lowest < 0 or highest >= classes:
        raise InputError(
            "labels",
            f"must lie in [0, {classes})",
            got=lowest if lowest < 0 else highest,
            fix="Number the classes from 0, or build the head for more of them.",
        )


def refuse_bad_embeddings(embeddings: Tensor, *, dim: int) -> None:
    """Stop on embeddings that are not (batch, dim) finite numbers; within `DeferredChecks`, at their end.

    Raises:
        InputError: another shape, or NaN or infinity in them.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        got, fix = tuple(embeddings.shape), f"Build the head with embedding_dim={embeddings.shape[-1]}."
        raise InputError("embeddings", f"must be (batch, {dim}), as the head was built", got=got, fix=fix)
    total = embeddings.detach().sum()  # finite only if all are: one pass at each step, not three
    check_later(~total.isfinite(), partial(_refuse_not_finite, embeddings.detach()))


def _refuse_not_finite(embeddings: Tensor) -> None:
    finite = embeddings.isfinite().all(dim=1)
    if not finite.all():
        raise InputError(
            "embeddings",
            "must be finite",
            got=f"NaN or infinity in {int((~finite).sum())} of {len(finite)}",
            fix="Lower optimizer.learning_rate or lengthen schedule.warmup_epochs.",
        )


def require_two_classes(classes: int) -> None:
    """Stop where nothing can be told apart: a single class is always right, and its entropy is 0 / 0.

    Raises:
        InputError: fewer than two.
    """
    if classes < 2:
        raise InputError(
            "classes",
            "must be two or more",
            got=classes,
            fix="Take images or photos of at least two classes.",
        )


def require_positive(name: str, value: float) -> None:
    """Stop on a scale that is not above zero.

    Raises:
        InputError: it is not.
    """
    if not value > 0:
        raise InputError(name, "must be > 0", got=value, fix="The papers use 16 to 64.")


def require_not_negative(name: str, value: float) -> None:
    """Stop on a margin, or what controls one, below zero (or not a number).

    Raises:
        InputError: it is.
    """
    if not value >= 0:
        raise InputError(name, "must be >= 0", got=value, fix=f"0 switches it off: {name}=0.")
