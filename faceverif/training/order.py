"""Which photos make which batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from data_prep.errors import InputError
from faceverif.training.randomness import counted_generator


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Whole batches in an epoch; the photos left over sit out, others in every epoch.

    Raises:
        InputError: not even one batch.
    """
    if photos < batch_size:
        raise InputError(
            "training.batch_size",
            f"must be at most the number of photos, {photos}",
            got=batch_size,
            fix=f"Example: --set training.batch_size={max(2, photos // 4)}",
        )
    return photos // batch_size


class RemainingBatches(Sampler[list[int]]):
    """The photos of every batch from one step to the last, for one of several processes.

    The order of an epoch follows from the seed and the epoch alone, and a batch is cut into as many equal
    shares as there are processes: so it is the same batch on any number of them, and a resumed run meets no
    photo twice.

    Args:
        photos: how many there are.
        batch_size: of all processes together.
        steps: (first, end) of the training steps to go through, counted over all epochs.
        seed: of the run.
        share: (which, of how many) equal shares.
    """

    def __init__(
        self, photos: int, *, batch_size: int, steps: tuple[int, int], seed: int, share: tuple[int, int]
    ) -> None:
        self.photos, self.batch_size, self.steps = photos, batch_size, steps
        self.seed, self.share = seed, share

    def __len__(self) -> int:
        return self.steps[1] - self.steps[0]

    def __iter__(self) -> Iterator[list[int]]:
        per_epoch = steps_per_epoch(self.photos, self.batch_size)
        which, of = self.share
        size = self.batch_size // of
        order = torch.empty(0)
        for step in range(*self.steps):
            epoch, position = divmod(step, per_epoch)
            if position == 0 or step == self.steps[0]:
                order = torch.randperm(self.photos, generator=counted_generator(self.seed, "order", epoch))
            start = position * self.batch_size + which * size
            yield order[start : start + size].tolist()
