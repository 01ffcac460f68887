"""Device, precision and processes, as the machine and torchrun give them."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from data_prep.device import chosen_name, computing_device
from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from data_prep.progress import say
from faceverif.heads.sharding import sharded_names

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# How other launchers are asked for one process, and how they say how many they started.
_OTHER_LAUNCHERS = {
    "srun --ntasks=1": ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"),
    "mpirun -n 1": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"),
}
_SLOW_PRECISION = (
    "this processor has no bfloat16 units, so training.precision bf16-mixed can take a hundred times as long "
    "as 32-true. Set it to 32-true. A run that has begun cannot change it."
)


class _Steps(Protocol):
    @property
    def batch_size(self) -> int: ...
    @property
    def precision(self) -> Literal["32-true", "bf16-mixed"]: ...


class Divided(Protocol):
    """A training whose batches are cut into equal shares, one for each process."""

    @property
    def training(self) -> _Steps:
        """How large a batch is, and how precise."""

    def refusal_of_parts(self, *, processes: int) -> str:
        """What the batch size must be if it cannot be divided among these processes; empty if it can."""


def launch_fabric(config: Divided) -> Fabric:
    """Start Fabric: alone, or as one of the processes that torchrun started (gloo on a CPU, NCCL on GPUs).

    Args:
        config: the run.

    Raises:
        InputError: the batch cannot be cut into equal shares, or another launcher started several processes.
    """
    refuse_other_launchers()
    processes = _processes()
    on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    _refuse_uneven_parts(config, processes)
    device = computing_device()
    if processes > 1 and device.type == "cuda":
        _refuse_one_gpu_for_all()
    if config.training.precision == "bf16-mixed" and not _has_bfloat16(device):
        say(f"warning: {_SLOW_PRECISION}")
    # Fabric brings torch._dynamo, which takes as long as torch: only once everything is checked.
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    fabric = Fabric(
        accelerator=device.type,
        devices=on_this_machine if processes > 1 else _alone_on(device),
        num_nodes=processes // on_this_machine,
        # One process needs no process group.
        # Running statistics stay each process's own, and the first process's are saved. So do sums for the
        # end of an epoch; a checkpoint holds those of all.
        strategy=DDPStrategy(broadcast_buffers=False) if processes > 1 else "auto",
        precision=config.training.precision,
    )
    # PyTorch's new name for the argument means something else; each process would say so.
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.* is deprecated")
    fabric.launch()
    return fabric


def _refuse_uneven_parts(config: Divided, processes: int) -> None:
    if rule := config.refusal_of_parts(processes=processes):
        raise InputError(
            "training.batch_size",
            rule,
            got=config.training.batch_size,
            fix=f"Change it{_or_accumulate(config)} or the number of processes.",
        )


def _refuse_one_gpu_for_all() -> None:
    if ":" in chosen_name():
        raise InputError(
            "--device",
            "must not name one GPU for several processes: each takes its own",
            got=chosen_name(),
            fix="Give --device cuda.",
        )


def leave_to_processes(network: nn.Module) -> None:
    """Tell DDP what it must not make equal: the classes that each process holds alone."""
    spread = [name for name, _ in sharded_names(network)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(network, spread)


def _or_accumulate(config: Divided) -> str:
    return ", training.accumulate" if hasattr(config.training, "accumulate") else ""


def _alone_on(device: torch.device) -> int | list[int]:
    """Fabric's `devices` for one process."""
    return [device.index or 0] if device.type == "cuda" else 1


def refuse_other_launchers() -> None:
    """Stop where a launcher started several processes that would not know of each other.

    Raises:
        InputError: SLURM or MPI started this process as one of several, without torchrun.
    """
    if "WORLD_SIZE" in os.environ:
        return
    for launcher, names in _OTHER_LAUNCHERS.items():
        count = next((os.environ[name] for name in names if os.environ.get(name, "").isdecimal()), "1")
        if int(count) > 1:
            raise InputError(
                launcher.split()[0],
                "must start one torchrun per machine, which starts the processes of a training",
                got=f"{count} processes, each of which would train alone",
                fix=f"For one process: {launcher} {_command()}. For {count} on one machine: {launcher} "
                f"torchrun --standalone --nproc-per-node={count} -m -- {_command()}",
            )


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself; True where PyTorch cannot tell."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    if able.get("architecture") == "x86_64":
        return any(able.get(unit) for unit in ("avx512_bf16", "amx_bf16"))
    return bool(able.get("bf16", True))


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _command() -> str:
    return printed_command(*sys.argv[1:])
