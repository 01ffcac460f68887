"""SNR: logits kept on their side of a threshold with little spread."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.checked_tensors import require_not_negative
from faceverif.penalties.base import EmbeddedBatch, Penalty
from faceverif.process_sums import sum_over_processes

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
        A single number.

    Raises:
        InputError: no class has two samples in the batch, or a negative setting.
    """
    require_not_negative("constraint_weight", constraint_weight)
    require_not_negative("margin", margin)
    require_not_negative("smallest_snr", smallest_snr)
    present, means, variances = _moments(logits, labels)
    known = ~thresholds[present].isnan()
    present, means, variances = present[known], means[known], variances[known]
    if detach == "means":
        means = means.detach()
    if detach == "variances":
        variances = variances.detach()
    eta = thresholds[present].detach()[:, None].to(logits.dtype)
    own = torch.zeros_like(means, dtype=torch.bool)
    own[torch.arange(len(present)), present] = True
    squares = (eta - means).square().clamp_min(_SMALLEST_SQUARE)
    noise = variances / squares
    if smallest_snr:
        rightly = torch.where(own, means > eta, means < eta) & (squares > smallest_snr * variances)
        noise = torch.where(rightly, noise, 1.0 / smallest_snr)
    too_high = (means - eta - margin).clamp_min(0.0)
    too_low = (eta - means + margin).clamp_min(0.0)
    others = torch.where(own, 0.0, noise + constraint_weight * too_high)
    true = torch.where(own, noise + constraint_weight * too_low, 0.0)
    return others.sum() + (logits.shape[1] - 1) * true.sum()


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
    """

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
        self.smallest_snr = smallest_snr
        self.spread = spread
        self.constraint_weight = constraint_weight
        self.margin = margin
        self.detach: Detached = detach
        self.memory = memory
        self.start_after_epochs = start_after_epochs
        self.register_buffer("thresholds", torch.full((classes,), torch.nan))
        # Count, sum and sum of squares of each class's own logit. In float64: sums of squares cancel.
        self.register_buffer("gathered", torch.zeros(3, classes, dtype=torch.float64))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_count_epochs_of_earlier_versions)

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """A single number; takes note of the batch while in training mode."""
        logits, labels = batch.output.margin_logits, batch.labels
        if self.training:
            own = logits.detach().gather(1, labels[:, None]).squeeze(1).double()
            sums = torch.stack([torch.ones_like(own), own, own.square()])
            if self.update == "batch" and self.thresholds.isnan().all():
                self._set_thresholds(torch.zeros_like(self.gathered).index_add_(1, labels, sums))
            self.gathered.index_add_(1, labels, sums)
        penalty = logits.new_zeros(()) if self._waits() else self._penalty(logits, labels)
        if self.training and self.update == "batch":
            self._take_over()
        return penalty

    def _waits(self) -> bool:
        if not (self.training and self.start_after_epochs):
            return False  # without asking the device
        return int(self.epochs) < self.start_after_epochs

    def _penalty(self, logits: Tensor, labels: Tensor) -> Tensor:
        return snr_penalty(
            logits,
            labels,
            self.thresholds,
            constraint_weight=self.constraint_weight,
            margin=self.margin,
            smallest_snr=self.smallest_snr,
            detach=self.detach,
        )

    def end_epoch(self) -> None:
        """Count it, and set the thresholds from it where epochs do."""
        self.epochs += 1
        if self.update == "epoch":
            self._take_over()

    def _take_over(self) -> None:
        self._set_thresholds(self.gathered)
        self.gathered.mul_(self.memory)

    def _set_thresholds(self, gathered: Tensor) -> None:
        """Of the classes seen twice; the others keep theirs."""
        count, total, squares = sum_over_processes(gathered)
        mean = total / count.clamp_min(1.0)
        variance = (squares - total * mean).clamp_min(0.0) / (count - 1.0).clamp_min(1.0)
        thresholds = (mean - self.spread * variance.sqrt()).to(self.thresholds.dtype)
        self.thresholds = torch.where(count >= 2, thresholds, self.thresholds)


def _moments(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Classes with two samples or more, and of these mean and variance of every logit, (present, classes)."""
    classes, place, counts = labels.unique(return_inverse=True, return_counts=True)
    twice = counts >= 2
    if not twice.any():
        raise InputError(
            "penalties.snr",
            "needs batches that hold some class twice, to know its spread",
            got=f"{len(labels)} samples of {len(classes)} classes",
            fix="Raise training.batch_size: SNR is made for few classes.",
        )
    sums = logits.new_zeros(len(classes), logits.shape[1]).index_add(0, place, logits)
    means = sums / counts[:, None]
    apart = (logits - means[place]).square()
    squares = torch.zeros_like(means).index_add(0, place, apart)
    variances = squares / (counts - 1).clamp_min(1)[:, None]
    return classes[twice], means[twice], variances[twice]


def _count_epochs_of_earlier_versions(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Files of earlier versions have no count: their penalty never waited."""
    state.setdefault(f"{prefix}epochs", torch.zeros((), dtype=torch.int64))
