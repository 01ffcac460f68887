"""What the processes of a training send each other in a step, counted from shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

_FLOAT, _LABEL = 4, 8
_FIGURES = 6  # loss, accuracy, all-negative share, failed checks, stop, save


class Collective(NamedTuple):
    """One exchange.

    Attributes:
        kind: what is exchanged how.
        size: bytes of the whole tensor: what is summed, what all have gathered, or what is scattered.
    """

    kind: Literal["all_reduce", "all_gather", "reduce_scatter"]
    size: int

    def sent(self, processes: int) -> float:
        """Bytes that each process sends, by the ring algorithm: a sum goes round twice, rows go once."""
        rounds = 2 if self.kind == "all_reduce" else 1
        return rounds * (processes - 1) / processes * self.size


def of_sharded_head(*, batch: int, dim: int, processes: int, pulled: bool = False) -> list[Collective]:
    """Exchanges of a cross entropy over a head whose classes are spread. Their number makes no difference.

    Args:
        batch: photos of all processes together.
        dim: length of an embedding.
        processes: how many there are.
        pulled: W-Softmax, which needs the weights of the own classes, and their gradients.
    """
    embeddings = batch * dim * _FLOAT
    own_weights = [Collective("all_reduce", embeddings)] if pulled else []
    return [
        Collective("all_gather", embeddings),
        Collective("all_gather", batch * _LABEL),
        *own_weights,
        Collective("all_reduce", batch * _FLOAT),  # largest logits
        Collective("all_reduce", 2 * batch * _FLOAT),  # sums of exponentials, and logits of the own classes
        Collective("all_reduce", 2 * batch * _FLOAT),  # their gradients
        *own_weights,
        Collective("reduce_scatter", embeddings),
        Collective("all_gather", 2 * batch * processes * _FLOAT),  # the best class of each process: accuracy
    ]


def of_whole_parameters(parameters: int) -> list[Collective]:
    """Exchanges for gradients of what all processes have alike, and for the figures of a step."""
    return [Collective("all_reduce", parameters * _FLOAT), Collective("all_reduce", _FIGURES * _FLOAT)]


def sent_by_each(collectives: Iterable[Collective], processes: int) -> float:
    """Bytes that each process sends."""
    return sum(each.sent(processes) for each in collectives)
