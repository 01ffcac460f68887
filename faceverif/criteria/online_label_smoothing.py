"""Online label smoothing: soft labels from what the model itself predicted in the epoch before."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.criteria.base import Criterion
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.sharding.collectives import sum_over_processes

# One soft label per class, each over all classes: 1.6 GB of float32 at this many, and as much to gather.
_MOST_CLASSES = 20_000


def soft_label_cross_entropy(logits: Tensor, labels: Tensor, soft_labels: Tensor, *, hard: float) -> Tensor:
    """hard * CE(one-hot label) + (1 - hard) * CE(soft label of the class).

    Zhang et al., "Delving Deep into Label Smoothing" (2021), Eqs. 2 and 7.

    Args:
        logits: (batch, classes).
        labels: (batch,), int64 in [0, classes).
        soft_labels: (classes, classes), a distribution per row; the row of a class is its soft label.
        hard: share of the one-hot label, in [0, 1].

    Returns:
        (batch,).

    Raises:
        InputError: labels out of range.
    """
    of_label = cross_entropy(logits, labels)
    of_soft_label = F.cross_entropy(logits, soft_labels[labels], reduction="none")
    return hard * of_label + (1.0 - hard) * of_soft_label


class OnlineLabelSmoothing(Criterion):
    """Soft labels: the mean prediction for each class over the last epoch's rightly classified samples.

    Zhang et al. (2021), Eqs. 3-6. The first epoch, and a class of which nothing was right, uses the uniform
    distribution.

    Args:
        classes: how many there are; memory goes with their square.
        hard: share of the one-hot label, 0.5 in the paper.

    Raises:
        InputError: more classes than memory is worth.
    """

    own_sums = ("gathered", "counts")
    soft_labels: Tensor
    gathered: Tensor
    counts: Tensor

    def __init__(self, *, classes: int, hard: float) -> None:
        super().__init__()
        if classes > _MOST_CLASSES:
            raise InputError(
                "criterion.name",
                f"online_label_smoothing keeps classes x classes soft labels, for at most {_MOST_CLASSES:,}",
                got=f"{classes:,} classes",
                fix="Use label_smoothing.",
            )
        self.hard = hard
        self.register_buffer("soft_labels", torch.full((classes, classes), 1.0 / classes))
        self.register_buffer("gathered", torch.zeros(classes, classes))
        self.register_buffer("counts", torch.zeros(classes))

    def forward(self, margin_logits: Tensor, labels: Tensor) -> Tensor:
        """Loss per sample, (batch,); gathers predictions while in training mode."""
        if self.training:
            self._gather(margin_logits.detach(), labels)
        return soft_label_cross_entropy(margin_logits, labels, self.soft_labels, hard=self.hard)

    def end_epoch(self) -> None:
        """What was gathered becomes the next epoch's soft labels."""
        gathered, counts = sum_over_processes(self.gathered), sum_over_processes(self.counts)[:, None]
        uniform = torch.full_like(self.soft_labels, 1.0 / len(self.counts))
        self.soft_labels.copy_(torch.where(counts > 0, gathered / counts.clamp_min(1.0), uniform))
        self.gathered.zero_()
        self.counts.zero_()

    def _gather(self, logits: Tensor, labels: Tensor) -> None:
        right = logits.argmax(dim=1) == labels
        # Zeros for the others: to choose rows would mean to wait for the device.
        self.gathered.index_add_(0, labels, torch.where(right[:, None], logits.float().softmax(dim=1), 0.0))
        self.counts.index_add_(0, labels, right.to(self.counts.dtype))
