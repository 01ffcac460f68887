"""What every worker does, wherever it is: choose its device, and look after its storage around each shard."""

from __future__ import annotations

from collections.abc import Callable

from data_prep.device import choose_device, use_cores
from data_prep.host_memory import keep_freed_memory
from data_prep.work.job import Job, Result, Shard
from data_prep.work.storage import Watch


def work_of(job: Job[Shard, Result]) -> Callable[[Shard], Result]:
    """What does one shard, in this process."""
    watch, do = Watch(job), job.start()

    def work(shard: Shard) -> Result:
        watch.refuse_vanished()
        try:
            return do(shard)
        finally:
            watch.refuse_vanished()  # what could not be read because the storage is gone is no result

    return work


def work_on_one_core(job: Job[Shard, Result], device: str | None) -> Callable[[Shard], Result]:
    """The same in a process of its own, of which there is one per core.

    Args:
        job: what to do.
        device: for `choose_device`; None: the job needs none.
    """
    if device is not None:
        choose_device(device)
        use_cores(1)
        use_threads(1, 1)
        keep_freed_memory()
    return work_of(job)


def use_threads(of_torch: int, of_opencv: int) -> None:
    """Set the threads that this process computes with."""
    import cv2
    import torch

    torch.set_num_threads(of_torch)
    cv2.setNumThreads(of_opencv)
