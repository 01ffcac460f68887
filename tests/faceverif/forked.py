"""Processes of one training, forked from the test: they start in milliseconds, and import nothing again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args


def run_forked(work: Callable[..., Any], processes: int, folder: Path, *arguments: Any) -> None:
    """Run `work(rank, *arguments)` in that many processes of one gloo group; any failure fails the test.

    The test is marked with `filterwarnings("ignore:.*fork:DeprecationWarning")`.
    """
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(target=_in_group, args=(work, rank, processes, folder, arguments))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    failures = [path.read_text() for path in sorted(folder.glob(f"failure-{processes}-*"))]
    assert not failures, "\n".join(failures)
    assert [process.exitcode for process in started] == [0] * processes


def _in_group(
    work: Callable[..., Any], rank: int, processes: int, folder: Path, arguments: tuple[Any, ...]
) -> None:
    # As torchrun says it.
    os.environ |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "RANK": str(rank)}
    os.environ |= {"LOCAL_RANK": str(rank), "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # the group meets in a file
    meeting = f"file://{folder}/meeting-{processes}"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    try:
        work(rank, *arguments)
    except BaseException:
        (folder / f"failure-{processes}-{rank}").write_text(traceback.format_exc())
        os._exit(1)  # the others must not wait for it
    torch.distributed.destroy_process_group()


# What is sent: where modules lie, then a function of one of them with its arguments.
_CALL = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
function, *arguments = pickle.load(sys.stdin.buffer)
function(*arguments)
"""


def run_agents(work: Callable[..., Any], folder: Path, *arguments: Any, restarts: int = 0) -> str:
    """`torchrun --nnodes=2` on two machines, which are both this one, with a process each.

    The agents are torchrun's own, started from its own arguments; but they fork `work` where torchrun starts
    a program, which would import everything again. Both are forked from a new process, which imports the
    module of `work` once: torchrun's handlers of signals do not survive a fork from a process in which other
    tests ran. What a fixture has patched, `work` patches again.

    Returns:
        What all of them said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--nnodes=2", "--nproc-per-node=1", "--local-addr=127.0.0.1", f"--max-restarts={restarts}"]
    words += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test", "program"]
    call = pickle.dumps(sys.path) + pickle.dumps((_fork_agents, work, arguments, words, folder))
    ended = subprocess.run([sys.executable, "-c", _CALL], input=call, capture_output=True, timeout=450)
    said = "".join(path.read_text() for path in sorted(folder.glob("agent-*.txt")))
    assert said, f"the agents said nothing; {ended.stdout!r}, {ended.stderr.decode()}"
    return said


def _fork_agents(
    work: Callable[..., Any], arguments: tuple[Any, ...], words: list[str], folder: Path
) -> None:
    fork = multiprocessing.get_context("fork")
    agents = [
        fork.Process(target=_agent, args=(work, arguments, words, folder / f"agent-{machine}.txt"))
        for machine in range(2)
    ]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(400)
        if agent.is_alive():
            agent.kill()
    print(f"the agents ended with {[agent.exitcode for agent in agents]}", file=sys.stderr)


def _agent(work: Callable[..., Any], arguments: tuple[Any, ...], words: list[str], said: Path) -> None:
    with said.open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # as docs/howto/several_gpus.md says
    config, _, _ = config_from_args(parse_args(words))
    config.start_method = "fork"
    elastic_launch(config, work)(*arguments)
