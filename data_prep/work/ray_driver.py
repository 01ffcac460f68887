"""The process that talks to Ray.

Ray prints on its own, changes the process that it is imported into, and ends it where the head node is gone.
So it gets a process that has nothing else to do and whose output nobody sees.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from data_prep.work.carried import DONE, FOREIGN, READY, Answer, packed_error
from data_prep.work.job import WorkStopped

_DEATHS = 3  # of workers on one shard, or while they start
_LOOK_S = 1.0  # between two looks at whether there is any worker
_OBJECT_STORE_BYTES = 256 * 2**20  # of a cluster that is started here: results are small
_GPU_SHARERS = 4  # workers per GPU: each decodes on one core
JOINED, NEXT, LOST, FAILED, END = "joined", "next", "lost", "failed", "end"


class RayRequest(NamedTuple):
    """What this process is started with.

    Attributes:
        code: what `code_identity` says where the command was given.
        order: the pickled `Order`.
        workers: at most that many; 0: as many as fit.
        shards: how many there will be.
        gpu: whether workers get one: True, False, or None: where the cluster has any.
        patience_s: how long to wait for a worker.
    """

    code: dict[str, str]
    order: bytes
    workers: int
    shards: int
    gpu: bool | None
    patience_s: float


def drive(pipe: Connection, request: RayRequest) -> None:
    """Join or start a cluster, and do what comes through the pipe, until it brings an empty shard."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process ends this one
    _be_quiet()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        ray = _joined(request.workers)
        try:
            crew = _Crew(ray, request)
            pipe.send((JOINED, (len(_nodes(ray)), crew.size)))
            crew.work(pipe)
            pipe.send((END, None))
        except ray.exceptions.RayError as error:
            raise _unanswered("the cluster", error) from error
        finally:
            ray.shutdown()
    except (BrokenPipeError, EOFError):  # nobody waits for it any more
        return
    except Exception as error:
        pipe.send((FAILED, packed_error(error)))


def _be_quiet() -> None:
    """No telemetry, no dashboard, nothing on the console; must come before Ray is imported."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # Ray's own handler leaves the cluster


def _joined(workers: int) -> Any:
    """Ray, in the cluster that RAY_ADDRESS names, that runs on this machine, or that is started now."""
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if address != "local":
            ray.init(address=address, **quiet)
            return ray
    except Exception as error:  # of another version, without its token, or what its client raises
        if address != "auto" or not isinstance(error, ConnectionError):
            raise _unanswered(address, error) from error
    try:
        ray.init(
            address="local",
            num_cpus=max(workers, os.cpu_count() or 1),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **quiet,
        )
    except Exception as error:  # Ray has no narrower one for it
        raise WorkStopped(
            "--on ray",
            "a cluster must start on this machine within half a minute",
            got=_in_short(error),
            fix="Give the machine less to do, or run `ray start --head`; then run the same command again.",
        ) from error
    return ray


def _unanswered(address: str, error: Exception) -> WorkStopped:
    return WorkStopped(
        "RAY_ADDRESS",
        "must be the address of a Ray cluster of this version that answers",
        got=f"{address} ({_in_short(error)})",
        fix="Look there with `ray status`, or unset RAY_ADDRESS to start a cluster on this machine.",
    )


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")


def _nodes(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


class _Crew:
    """The workers, one actor each, and the shards that they have.

    A shard whose worker dies goes to another one. A worker that takes its place may have to wait for a node.
    """

    def __init__(self, ray: Any, request: RayRequest) -> None:
        self._ray, self._request = ray, request
        self.size, resources = _fitting(ray.cluster_resources(), request)
        self._new_actor = ray.remote(_worker_class()).options(**resources).remote
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, bytes]] = {}
        self._idle: list[Any] = []
        self._again: list[bytes] = []
        self._deaths: Counter[bytes | None] = Counter()
        for _ in range(self.size):
            self._start()

    def work(self, pipe: Connection) -> None:
        """Do shards until none is left; an error of a worker is raised."""
        exhausted, useful = False, time.monotonic()
        while True:
            while self._idle and (self._again or not exhausted):
                shard = self._again.pop() if self._again else _next(pipe)
                if shard:
                    self._give(shard)
                else:
                    exhausted = True
            if exhausted and not self._busy and not self._again:
                return
            if pipe.poll():  # nothing comes unasked: nobody waits for it any more
                raise EOFError
            ready, _ = self._ray.wait([*self._starting, *self._busy], timeout=_LOOK_S)
            for reference in ready:
                self._settle(reference, pipe)
            if ready or self._busy:
                useful = time.monotonic()
            elif time.monotonic() - useful > self._request.patience_s:
                raise _no_worker(self._request.patience_s)

    def _start(self) -> None:
        actor = self._new_actor()
        self._starting[actor.enter.remote(self._request.code, self._request.order)] = actor

    def _give(self, shard: bytes) -> None:
        actor = self._idle.pop()
        self._busy[actor.do.remote(shard)] = actor, shard

    def _settle(self, reference: Any, pipe: Connection) -> None:
        """Take what a worker says, or that it is dead."""
        actor, shard = self._starting.pop(reference, None), None
        if actor is None:
            actor, shard = self._busy.pop(reference)
        try:
            kind, content = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._replace(shard, error, pipe)
            return
        if kind in (READY, DONE):
            self._idle.append(actor)
            self._deaths.pop(shard, None)
        if kind != READY:
            pipe.send((kind, content))

    def _replace(self, shard: bytes | None, error: Exception, pipe: Connection) -> None:
        self._deaths[shard] += 1
        if self._deaths[shard] >= _DEATHS + (self.size if shard is None else 0):
            raise _deadly(error)
        if shard is not None:
            self._again.append(shard)
        pipe.send((LOST, shard is not None))
        self._start()


def _next(pipe: Connection) -> bytes:
    pipe.send((NEXT, None))
    return pipe.recv_bytes()


def _worker_class() -> type:
    """The class of the actors. Nodes get it by value, for they may have another faceverif, or none."""

    class Worker:
        def enter(self, code: dict[str, str], order: bytes) -> Answer:
            import socket

            node = socket.gethostname()
            try:
                from data_prep.work.code import code_identity, differences

                other = differences(code, code_identity())
            except Exception as error:
                other = f"{type(error).__name__}: {error}"
            if other:
                return FOREIGN, f"node {node} with {other}"
            from data_prep.work.carried import RemoteWorker

            self._worker = RemoteWorker(node)
            return self._worker.begin(order)

        def do(self, shard: bytes) -> Answer:
            return self._worker.do(shard)

    return Worker


def _fitting(resources: dict[str, float], request: RayRequest) -> tuple[int, dict[str, float]]:
    """How many workers, and what each of them takes of the cluster."""
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if cores < 1:
        raise _no_worker(0)
    if request.gpu is False or (request.gpu is None and not gpus):
        return min(request.workers or cores, cores, request.shards), {"num_cpus": 1}
    if not gpus:
        raise WorkStopped(
            "--device", "must be auto or cpu: the cluster has no GPU", got="cuda", fix="Leave it out."
        )
    most = min(request.workers or _GPU_SHARERS * gpus, cores, request.shards)
    return most, {"num_cpus": 1, "num_gpus": 1 if most <= gpus else 1 / -(-most // gpus)}


def _no_worker(seconds: float) -> WorkStopped:
    return WorkStopped(
        "--on ray",
        "the cluster must have a free core",
        got=f"no worker within {seconds:.0f} s",
        fix="Look with `ray status` who uses its cores, then run the same command again.",
    )


def _deadly(error: Exception) -> WorkStopped:
    return WorkStopped(
        "--on ray",
        "every worker needs about 1 GB of memory, 2 GB for a photo of 50 megapixels, and a node that stays",
        got=f"{_DEATHS} dead workers on one shard ({_in_short(error)})",
        fix="Run the same command again, with fewer workers per node: it does what is left.",
    )
