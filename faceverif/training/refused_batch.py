"""The batch at which a training stopped, kept for those who look for the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from data_prep.atomic import written_whole
from data_prep.errors import InputError
from faceverif.config.run import RunConfig
from faceverif.training.data import TrainingPhotos, read_batches
from faceverif.training.order import RemainingBatches


@contextmanager
def batch_kept_if_refused(
    run: Path, config: RunConfig, photos: TrainingPhotos, *, step: int, writes: bool
) -> Iterator[None]:
    """A block that computes a step: if it is refused, its batch lies in RUN/refused_batch.pt.

    Args:
        run: the run's folder.
        config: the run.
        photos: what is trained on.
        step: its number, counted from 0.
        writes: whether this process is the first.

    Raises:
        InputError: that of the block, which then also names the step and the file.
    """
    try:
        yield
    except InputError as error:
        path = run / "refused_batch.pt"
        if writes:
            _save_batch(path, config, photos, step=step)
        raise InputError(
            error.field,
            error.rule,
            got=f"{error.got} at step {step}",
            fix=f"The batch is in {path}. {error.fix}",
        ) from None


def _save_batch(path: Path, config: RunConfig, photos: TrainingPhotos, *, step: int) -> None:
    """The whole batch of all processes, with the photos' names: it follows from the seed and the step."""
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
