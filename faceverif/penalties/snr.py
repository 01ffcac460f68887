"""SNR: logits kept on their side of a threshold with little spread, and the bounds that this comes from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.checked_tensors import require_not_negative
from faceverif.penalties.base import EmbeddedBatch, Penalty
from faceverif.process_sums import sum_over_processes

# A mean that meets its threshold would divide by zero.
_SMALLEST_SQUARE = 1e-6


def cantelli_upper(mean: Tensor | float, variance: Tensor | float, threshold: Tensor | float) -> Tensor:
    """Largest possible Pr(x >= threshold), Theorem 1 of Ghobadzadeh & Lashkari.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        threshold: eta.

    Returns:
        In [0, 1], float64.
    """
    mean, variance, threshold = _as_double(mean, variance, threshold)
    square = (threshold - mean).square()
    return torch.where(threshold <= mean, 1.0, variance / (variance + square))


def cdf_bounds(
    mean: Tensor | float, variance: Tensor | float, threshold: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Smallest and largest possible Pr(x <= threshold), Eqs. 5 to 7: what Theorem 1 says of -x and of x.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        threshold: eta.

    Returns:
        Both in [0, 1], float64. The smallest is met by distributions with no mass on the threshold itself.
    """
    mean, variance, threshold = _as_double(mean, variance, threshold)
    lower = 1.0 - cantelli_upper(mean, variance, threshold)
    return lower, cantelli_upper(-mean, variance, -threshold)


def two_sided_upper(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Largest possible Pr(x <= lower or x >= upper), Theorem 2 (Eq. 8), as printed.

    It is not a bound everywhere. The proof's first case puts the middle mass on the mean; elsewhere it can do
    better. For distances a <= b of the thresholds from the mean with a b > variance > a (b - a) / 2 and
    a < b, mass at (b - a) / 2 reaches `selberg_upper`, which is larger; in all other cases the two agree.
    The loss uses one-sided bounds only, so it does not suffer.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: eta_1; 1 is returned unless it lies below the mean.
        upper: eta_2; 1 is returned unless it lies above the mean.

    Returns:
        In [0, 1], float64.
    """
    mean, variance, lower, upper = _as_double(mean, variance, lower, upper)
    below, above = mean - lower, upper - mean
    nearer = torch.minimum(below, above)
    bound = torch.maximum(variance / (below * above), variance / (variance + nearer.square()))
    around = (below > 0) & (above > 0) & (below * above >= variance)
    return torch.where(around, bound, 1.0)


def selberg_upper(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Largest possible Pr(x <= lower or x >= upper), Selberg's inequality: true and tight everywhere.

    H. L. Selberg, "Zwei Ungleichungen zur Ergaenzung des Tchebycheffschen Lemmas" (1940).

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: 1 is returned unless it lies below the mean.
        upper: 1 is returned unless it lies above the mean.

    Returns:
        In [0, 1], float64.
    """
    mean, variance, lower, upper = _as_double(mean, variance, lower, upper)
    near = torch.minimum(mean - lower, upper - mean)
    far = torch.maximum(mean - lower, upper - mean)
    one_sided = variance / (variance + near.square())
    both_sides = ((far - near).square() + 4.0 * variance) / (far + near).square()
    bound = torch.where(near * (far - near) >= 2.0 * variance, one_sided, both_sides)
    return torch.where((near > 0) & (near * far >= variance), bound, 1.0)


def interval_upper(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Largest possible Pr(lower <= x <= upper), Theorem 3.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: eta_1.
        upper: eta_2 >= eta_1.

    Returns:
        In [0, 1], float64; 1 where the mean lies in the interval.
    """
    mean, variance, lower, upper = _as_double(mean, variance, lower, upper)
    outside = torch.maximum(lower - mean, mean - upper)
    return torch.where(outside <= 0, 1.0, variance / (variance + outside.square()))


def interval_lower(
    mean: Tensor | float, variance: Tensor | float, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """Smallest possible Pr(lower < x < upper), Eq. 10: one minus `two_sided_upper`, with what that says.

    Args:
        mean: any shape, as the others, broadcast.
        variance: >= 0.
        lower: eta_1.
        upper: eta_2.

    Returns:
        In [0, 1], float64; 0 unless the mean lies inside.
    """
    return 1.0 - two_sided_upper(mean, variance, lower, upper)


def snr_penalty(
    logits: Tensor,
    labels: Tensor,
    thresholds: Tensor,
    *,
    constraint_weight: float,
    margin: float,
    smallest_snr: float = 0.0,
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
    """

    thresholds: Tensor
    gathered: Tensor

    def __init__(
        self,
        *,
        classes: int,
        update: Literal["batch", "epoch"],
        spread: float,
        constraint_weight: float,
        margin: float,
        smallest_snr: float,
    ) -> None:
        super().__init__()
        self.update = update
        self.smallest_snr = smallest_snr
        self.spread = spread
        self.constraint_weight = constraint_weight
        self.margin = margin
        self.register_buffer("thresholds", torch.full((classes,), torch.nan))
        # Count, sum and sum of squares of each class's own logit. In float64: sums of squares cancel.
        self.register_buffer("gathered", torch.zeros(3, classes, dtype=torch.float64))

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """A single number; takes note of the batch while in training mode."""
        logits, labels = batch.output.margin_logits, batch.labels
        if self.training:
            own = logits.detach().gather(1, labels[:, None]).squeeze(1).double()
            sums = torch.stack([torch.ones_like(own), own, own.square()])
            if self.update == "batch" and self.thresholds.isnan().all():
                self._set_thresholds(torch.zeros_like(self.gathered).index_add_(1, labels, sums))
            self.gathered.index_add_(1, labels, sums)
        penalty = snr_penalty(
            logits,
            labels,
            self.thresholds,
            constraint_weight=self.constraint_weight,
            margin=self.margin,
            smallest_snr=self.smallest_snr,
        )
        if self.training and self.update == "batch":
            self._take_over()
        return penalty

    def end_epoch(self) -> None:
        """Set the thresholds from the epoch."""
        if self.update == "epoch":
            self._take_over()

    def _take_over(self) -> None:
        self._set_thresholds(self.gathered)
        self.gathered.zero_()

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


def _as_double(*values: Tensor | float) -> list[Tensor]:
    return list(torch.broadcast_tensors(*(torch.as_tensor(value, dtype=torch.float64) for value in values)))
