"""A head whose classes are spread over the processes of a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.heads.base import Head, HeadOutput
from faceverif.sharding.collectives import gathered, own_rank, processes, total
from faceverif.sharding.logits import ShardedLogits
from faceverif.sharding.own_class import OwnClass
from faceverif.sharding.shard import ClassShard


class ShardedOutput(HeadOutput):
    """What a head says of the batch of all processes.

    `margin_logits` and `logits` have the classes of this process alone; losses ask `columns`.

    Args:
        output: of the comparison with these classes.
        labels: (batch of all,), among all classes.
        columns: the margin logits, with what losses ask of all classes.

    Attributes:
        own_log_density: (batch of all,), wherever the own class is.
    """

    def __init__(self, output: HeadOutput, labels: Tensor, columns: ShardedLogits) -> None:
        density = output.own_log_density
        if density is not None:
            density = total(torch.where(columns.own.here, density, 0.0))
        super().__init__(output.margin_logits, lambda: output.logits, own_log_density=density)
        self.labels, self.columns = labels, columns

    def surprise(self, labels: Tensor) -> Tensor:
        """See `HeadOutput`; the labels of all processes are known already."""
        return self.columns.surprise

    def highest(self) -> tuple[Tensor, Tensor]:
        """Of this process's share of the batch, among the classes of all processes."""
        highest, place = super().highest()
        # One exchange for both. float32 holds the numbers of 16.7 million classes exactly.
        found = torch.stack((highest, self.columns.numbers[place].to(highest.dtype)))
        values, classes = gathered(found).unflatten(0, (processes(), 2)).unbind(dim=1)
        best, process = values.max(dim=0)
        winners = classes.gather(0, process[None]).squeeze(0).long()
        return best.chunk(processes())[own_rank()], winners.chunk(processes())[own_rank()]


@dataclass(frozen=True)
class Sharding:
    """How a head's classes are spread, and how many of them a training step compares with.

    Attributes:
        shard: those of this process.
        sampled: share of the classes for each step, in (0, 1]: An et al., "Partial FC" (2021). Those of the
            batch are always among them, the others are drawn from torch's generator. None: all.
    """

    shard: ClassShard
    sampled: float | None = None

    def compare(self, head: Head, embeddings: Tensor, labels: Tensor) -> ShardedOutput:
        """Every process's embeddings, (batch, dim), with the classes of this one."""
        embeddings, labels = gathered(embeddings), gathered(labels)
        local, size = labels - self.shard.start, self.shard.size
        numbers = torch.arange(self.shard.start, self.shard.start + size, device=labels.device)
        columns = self.shard.classes
        if self.sampled is None or not head.training:
            output = head.compare(embeddings, local)
        else:
            rows = drawn_rows(local, classes=size, count=self.drawn(size, batch=len(labels)))
            numbers, columns = numbers[rows], self._all_drawn(batch=len(labels))
            local = _places_among(rows, local, classes=size)
            output = _compare_with(head, rows, embeddings, local)
        own = OwnClass.among(local, len(numbers))
        return ShardedOutput(
            output, labels, ShardedLogits(output.margin_logits, own, numbers, classes=columns)
        )

    def drawn(self, size: int, *, batch: int) -> int:
        """How many classes of a shard of that size a step compares with.

        Enough for all classes of the batch, so that the number is known without a look at the labels.
        """
        return size if self.sampled is None else min(size, max(round(self.sampled * size), batch))

    def _all_drawn(self, *, batch: int) -> int:
        shards = (self.shard.of_rank(rank) for rank in range(self.shard.processes))
        return sum(self.drawn(shard.size, batch=batch) for shard in shards)


def spread_classes(head: Head, sharding: Sharding) -> None:
    """Leave a head the classes of this process.

    Args:
        head: with all classes, the same in every process, on the CPU.
        sharding: how they are spread.

    Raises:
        InputError: the head cannot be spread.
    """
    if not head.by_class:
        raise InputError(
            "training.shard_classes",
            "needs a head that can be computed from some of its classes",
            got=type(head).__name__,
            fix="Leave training.shard_classes and training.sample_classes out, or take another head.",
        )
    for name in sorted(head.by_class):
        tensor = getattr(head, name)
        rows = tensor.detach()[sharding.shard.rows].clone()
        if isinstance(tensor, nn.Parameter):
            rows = nn.Parameter(rows, requires_grad=tensor.requires_grad)
            if sharding.shard.processes > 1 and rows.requires_grad:
                # Gradients are of the sum of all processes' losses; DDP divides those that it knows.
                rows.register_hook(lambda gradient: gradient / sharding.shard.processes)
        setattr(head, name, rows)
    head.sharding = sharding


def sharding_of(head: Head) -> Sharding:
    """How the classes of a head are spread, which they are."""
    assert head.sharding is not None
    return head.sharding


def sharded_names(module: nn.Module) -> Iterator[tuple[str, Sharding]]:
    """Paths of the parameters and buffers of which each process has some rows, and how they are spread."""
    for path, part in module.named_modules():
        if isinstance(part, Head) and part.sharding is not None:
            for name in sorted(part.by_class):
                yield f"{path}.{name}".lstrip("."), part.sharding


def drawn_rows(labels: Tensor, *, classes: int, count: int) -> Tensor:
    """Classes for a step: those of the batch, and others by chance, each with the same probability.

    Args:
        labels: (batch,) int64; those outside [0, classes) are of other processes.
        classes: how many there are.
        count: how many are drawn, at least as many as the batch has.

    Returns:
        (count,) int64, ascending.
    """
    own = OwnClass.among(labels, classes)
    chance = torch.rand(classes).to(labels.device)
    # Above every chance. A class of another process marks a row beyond the end, which is cut off.
    marked = torch.cat((chance, chance.new_zeros(1)))
    marked[torch.where(own.here, own.place, classes)] = 2.0
    return marked[:classes].topk(count).indices.sort().values


def _places_among(rows: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Where each label stands in the rows; -1 where it does not."""
    own = OwnClass.among(labels, classes)
    place = rows.new_full((classes,), -1)
    place[rows] = torch.arange(len(rows), device=rows.device)
    return torch.where(own.here, place[own.place], -1)


class _Comparing(nn.Module):
    """`Head.compare` as a forward pass, in which torch can replace tensors."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        return self.head.compare(embeddings, labels)


def _compare_with(head: Head, rows: Tensor, embeddings: Tensor, labels: Tensor) -> HeadOutput:
    """The comparison with some classes, of which the others get a gradient of zero."""
    whole = {name: getattr(head, name) for name in head.by_class}
    chosen = {name: tensor[rows] for name, tensor in whole.items()}
    named = {f"head.{name}": tensor for name, tensor in chosen.items()}
    output: HeadOutput = torch.func.functional_call(_Comparing(head), named, (embeddings, labels))
    for name, tensor in whole.items():
        if not isinstance(tensor, nn.Parameter):
            tensor[rows] = chosen[name]  # statistics that the comparison has changed in place
    return output
