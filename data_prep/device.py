"""The device that this process computes on: chosen once, then asked for wherever a network is loaded.

One process computes on one device. Results come back to the CPU, so nothing that is written depends on where
it was computed, up to rounding.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from data_prep.errors import InputError

if TYPE_CHECKING:
    import torch

AUTO = "auto"
_NAMED = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")

_chosen: str = AUTO
_cores: int | None = None


def refuse_unknown_device(name: str) -> None:
    """Stop at what is no device's name; whether the machine has it, `find_device` knows.

    Raises:
        InputError: it is none.
    """
    if not _NAMED.fullmatch(name):
        rule, fix = "must be auto, cpu, cuda, cuda:N or mps", "Leave it out for a GPU, if any."
        raise InputError("--device", rule, got=name, fix=fix)


def choose_device(name: str) -> torch.device:
    """Make a device that of this process.

    Args:
        name: auto, cpu, cuda, cuda:N or mps. auto is CUDA's first GPU where there is one, otherwise the CPU.

    Raises:
        InputError: no device of that name is here.
    """
    global _chosen
    device = find_device(name)
    _chosen = name
    return device


def chosen_name() -> str:
    """The name that was chosen, for processes that this one starts."""
    return _chosen


def computing_device() -> torch.device:
    """The device of this process; without a choice, that of `auto`."""
    return find_device(_chosen)


def use_cores(count: int) -> None:
    """Let this process compute on some cores only: one, where there is a worker per core."""
    global _cores
    _cores = count


def cores() -> int:
    """The cores that this process computes on: all of the machine, unless it was told otherwise."""
    return _cores or os.cpu_count() or 1


def find_device(name: str) -> torch.device:
    """The device of a name, and float32 that means float32 there.

    Raises:
        InputError: no device of that name is here.
    """
    refuse_unknown_device(name)
    import torch

    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in (here := available_devices()):
        raise InputError(
            "--device",
            "must be a device of this machine",
            got=f"{name}{_why_none(name)}",
            fix=f"There is {', '.join(each for each in here if each != 'cuda:0')}.",
        )
    if name.startswith("cuda"):
        # TensorFloat-32 would round inputs to 10 bits, and scores would depend on the device.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        return torch.device(name if ":" in name else "cuda:0")
    return torch.device(name)


def available_devices() -> list[str]:
    """What `--device` may name on this machine."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [f"cuda:{number}" for number in range(count)]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *(["cuda"] if gpus else []), *gpus, *mps]


def _why_none(name: str) -> str:
    import torch

    if name.startswith("cuda") and torch.version.cuda is None:
        return ", and PyTorch is installed without CUDA"
    return ""
