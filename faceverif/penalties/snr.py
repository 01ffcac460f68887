"""SNR: logits kept on their side of a threshold with little spread."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.checked_tensors import check_later, require_not_negative
from faceverif.heads import Head
from faceverif.heads.sharding import ShardedOutput, sharding_of
from faceverif.penalties.base import EmbeddedBatch, Penalty
from faceverif.sharding.collectives import processes, sum_over_processes, total

# A mean that meets its threshold would divide by zero.
_SMALLEST_SQUARE = 1e-6

Detached = Literal["nothing", "means", "variances"]


def snr_penalty(
    logits: Tensor,
    labels: Tensor,
    thresholds: Tensor,
    *,
    constraint_weight: float,
    margin: float,
    smallest_snr: float = 0.0,
    detach: Detached = "nothing",
) -> Tensor:
    """sum_n sum_{i != n} 1/s_n + 1/s_{i|n} + lambda (hinges), Eqs. 17, 18 of Ghobadzadeh & Lashkari.

    s_n = (eta_n - mu_n)^2 / var_n of logit n over the samples of class n, s_{i|n} likewise of logit i; the
    hinges max(0, mu_{i|n} - eta_n - m) and max(0, eta_n - mu_n + m) keep both on their side of eta_n.
    Variances are those of a sample (n - 1). Classes with fewer than two samples in the batch have none and
    are left out, and so are those without a threshold yet. (eta - mu)^2 is held at 1e-6 from below.

    The paper means m to help both constraints, yet its sign loosens the first hinge and tightens the second.
    Both signs are kept as printed. It also writes m for the factor of the standard deviation (see `SNR`).

    As printed (`smallest_snr` 0) it has a pole where a mean meets its threshold, and pushes a mean that lies
    on the wrong side further away: a network hardly trained, whose thresholds lie below everything, does not
    survive it. The bounds behind it (Eqs. 15, 16) hold on the right side only, mu_{i|n} < eta_n < mu_n, and
    are zero elsewhere: with a `smallest_snr` a mean that lies there, or nearer, counts as that SNR, without a
    gradient, and is left to the hinges.

    Args:
        logits: (batch, classes).
        labels: (batch,), int64 in [0, classes).
        thresholds: (classes,), eta; NaN where there is none yet. No gradient reaches them.
        constraint_weight: lambda >= 0.
        margin: m >= 0 of the hinges, in logits.
        smallest_snr: >= 0, below which an SNR is not taken for one.
        detach: the statistics that no gradient passes: the loss then moves the others only.

    Returns:
        A single number; 0 where no class has two samples in the batch.

    Raises:
        InputError: a negative setting.
    """
    require_not_negative("constraint_weight", constraint_weight)
    require_not_negative("margin", margin)
    require_not_negative("smallest_snr", smallest_snr)
    numbers = torch.arange(logits.shape[1], device=logits.device)
    return _of_columns(
        logits,
        numbers,
        labels,
        thresholds,
        classes=logits.shape[1],
        constraint_weight=constraint_weight,
        margin=margin,
        smallest_snr=smallest_snr,
        detach=detach,
    )


def _of_columns(
    logits: Tensor,
    numbers: Tensor,
    labels: Tensor,
    thresholds: Tensor,
    *,
    classes: int,
    constraint_weight: float,
    margin: float,
    smallest_snr: float,
    detach: Detached,
) -> Tensor:
    """What some columns of the logits add to `snr_penalty`; `numbers` says which of the classes these are."""
    seen = _moments(logits, labels, classes=classes)
    means = seen.means.detach() if detach == "means" else seen.means
    variances = seen.variances.detach() if detach == "variances" else seen.variances
    eta = thresholds.detach()[seen.classes].to(logits.dtype)
    counted = seen.twice & ~eta.isnan()
    # Zero in the rows that do not count, so that no NaN reaches a gradient.
    eta = torch.where(counted, eta, 0.0)[:, None]
    own = seen.classes[:, None] == numbers
    squares = (eta - means).square().clamp_min(_SMALLEST_SQUARE)
    noise = variances / squares
    if smallest_snr:
        rightly = torch.where(own, means > eta, means < eta) & (squares > smallest_snr * variances)
        noise = torch.where(rightly, noise, 1.0 / smallest_snr)
    too_high = (means - eta - margin).clamp_min(0.0)
    too_low = (eta - means + margin).clamp_min(0.0)
    others = torch.where(counted[:, None] & ~own, noise + constraint_weight * too_high, 0.0)
    true = torch.where(counted[:, None] & own, noise + constraint_weight * too_low, 0.0)
    return others.sum() + (classes - 1) * true.sum()


class SNR(Penalty):
    """See `snr_penalty`; thresholds are eta_n = mu_n - spread * std_n of what was seen before.

    Args:
        classes: how many there are.
        update: "batch": thresholds of the batch before (the first batch uses its own); "epoch": of the epoch
            before (there is no penalty in the first).
        spread: 4 in the paper.
        constraint_weight: lambda.
        margin: m of the hinges.
        smallest_snr: 0 for the loss as printed.
        detach: as in `snr_penalty`.
        memory: with "batch", share of the earlier batches' sums that is kept; 0 in the paper.
        start_after_epochs: epochs without the penalty, whose thresholds are followed all the same.

    A batch without a class seen twice adds nothing. Such a batch is refused as long as none before had one:
    then there are too many classes for the batch size.
    """

    own_sums = ("gathered",)
    thresholds: Tensor
    gathered: Tensor
    epochs: Tensor

    def __init__(
        self,
        *,
        classes: int,
        update: Literal["batch", "epoch"],
        spread: float,
        constraint_weight: float,
        margin: float,
        smallest_snr: float,
        detach: Detached = "nothing",
        memory: float = 0.0,
        start_after_epochs: int = 0,
    ) -> None:
        super().__init__()
        self.update = update
        self.spread = spread
        self._settings: dict[str, Any] = {
            "constraint_weight": constraint_weight,
            "margin": margin,
            "smallest_snr": smallest_snr,
            "detach": detach,
        }
        self.memory = memory
        self.start_after_epochs = start_after_epochs
        self.register_buffer("thresholds", torch.full((classes,), torch.nan))
        # Count, sum and sum of squares of each class's own logit. In float64: sums of squares cancel.
        # So it does not train on mps, which has no float64.
        self.register_buffer("gathered", torch.zeros(3, classes, dtype=torch.float64))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self._waiting: bool | None = None  # not known yet
        self.register_load_state_dict_pre_hook(_count_epochs_of_earlier_versions)
        self.register_load_state_dict_post_hook(_ask_again)

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """A single number; takes note of the batch while in training mode.

        Raises:
            InputError: no batch so far held some class twice.
        """
        logits, labels = batch.output.margin_logits, batch.labels
        own = logits.detach().gather(1, labels[:, None]).squeeze(1)
        thresholds = self._thresholds(own, labels)
        if thresholds is None:
            return logits.new_zeros(())
        self._refuse_single_samples(labels)
        return snr_penalty(logits, labels, thresholds, **self._settings)

    def of_shards(self, output: ShardedOutput, head: Head) -> Tensor:
        """A single number; every process adds what its classes do."""
        columns, labels = output.columns, output.labels
        rank = sharding_of(head).shard.rank
        own, own_labels = (each.chunk(processes())[rank] for each in (columns.own_logits.detach(), labels))
        thresholds = self._thresholds(own, own_labels)
        if thresholds is None:
            return output.margin_logits.new_zeros(())
        self._refuse_single_samples(labels)
        logits, numbers, classes = columns.columns, columns.numbers, columns.classes
        return total(_of_columns(logits, numbers, labels, thresholds, classes=classes, **self._settings))

    def _thresholds(self, own: Tensor, labels: Tensor) -> Tensor | None:
        """Those in force, after a look at this process's own logits; None before the penalty starts."""
        thresholds = self.thresholds
        if not self.training:
            return thresholds
        own = own.double()
        self.gathered.index_add_(1, labels, torch.stack([torch.ones_like(own), own, own.square()]))
        if self.update == "batch":
            self._take_over()
            thresholds = torch.where(thresholds.isnan().all(), self.thresholds, thresholds)
        return None if self._waits() else thresholds

    def _refuse_single_samples(self, labels: Tensor) -> None:
        """Stop at a batch that says nothing of a class's spread, if nothing is known of any.

        Args:
            labels: of the batch whose logits are compared, of this process or of all.
        """
        if not self.training:
            return
        counts = labels.new_zeros(len(self.thresholds)).index_add(0, labels, torch.ones_like(labels))
        seen_twice = (counts >= 2).any() | (self.gathered[0] >= 2).any() | ~self.thresholds.isnan().all()
        check_later(~seen_twice, partial(_refuse, counts, seen_twice))

    def _waits(self) -> bool:
        """Whether it has not started yet; the device is asked once in an epoch."""
        if self._waiting is None:
            self._waiting = self.start_after_epochs > 0 and int(self.epochs) < self.start_after_epochs
        return self._waiting

    def end_epoch(self) -> None:
        """Count it, and set the thresholds from it where epochs do."""
        self.epochs += 1
        self._waiting = None
        if self.update == "epoch":
            self._take_over()

    def _take_over(self) -> None:
        """Set the thresholds of the classes seen twice; the others keep theirs."""
        count, summed, squares = sum_over_processes(self.gathered)
        mean = summed / count.clamp_min(1.0)
        variance = (squares - summed * mean).clamp_min(0.0) / (count - 1.0).clamp_min(1.0)
        thresholds = (mean - self.spread * variance.sqrt()).to(self.thresholds.dtype)
        self.thresholds = torch.where(count >= 2, thresholds, self.thresholds)
        self.gathered.mul_(self.memory)


class _Seen(NamedTuple):
    """Moments of the logits for each class of a batch.

    How many classes a batch holds is known on the device only, so there are as many rows as there could be.

    Attributes:
        classes: (rows,), ascending, then zeros.
        twice: (rows,), whether the batch holds two samples of the class, or more.
        means: (rows, classes), of every logit over the samples of the row's class.
        variances: (rows, classes), of a sample (n - 1).
    """

    classes: Tensor
    twice: Tensor
    means: Tensor
    variances: Tensor


def _moments(logits: Tensor, labels: Tensor, *, classes: int) -> _Seen:
    ascending, order = labels.sort(stable=True)
    changes = torch.diff(ascending, prepend=ascending[:1]) != 0
    row = torch.empty_like(labels).scatter(0, order, changes.cumsum(0))
    rows = min(len(logits), classes)
    counts = labels.new_zeros(rows).index_add(0, row, torch.ones_like(labels))
    numbers = labels.new_zeros(rows).scatter(0, row, labels)
    means = _sums(logits, row, rows) / counts.clamp_min(1)[:, None]
    squares = _sums((logits - means[row]).square(), row, rows)
    return _Seen(numbers, counts >= 2, means, squares / (counts - 1).clamp_min(1)[:, None])


def _sums(values: Tensor, row: Tensor, rows: int) -> Tensor:
    return values.new_zeros(rows, values.shape[1]).index_add(0, row, values)


def _refuse(counts: Tensor, seen_twice: Tensor) -> None:
    if not seen_twice:
        raise InputError(
            "penalties.snr",
            "needs batches that hold some class twice, to know its spread",
            got=f"{int(counts.sum())} samples of {int((counts > 0).sum())} classes",
            fix="Raise training.batch_size: SNR is made for few classes.",
        )


def _ask_again(module: nn.Module, _: Any) -> None:
    """Another state has another count of epochs."""
    module._waiting = None  # type: ignore[assignment]


def _count_epochs_of_earlier_versions(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Files of earlier versions have no count: their penalty never waited."""
    state.setdefault(f"{prefix}epochs", torch.zeros((), dtype=torch.int64))
