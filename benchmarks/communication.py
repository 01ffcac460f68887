"""What the processes of a training send each other in a step, and what the head takes in each.

    python benchmarks/communication.py          # 64 processes at 2 million classes, 8 at 1.4 million
    python benchmarks/communication.py --tiny   # does it still run

Nothing is trained: bytes are counted from shapes, and tests/faceverif/test_sharded_classes.py finds the same
where processes exchange them. An iResNet-50 with 512 dimensions, 128 photos a process, gradients in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch

from faceverif.backbones import build_backbone
from faceverif.config.backbones import IResNetConfig
from faceverif.heads.sharding import Sharding
from faceverif.sharding.shard import ClassShard

DIM, PHOTOS = 512, 128
FLOAT, LABEL = 4, 8  # bytes
FIGURES = 6  # loss, accuracy, all-negative share, failed checks, stop, save
SAMPLED = 0.1
SIZES = ((64, 2_000_000), (8, 1_400_000))  # processes, classes


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
    embeddings = batch * dim * FLOAT
    own_weights = [Collective("all_reduce", embeddings)] if pulled else []
    return [
        Collective("all_gather", embeddings),
        Collective("all_gather", batch * LABEL),
        *own_weights,
        Collective("all_reduce", batch * FLOAT),  # largest logits
        Collective("all_reduce", 2 * batch * FLOAT),  # sums of exponentials, and logits of the own classes
        Collective("all_reduce", 2 * batch * FLOAT),  # their gradients
        *own_weights,
        Collective("reduce_scatter", embeddings),
        Collective("all_gather", 2 * batch * processes * FLOAT),  # the best class of each process: accuracy
    ]


def of_whole_parameters(parameters: int) -> list[Collective]:
    """Exchanges for gradients of what all processes have alike, and for the figures of a step."""
    return [Collective("all_reduce", parameters * FLOAT), Collective("all_reduce", FIGURES * FLOAT)]


def sent_by_each(collectives: Iterable[Collective], processes: int) -> float:
    """Bytes that each process sends."""
    return sum(each.sent(processes) for each in collectives)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="one small size, to see that it runs")
    arguments = parser.parse_args()
    with torch.device("meta"):
        backbone = build_backbone(
            IResNetConfig(name="iresnet", depth=18 if arguments.tiny else 50, embedding_dim=DIM, input_px=112)
        )
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    print(f"backbone: {parameters / 1e6:.1f} million parameters")
    for processes, classes in ((2, 1000),) if arguments.tiny else SIZES:
        show(processes, classes, parameters)


def show(processes: int, classes: int, parameters: int) -> None:
    """A table: a row for each way to place the head."""
    batch, shard = PHOTOS * processes, ClassShard(classes, processes, 0)
    backbone = of_whole_parameters(parameters)
    spread = of_sharded_head(batch=batch, dim=DIM, processes=processes) + backbone
    pulled = of_sharded_head(batch=batch, dim=DIM, processes=processes, pulled=True) + backbone
    drawn = Sharding(shard, SAMPLED).drawn(shard.size, batch=batch)
    whole = of_whole_parameters(parameters + classes * DIM)
    print(f"\n{processes} processes, {classes:,} classes, {batch:,} photos a step; MB for each process")
    print(f"{'':32}{'sent':>10}{'head':>10}{'logits':>10}")
    for name, exchanged, held, logits in (
        ("whole head in each (DDP)", whole, classes, PHOTOS * classes),
        ("shard_classes", spread, shard.size, batch * shard.size),
        ("shard_classes, W-Softmax", pulled, shard.size, 2 * batch * shard.size),
        (f"sample_classes: {SAMPLED}", spread, shard.size, batch * drawn),
    ):
        figures = (sent_by_each(exchanged, processes), 3 * held * DIM * FLOAT, logits * FLOAT)
        print(f"{name:32}" + "".join(f"{figure / 1e6:10,.1f}" for figure in figures))


if __name__ == "__main__":
    main()
