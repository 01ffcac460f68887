"""The engine that runs on a Ray cluster: one actor per core, each with its own networks."""

from __future__ import annotations

import os
import pickle
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from data_prep.errors import InputError
from data_prep.progress import say
from data_prep.work.carried import DONE, FOREIGN, Order
from data_prep.work.code import code_identity
from data_prep.work.job import Engine, Job, Result, Shard, WorkStopped
from data_prep.work.ray_driver import END, JOINED, LOST, NEXT, RayRequest, drive
from data_prep.work.storage import Storage

_CONNECT_S = 5.0  # for the head node to take a connection
_ANSWER_S = 90.0  # for a cluster to take us in, or to start on this machine
_PATIENCE_S = 300.0  # for a first worker: a cluster may have to start nodes for it
_LEAVE_S = 20.0
_DEVICES = {"auto": None, "cpu": False, "cuda": True}


class RayCluster(Engine):
    """A Ray cluster: the one that RAY_ADDRESS names or that runs on this machine; else one is started.

    Args:
        workers: at most that many; 0: one per core of the cluster, or four per GPU.
        device: auto, cpu or cuda; None: the job needs none.

    Raises:
        InputError: another device.
    """

    outlasts = True

    def __init__(self, *, workers: int = 0, device: str | None = None) -> None:
        if device is not None and device not in _DEVICES:
            raise InputError(
                "--device",
                "must be auto, cpu or cuda with --on ray",
                got=device,
                fix="Use cuda: Ray chooses which GPU.",
            )
        self._workers, self._device = workers, device

    @contextmanager
    def workers(
        self, job: Job[Shard, Result], *, shards: int
    ) -> Iterator[Callable[[Iterable[Shard]], Iterator[Result]]]:
        """See `Engine`.

        Raises:
            WorkStopped: the cluster does not answer or has no free core, a node has other code or storage,
                or workers die on the same shard again and again.
        """
        _refuse_unreachable(os.environ.get("RAY_ADDRESS", ""))
        with Storage.shown(job) as storage:
            order = pickle.dumps(Order(job, storage, self._device))
            gpu = False if self._device is None else _DEVICES[self._device]
            request = RayRequest(code_identity(), order, self._workers, shards, gpu, _PATIENCE_S)
            with _driver(request) as driver:
                nodes, workers = driver.joined()
                say(f"ray: nodes {nodes:,}, workers {workers:,}")
                yield driver.results


class _Driver(NamedTuple):
    """The process that talks to Ray, seen from here."""

    pipe: Connection

    def joined(self) -> tuple[int, int]:
        """Nodes and workers, once the cluster has taken us in."""
        if not self.pipe.poll(_ANSWER_S):
            raise _no_answer(f"no answer within {_ANSWER_S:.0f} s")
        kind, content = self._received()
        if kind != JOINED:
            raise pickle.loads(content)
        nodes, workers = content
        return nodes, workers

    def results(self, shards: Iterable[Any]) -> Iterator[Any]:
        """The results of shards, as they come."""
        waiting = map(pickle.dumps, shards)
        while True:
            kind, content = self._received()
            if kind == NEXT:
                self.pipe.send_bytes(next(waiting, b""))
            elif kind == DONE:
                yield pickle.loads(content)
            elif kind == LOST:
                say("ray: a worker died; " + ("its shard is done again" if content else "another one starts"))
            elif kind == END:
                return
            elif kind == FOREIGN:
                raise _foreign(content)
            else:
                raise pickle.loads(content)

    def _received(self) -> tuple[str, Any]:
        try:
            kind, content = self.pipe.recv()
        except (EOFError, ConnectionError) as error:  # Ray ends the process where the head node is gone
            raise _no_answer("a cluster whose head node is gone") from error
        return kind, content


@contextmanager
def _driver(request: RayRequest) -> Iterator[_Driver]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=drive, args=(theirs, request))
    process.start()
    theirs.close()
    try:
        yield _Driver(ours)
    finally:
        ours.close()  # which it notices, and leaves the cluster
        process.join(_LEAVE_S)
        if process.is_alive():
            process.kill()
            process.join()


def _refuse_unreachable(address: str) -> None:
    """Stop where nobody listens: Ray would try for minutes.

    Raises:
        InputError: no address, or one that takes no connection.
    """
    if address in ("", "auto", "local"):
        return
    found = re.fullmatch(r"\[?([^/\]]+)\]?:(\d{1,5})", address)
    if found is None:
        raise InputError(
            "RAY_ADDRESS",
            "must be HOST:PORT of a head node, auto or local",
            got=address,
            fix="Give the command on a machine of the cluster, with the address that `ray start` printed.",
        )
    try:
        socket.create_connection((found[1], int(found[2])), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(f"{address} ({error})") from error


def _no_answer(got: str) -> WorkStopped:
    return WorkStopped(
        "--on ray",
        "the cluster must answer",
        got=got,
        fix="Look with `ray status` whether it runs, then run the same command again.",
    )


def _foreign(got: str) -> WorkStopped:
    return WorkStopped(
        "--on ray",
        "every node must run the same code and packages",
        got=got,
        fix="Install the same version there, with the same constraints.txt.",
    )
