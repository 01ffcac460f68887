"""The engines of this machine: this process, or one process per core."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any

from data_prep.device import chosen_name, computing_device
from data_prep.work.carried import portable_error
from data_prep.work.job import Engine, Job, Result, Shard, WorkStopped
from data_prep.work.worker import use_threads, work_of, work_on_one_core

_FEWER_FIX = "Run the same command again, with --workers 1: it continues where it stopped."
_ALONE_FIX = "Free some memory, then run the same command again: it continues where it stopped."
_GPU_BYTES_PER_WORKER = 2 * 2**30  # the context of a process, the networks and a batch


@dataclass(frozen=True)
class ThisProcess(Engine):
    """One shard after the other in this process.

    Attributes:
        as_worker: on one thread, as worker processes compute, so that results are the same to the last bit.
    """

    as_worker: bool = False

    @contextmanager
    def workers(
        self, job: Job[Shard, Result], *, shards: int
    ) -> Iterator[Callable[[Iterable[Shard]], Iterator[Result]]]:
        """See `Engine`; the results come in the order of the shards."""
        with _one_thread() if self.as_worker else nullcontext():
            work = work_of(job)
            yield lambda shards: map(work, shards)


@dataclass(frozen=True)
class Processes(Engine):
    """Processes that compute on one thread each; a single shard is done in this one.

    Attributes:
        count: how many; 0: one per core, and on a GPU no more than its memory holds.
    """

    count: int = 0

    @contextmanager
    def workers(
        self, job: Job[Shard, Result], *, shards: int
    ) -> Iterator[Callable[[Iterable[Shard]], Iterator[Result]]]:
        """See `Engine`."""
        if shards == 1:  # starting a process would take longer
            with ThisProcess(as_worker=True).workers(job, shards=1) as work:
                yield work
            return
        count = min(self.count or most_workers(), shards)
        pool = ProcessPoolExecutor(
            count, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(job, chosen_name())
        )
        try:
            yield lambda shards: _results(pool, count, shards)
        finally:
            pool.shutdown(cancel_futures=True)


def most_workers() -> int:
    """One per core; on a GPU no more than its free memory holds."""
    import torch

    cores, device = os.cpu_count() or 1, computing_device()
    if device.type != "cuda":
        return cores
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(cores, free // _GPU_BYTES_PER_WORKER))


@contextmanager
def _one_thread() -> Iterator[None]:
    import cv2
    import torch

    threads = torch.get_num_threads(), cv2.getNumThreads()
    use_threads(1, 1)
    try:
        yield
    finally:
        use_threads(*threads)


def _results(pool: ProcessPoolExecutor, count: int, shards: Iterable[Any]) -> Iterator[Any]:
    # One shard per worker waits, so that no worker idles and the queue does not grow with the source.
    waiting = iter(shards)
    running = {pool.submit(_run, shard) for shard in islice(waiting, 2 * count)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        running |= {pool.submit(_run, shard) for shard in islice(waiting, len(done))}
        yield from (_result(future, count) for future in done)


def _result(future: Future[Any], count: int) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise WorkStopped(
            "--workers",
            "every worker process needs about 1 GB of memory, and 2 GB for a photo of 50 megapixels",
            got="a worker process died",
            fix=_FEWER_FIX if count > 1 else _ALONE_FIX,
        ) from error


_work: Callable[[Any], Any]
_trouble: Exception | None = None  # that came while this worker started


def _start_worker(job: Job[Any, Any], device: str) -> None:
    global _work, _trouble
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _work = work_on_one_core(job, device)
    except Exception as error:  # one that leaves an initializer ends the pool and is not handed on
        _trouble = error


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(shard: Any) -> Any:
    if _trouble is not None:
        raise portable_error(_trouble)
    return _work(shard)
