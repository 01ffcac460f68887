"""The batch at which a training stopped, kept for those who look for the reason."""

from __future__ import annotations

from pathlib import Path

import torch

from data_prep.atomic import written_whole
from faceverif.config.run import RunConfig
from faceverif.training.data import TrainingPhotos, read_batches
from faceverif.training.order import RemainingBatches


def save_refused_batch(path: Path, config: RunConfig, photos: TrainingPhotos, *, step: int) -> None:
    """The whole batch of all processes, with the photos' names: it follows from the seed and the step.

    Args:
        path: where it is kept.
        config: the run.
        photos: what is trained on.
        step: number of the refused step, counted from 0.
    """
    order = RemainingBatches(
        len(photos),
        batch_size=config.training.batch_size,
        steps=(step, step + 1),
        seed=config.seed,
        share=(0, 1),
    )
    [batch] = read_batches(photos, order, workers=0, pin=False)
    names = [photos.dataset.crops.name(row) for row in photos.rows[batch.photos]]
    with written_whole(path) as unfinished:
        torch.save(batch._asdict() | {"names": names, "step": step}, unfinished)
