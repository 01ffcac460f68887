"""What a head takes in the memory of each process, as `--dry-run` says it."""

from __future__ import annotations

from faceverif.sharding.shard import ClassShard
from faceverif.training.learner import Learner

_EXAMPLE = 8  # processes


def head_memory(learner: Learner) -> str:
    """Class weights with gradients and optimizer state, and the logits of a step; call it after a step."""
    head, fabric, training = learner.network.objective.head, learner.fabric, learner.config.training
    sharding = head.sharding
    held = head.classes if sharding is None else sharding.shard.size
    weights = _head_mb(learner)
    photos = training.batch_size // training.accumulate
    photos = photos if sharding is not None else photos // fabric.world_size
    columns = held if sharding is None else sharding.drawn(held, batch=photos)
    logits = photos * columns * head.centres_per_class * 4 / 1e6
    text = (
        f"{weights:,.1f} MB in each process for {held:,} of {head.classes:,} classes with gradients and "
        f"optimizer state, {logits:,.1f} MB for the logits of {photos:,} photos"
    )
    if sharding is None and head.classes >= _EXAMPLE:
        part = ClassShard(head.classes, _EXAMPLE, 0).size / head.classes * weights
        text += f"; training.shard_classes leaves {part:,.1f} MB in each of {_EXAMPLE} processes"
    return text


def _head_mb(learner: Learner) -> float:
    """Of parameters, gradients and what the optimizer keeps of them."""
    total = 0
    for parameter in learner.network.objective.head.parameters():
        moments = learner.optimizer.state.get(parameter, {}).values()
        kept = sum(moment.nbytes for moment in moments if moment is not None and moment.ndim)
        total += parameter.nbytes + kept
        total += parameter.grad.nbytes if parameter.grad is not None else 0
    return total / 1e6
