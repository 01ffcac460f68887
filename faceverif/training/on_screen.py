"""What a training shows in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from data_prep.progress import progress

if TYPE_CHECKING:
    from faceverif.training.loop import TrainingRun


def headline(training: TrainingRun) -> str:
    """What is trained on what, in a line."""
    config, photos, fabric = training.config, training.photos, training.fabric
    backbone = training.learner.network.backbone
    millions = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    begins = f"from step {training.step:,}" if training.step else "from the start"
    return (
        f"{config.backbone.name} ({millions:.2f} million parameters), {config.head.name}: "
        f"{len(photos):,} photos of {len(photos.identities):,} people, {config.training.epochs} epochs of "
        f"{training.steps_per_epoch} steps of {config.training.batch_size} photos, {begins}; "
        f"{fabric.world_size} process(es) on {fabric.device}, {config.training.precision}"
    )


def steps_shown(
    title: str, *, photos: int, shown: bool
) -> AbstractContextManager[Callable[[int, str], None]]:
    """A progress bar over photos, which takes how many more were seen and a note; nothing unless `shown`."""
    if shown:
        return progress(title, total=photos)
    return nullcontext(lambda count, note: None)
