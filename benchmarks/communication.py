"""What the processes of a training send each other in a step, and what the head takes in each.

    python benchmarks/communication.py          # 64 processes at 2 million classes, 8 at 1.4 million
    python benchmarks/communication.py --tiny   # does it still run

Nothing is trained: bytes are counted from shapes, and tests/faceverif/test_sharded_classes.py finds the same
where processes exchange them. An iResNet-50 with 512 dimensions, 128 photos a process, gradients in float32.
"""

from __future__ import annotations

import argparse

import torch

from faceverif.backbones import build_backbone
from faceverif.config.backbones import IResNetConfig
from faceverif.heads.sharding import Sharding
from faceverif.sharding.shard import ClassShard
from faceverif.sharding.traffic import of_sharded_head, of_whole_parameters, sent_by_each

DIM, PHOTOS, FLOAT = 512, 128, 4
SAMPLED = 0.1
SIZES = ((64, 2_000_000), (8, 1_400_000))  # processes, classes


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
