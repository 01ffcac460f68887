"""The cost of a head beside `linear + cross entropy`: time and memory of forward and backward.

    python benchmarks/heads.py                       # all heads, B 128 and 512, C 10,575 and 85,742
    python benchmarks/heads.py --sizes 128x10575     # one size
    python benchmarks/heads.py --only wsoftmax lgm   # some heads, by the beginning of their names
    python benchmarks/heads.py --tiny                # does it still run

Goals: heads with one product within 1.3 times the time of linear + cross entropy, those with two
(W-Softmax, diagonal L-GM) within 2.5; all within 1.5 times its peak memory, also where logits lie far
apart. Sub-center ArcFace has three times the classes and may take 3.9 times time and memory. W-Softmax is at
least 20 times faster than its Algorithm 1 written literally, L-GM at least 8 times faster than broadcasting.
The heads of pytorch-metric-learning run in the same turns.

A turn runs every head once; the median over the turns counts, so that other work on the machine affects
them alike. Memory is the peak above what the process held before the head was built. Each head is measured
in a process of its own that has run it once on a small batch, so that the code of libraries does not count.
Every large tensor gets a mapping of its own (MALLOC_MMAP_THRESHOLD_), so that gaps in the heap do not count
either.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.host_memory import keep_freed_memory
from faceverif.heads.adaface import AdaFaceHead
from faceverif.heads.arcface import ArcFaceHead
from faceverif.heads.base import Head
from faceverif.heads.cosface import CosFaceHead
from faceverif.heads.curricularface import CurricularFaceHead
from faceverif.heads.elasticface import ElasticArcFaceHead, ElasticCosFaceHead
from faceverif.heads.lgm import LGMHead
from faceverif.heads.lsoftmax import LSoftmaxHead
from faceverif.heads.magface import MagFaceHead
from faceverif.heads.normalised_softmax import NormalisedSoftmaxHead
from faceverif.heads.softmax import SoftmaxHead
from faceverif.heads.sphereface import SphereFaceHead
from faceverif.heads.subcenter_arcface import SubcenterArcFaceHead
from faceverif.heads.wsoftmax import WSoftmaxHead

DIM = 512
BASELINE = "linear + cross entropy"
Loss = Callable[[Tensor, Tensor], Tensor]

OURS: dict[str, tuple[Callable[..., Head], float]] = {
    "softmax": (SoftmaxHead, 1.3),
    "normalised_softmax": (lambda **sizes: NormalisedSoftmaxHead(scale=64.0, **sizes), 1.3),
    "cosface": (lambda **sizes: CosFaceHead(scale=64.0, margin=0.35, **sizes), 1.3),
    "arcface": (lambda **sizes: ArcFaceHead(scale=64.0, margin_rad=0.5, **sizes), 1.3),
    "adaface": (lambda **sizes: AdaFaceHead(scale=64.0, margin=0.4, h=0.333, step=0.01, **sizes), 1.3),
    "magface": (
        lambda **sizes: MagFaceHead(
            scale=64.0,
            lower_norm=10.0,
            upper_norm=110.0,
            lower_margin_rad=0.45,
            upper_margin_rad=0.8,
            **sizes,
        ),
        1.3,
    ),
    "curricularface": (lambda **sizes: CurricularFaceHead(scale=64.0, margin_rad=0.5, **sizes), 1.3),
    "elastic_arcface": (
        lambda **sizes: ElasticArcFaceHead(
            scale=64.0, margin_rad=0.5, spread=0.0175, assign="by_angle", **sizes
        ),
        1.3,
    ),
    "elastic_cosface": (
        lambda **sizes: ElasticCosFaceHead(scale=64.0, margin=0.35, spread=0.05, assign="random", **sizes),
        1.3,
    ),
    "subcenter_arcface": (
        lambda **sizes: SubcenterArcFaceHead(scale=64.0, margin_rad=0.5, centres_per_class=3, **sizes),
        3.9,
    ),
    "sphereface": (lambda **sizes: SphereFaceHead(margin=4, smallest_lambda=5.0, **sizes), 1.3),
    "lsoftmax": (lambda **sizes: LSoftmaxHead(margin=4, smallest_lambda=5.0, **sizes), 1.3),
    "lgm identity": (lambda **sizes: LGMHead(alpha=0.1, covariance="identity", **sizes), 1.3),
    "lgm isotropic": (lambda **sizes: LGMHead(alpha=0.1, covariance="isotropic", **sizes), 1.3),
    "lgm diagonal": (lambda **sizes: LGMHead(alpha=0.1, covariance="diagonal", **sizes), 2.5),
    "wsoftmax": (lambda **sizes: WSoftmaxHead(alpha=1.0, **sizes), 2.5),
}
MEMORY_GOAL = 1.5
MEMORY_GOALS = {"subcenter_arcface": 3.9}
LITERAL_SIZES = [(128, 10_575), (64, 10_575)]  # broadcasting takes about 10 GB at the second

PEERS: dict[str, Callable[[int], nn.Module]] = {
    "peer NormalizedSoftmaxLoss": lambda classes: losses.NormalizedSoftmaxLoss(
        classes, DIM, temperature=1 / 64
    ),
    "peer CosFaceLoss": lambda classes: losses.CosFaceLoss(classes, DIM, margin=0.35, scale=64),
    "peer ArcFaceLoss": lambda classes: losses.ArcFaceLoss(classes, DIM, margin=28.6, scale=64),
    "peer SphereFaceLoss": lambda classes: losses.SphereFaceLoss(classes, DIM, margin=4, scale=1),
    "peer LargeMarginSoftmaxLoss": lambda classes: losses.LargeMarginSoftmaxLoss(
        classes, DIM, margin=4, scale=1
    ),
}


def main() -> None:
    """Print a table for each size and scale; in a process of its own, print the memory of one head."""
    arguments = parse_arguments()
    if arguments.memory_of:
        print(peak_memory_mb(arguments.memory_of, *arguments.size, scale=arguments.scale))
        return
    keep_freed_memory()  # as faceverif train does
    names = [BASELINE, *OURS, *PEERS]
    if arguments.only:
        names = [BASELINE, *(name for name in names if name.startswith(tuple(arguments.only)))]
    for size in arguments.sizes:
        for scale in arguments.scales:
            compare(names, *size, scale=scale, turns=arguments.turns, memory_of=arguments.measure_memory)
    if not arguments.only:
        literal_versions(*arguments.literal_sizes, turns=arguments.turns)


def parse_arguments() -> argparse.Namespace:
    """The options; --tiny replaces sizes, scales and turns, and measures memory in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    everything = [(128, 10_575), (512, 10_575), (128, 85_742), (512, 85_742)]
    parser.add_argument("--sizes", type=size, nargs="+", default=everything, metavar="BATCHxCLASSES")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[0.02, 1.0], help="of the weights; 1 sets logits far apart"
    )
    parser.add_argument("--tiny", action="store_true", help="one small size, to see that it runs")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=size, help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.measure_memory, arguments.literal_sizes = memory_in_own_process, LITERAL_SIZES
    if arguments.tiny:
        arguments.sizes, arguments.scales, arguments.turns = [(4, 32)], [0.02], 1
        arguments.measure_memory, arguments.literal_sizes = peak_memory_mb, [(4, 32), (4, 32)]
    return arguments


def size(text: str) -> tuple[int, int]:
    batch, classes = text.split("x")
    return int(batch), int(classes)


def compare(
    names: list[str], batch: int, classes: int, *, scale: float, turns: int, memory_of: Callable[..., float]
) -> None:
    """Print the table of one size: seconds, peak memory, and the ratios of both to the baseline."""
    seconds = time_in_turns({name: stepper(name, batch, classes, scale=scale) for name in names}, turns)
    memory = {name: memory_of(name, batch, classes, scale=scale) for name in names}
    far = "far apart" if scale == 1.0 else "close together"
    print(f"\nB {batch}, D {DIM}, C {classes:,}, weights of scale {scale} (logits {far}), {device()}")
    for name in names:
        slower = seconds[name] / seconds[BASELINE]
        larger = memory[name] / memory[BASELINE] if memory[BASELINE] else math.nan  # --tiny fits in old pages
        line = f"{name:30s} {seconds[name]:8.4f} s {slower:6.2f}x {memory[name]:8.0f} MB {larger:6.2f}x"
        if name in OURS:
            memory_goal = MEMORY_GOALS.get(name, MEMORY_GOAL)
            met = slower <= OURS[name][1] and larger <= memory_goal
            line += f"   {'meets' if met else 'MISSES'} {OURS[name][1]}x, {memory_goal}x"
        print(line, flush=True)


def stepper(name: str, batch: int, classes: int, *, scale: float) -> Callable[[], None]:
    """One forward and backward of a head, which is built at the first call and stays on the device."""
    made: list[tuple[Loss, nn.Module, Tensor, Tensor]] = []

    def step() -> None:
        if not made:
            made.append(build(name, batch, classes, scale=scale))
        loss, module, embeddings, labels = made[0]
        loss(embeddings, labels).backward()
        embeddings.grad = None
        module.zero_grad(set_to_none=True)
        if device() == "cuda":
            torch.cuda.synchronize()

    return step


def build(name: str, batch: int, classes: int, *, scale: float) -> tuple[Loss, nn.Module, Tensor, Tensor]:
    """The loss and module of a head with cross entropy, and the embeddings and labels of a batch."""
    torch.manual_seed(0)
    embeddings = torch.randn(batch, DIM, device=device(), requires_grad=True)
    labels = torch.randint(classes, (batch,), device=device())
    module: nn.Module
    loss: Loss
    if name == BASELINE:
        module = nn.Linear(DIM, classes, bias=False)
        loss = lambda x, y: F.cross_entropy(module(x), y)  # noqa: E731
    elif name in PEERS:
        module = PEERS[name](classes)
        loss = module
    else:
        module = OURS[name][0](classes=classes, embedding_dim=DIM)
        loss = lambda x, y: F.cross_entropy(module(x, y).margin_logits, y)  # noqa: E731
    module.to(device())
    for parameter in module.parameters():
        if parameter.ndim >= 2 and parameter.shape[1] > 1:
            nn.init.normal_(parameter, std=scale)
    if name in ("lgm isotropic", "lgm diagonal"):
        nn.init.normal_(module.log_variances, std=0.1)
    return loss, module, embeddings, labels


def time_in_turns(steps: dict[str, Callable[[], None]], turns: int) -> dict[str, float]:
    """Median seconds of each step over the turns, after one turn of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    gc.collect()
    return {name: statistics.median(each) for name, each in seconds.items()}


def memory_in_own_process(name: str, batch: int, classes: int, *, scale: float) -> float:
    command = [sys.executable, __file__, "--memory-of", name, "--size", f"{batch}x{classes}"]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command += ["--scale", str(scale)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(ran.stdout)


def peak_memory_mb(name: str, batch: int, classes: int, *, scale: float) -> float:
    """Peak of two steps above what this process holds before the head is built."""
    stepper(name, 2, 8, scale=scale)()
    if device() == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        before = resident("VmRSS")
    step = stepper(name, batch, classes, scale=scale)
    step()
    step()
    after = torch.cuda.max_memory_allocated() if device() == "cuda" else resident("VmHWM")
    return (after - before) / 2**20


def resident(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def literal_versions(wsoftmax: tuple[int, int], lgm: tuple[int, int], *, turns: int) -> None:
    """W-Softmax beside Algorithm 1 as printed, and L-GM beside broadcasting, each at its (batch, classes)."""
    batch, classes = wsoftmax
    seconds = time_in_turns(
        {
            "wsoftmax": stepper("wsoftmax", batch, classes, scale=0.02),
            "Algorithm 1": literal_wsoftmax(batch, classes),
        },
        min(turns, 3),
    )
    ratio = seconds["Algorithm 1"] / seconds["wsoftmax"]
    print(f"\nB {batch}, C {classes:,}: Algorithm 1 {seconds['Algorithm 1']:.2f} s, {ratio:.0f}x ours (20x)")
    batch, classes = lgm
    seconds = time_in_turns(
        {
            "lgm diagonal": stepper("lgm diagonal", batch, classes, scale=0.02),
            "broadcasting": broadcast_lgm(batch, classes),
        },
        min(turns, 3),
    )
    ratio = seconds["broadcasting"] / seconds["lgm diagonal"]
    print(f"B {batch}, C {classes:,}: broadcasting {seconds['broadcasting']:.2f} s, {ratio:.0f}x ours (8x)")


def literal_wsoftmax(batch: int, classes: int, alpha: float = 1.0) -> Callable[[], None]:
    """A loop over the batch: each sample has its own weight matrix, and the gradients are summed."""
    _, module, embeddings, labels = build("wsoftmax", batch, classes, scale=0.02)

    def step() -> None:
        for embedding, label in zip(embeddings, labels, strict=True):
            unit = F.normalize(module.weight)
            pulled = F.normalize(alpha * unit[label] + unit)
            keep = torch.arange(classes, device=device()) == label
            logits = torch.where(keep[:, None], unit, pulled) @ embedding
            (F.cross_entropy(logits, label) / batch).backward(retain_graph=True)
        embeddings.grad = None
        module.zero_grad(set_to_none=True)

    return step


def broadcast_lgm(batch: int, classes: int, alpha: float = 0.1) -> Callable[[], None]:
    """(batch, classes, dim) differences, as public ports write it."""
    _, module, embeddings, labels = build("lgm diagonal", batch, classes, scale=0.02)

    def step() -> None:
        variances = module.log_variances.exp()
        differences = embeddings[:, None, :] - module.means[None]
        distances = 0.5 * (differences.square() / variances[None]).sum(dim=2)
        margin = 1.0 + alpha * F.one_hot(labels, classes)
        logits = -distances * margin - 0.5 * module.log_variances.sum(dim=1)
        F.cross_entropy(logits, labels).backward()
        embeddings.grad = None
        module.zero_grad(set_to_none=True)

    return step


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
