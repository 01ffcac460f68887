"""Device, precision and processes, as the machine and torchrun give them."""

from __future__ import annotations

import os

from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from data_prep.errors import InputError
from faceverif.config.run import TrainingConfig


def launch_fabric(config: TrainingConfig) -> Fabric:
    """Start Fabric: alone, or as one of the processes that torchrun started (gloo on a CPU, NCCL on GPUs).

    Raises:
        InputError: the batch cannot be cut into equal shares.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    shares = processes * config.accumulate
    if config.batch_size % shares:
        raise InputError(
            "training.batch_size",
            f"must divide into {processes} processes x {config.accumulate} parts",
            got=config.batch_size,
            fix=f"Example: --set training.batch_size={shares * max(1, config.batch_size // shares)}",
        )
    fabric = Fabric(
        accelerator="auto",
        devices=on_this_machine,
        num_nodes=processes // on_this_machine,
        # One process needs no process group.
        # Running statistics stay each process's own, as sums for the end of an epoch must; the first
        # process's are saved.
        strategy=DDPStrategy(broadcast_buffers=False) if processes > 1 else "auto",
        precision=config.precision,
    )
    fabric.launch()
    return fabric
