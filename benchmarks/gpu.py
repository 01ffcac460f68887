"""Does everything compute on a GPU, with the same results as on the CPU, and how fast?

    python benchmarks/gpu.py --out docs/results/gpu.md        # on a machine with a GPU: under 8 minutes
    python benchmarks/gpu.py --tiny                           # does it still run, also without a GPU

First the same work on both devices: faces found, embeddings, every head's loss and gradients, an attack. A
difference above its tolerance ends the program with exit code 1. Then images per second, the peak of the
memory and, for training, the share of the card's bf16 peak: floating point operations of a step, as PyTorch
counts them, over time. The heads with two products, W-Softmax and diagonal L-GM, are also measured alone, as
written and with torch.compile, which shows whether fused kernels pay there. Photos are drawn, weights are
random, and nothing is read from disk. Each row is printed and written as soon as it is measured; of what
fails the row says why, and the others follow.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from data_prep.alignment import find_template
from data_prep.detection.second_pass import TwoPassDetector
from data_prep.device import choose_device, computing_device
from data_prep.errors import first_line
from data_prep.face_model import load_face_model
from data_prep.photos import read_photo
from data_prep.synthetic import synthesise_photos
from faceverif.backbones import build_backbone
from faceverif.config.backbones import IResNetConfig
from faceverif.config.run import RunConfig, validate_run_config
from faceverif.heads.base import Head
from faceverif.heads.lgm import LGMHead
from faceverif.heads.softmax import SoftmaxHead
from faceverif.heads.wsoftmax import WSoftmaxHead
from faceverif.models import PreprocessingSpec, TorchEmbedder
from faceverif.objective import Objective
from faceverif.perturbation.ascent import ascend, step_lengths
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.training.data import Batch
from faceverif.training.fabric import launch_fabric
from faceverif.training.learner import Learner
from faceverif.verification.embeddings import embed_crops
from faceverif.verification.scoring import normalised

# Dense bf16, TFLOP/s, by NVIDIA's data sheets. The first name that the card's name contains counts.
PEAKS = {
    "B200": 2250.0,
    "GH200": 989.4,
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}
HEADS: dict[str, dict[str, float]] = {
    "softmax": {},
    "cosface": {},
    "arcface": {},
    "sphereface": {},
    "wsoftmax": {"alpha": 0.1},
    "lgm": {"alpha": 0.1},
}
DIM = 512
# Heads that are measured alone: those with two products, and a plain softmax to compare them with.
ALONE: dict[str, Callable[..., Head]] = {
    "softmax": SoftmaxHead,
    "diagonal L-GM": lambda **sizes: LGMHead(alpha=0.1, covariance="diagonal", spread=DIM**-0.5, **sizes),
    "W-Softmax": lambda **sizes: WSoftmaxHead(alpha=0.1, **sizes),
}
# Largest differences between the devices. Sums of float32 round differently in another order.
LANDMARKS_PX, EMBEDDINGS, LOSSES, COSINES = 0.5, 1e-4, 1e-3, 0.02


@dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
        width: channels of the iResNet-50's stem; the paper's is 64.
        crops: of an embedded batch.
        batch: of a training step.
        photos: that are aligned.
        classes: of the heads that are trained.
        head_batch: of a head alone: a small one, for which the passes over the weights count most.
        steps: of PGD.
        seconds: of a measurement.
        compiled: whether training and heads are measured with torch.compile too.
    """

    width: int = 64
    crops: int = 256
    batch: int = 256
    photos: int = 64
    classes: tuple[int, ...] = (10_575, 85_742, 360_000)
    head_batch: int = 128
    steps: int = 20
    seconds: float = 8.0
    compiled: bool = True


TINY = Size(
    width=8, crops=2, batch=4, photos=2, classes=(16,), head_batch=4, steps=1, seconds=0.0, compiled=False
)


@dataclass(frozen=True)
class Row:
    """A line of a table: what, and its columns."""

    what: str
    columns: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="also write the tables into this file")
    parser.add_argument("--device", default="auto", help="the device to compare with the CPU")
    parser.add_argument("--tiny", action="store_true", help="a few small steps, to see that it runs")
    arguments = parser.parse_args()
    device, size = choose_device(arguments.device), TINY if arguments.tiny else Size()
    if device.type == "cpu" and not arguments.tiny:
        sys.exit("gpu.py: there is no GPU here; --tiny shows whether the benchmark runs")
    start, speed = time.monotonic(), []
    try:
        agreement, agrees = same_results(arguments.device, size)
        for row in speeds(size, arguments.device):
            print(row.what, *row.columns, sep="; ", file=sys.stderr, flush=True)
            speed.append(row)
            text = page(device, agreement, speed, minutes=(time.monotonic() - start) / 60)
            if arguments.out:
                arguments.out.write_text(text + "\n", encoding="utf-8")
    finally:
        choose_device("auto")
    print(text)
    if not agrees:
        sys.exit("gpu.py: the devices do not agree")


def page(device: torch.device, agreement: list[Row], speed: list[Row], *, minutes: float) -> str:
    """Both tables in Markdown, and the machine."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} ({platform.machine()})"
    return "\n".join(
        [
            f"# {card}\n",
            f"`python benchmarks/gpu.py`, PyTorch {torch.__version__}, {minutes:.1f} minutes.\n",
            *table(("the same work on both devices", "largest difference", "tolerance", ""), agreement),
            "",
            *table(("what", "images/s", "peak memory, GB", "share of the bf16 peak"), speed),
        ]
    )


def table(head: tuple[str, ...], rows: list[Row]) -> Iterator[str]:
    """Markdown lines."""
    yield f"| {' | '.join(head)} |"
    yield "| --- " * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join((row.what, *row.columns))} |"


# --- the same results ---


def same_results(name: str, size: Size) -> tuple[list[Row], bool]:
    """What differs between the CPU and the device, and whether all of it is within its tolerance."""
    photos = drawn_photos(2)
    checks: list[tuple[str, Callable[[], Tensor], float]] = [
        ("landmarks of drawn faces, pixels", lambda: landmarks(photos), LANDMARKS_PX),
        ("embeddings, share of the largest number", lambda: embeddings(size), EMBEDDINGS),
        ("cosine after PGD", lambda: attacked_cosine(size), COSINES),
        *((f"{head}: loss and gradients, relative", loss_of(head), LOSSES) for head in HEADS),
    ]
    rows, agrees = [], True
    for what, compute, tolerance in checks:
        choose_device("cpu")
        here = compute()
        choose_device(name)
        there = compute()
        same_shape = here.shape == there.shape
        difference = float((here - there).abs().max()) if same_shape else float("inf")
        agrees &= (fine := difference <= tolerance)
        rows.append(Row(what, (f"{difference:.2g}", f"{tolerance:g}", "" if fine else "**differs**")))
    return rows, agrees


def drawn_photos(count: int) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        synthesise_photos(load_face_model(), Path(folder), identities=count, photos=1, seed=0)
        return [read_photo(path) for path in sorted(Path(folder).rglob("*.jpg"))]


def landmarks(photos: list[np.ndarray]) -> Tensor:
    found = TwoPassDetector().detect(photos)
    return torch.cat([torch.from_numpy(seen.faces.landmarks) for seen in found])


def embeddings(size: Size) -> Tensor:
    found = torch.from_numpy(embedder(size).embed(crops(size.crops // 4 or 1)))
    return found / found.abs().max()


def attacked_cosine(size: Size) -> Tensor:
    network, pixels, wanted = attack_setting(size, images=8)
    changed = pgd(network, pixels, wanted, steps=size.steps)
    with torch.no_grad():
        return F.cosine_similarity(network(changed), wanted).cpu()


def loss_of(head: str) -> Callable[[], Tensor]:
    def compute() -> Tensor:
        torch.manual_seed(0)
        objective = Objective(run_config(head, TINY), classes=64, embedding_dim=512)
        given, labels = torch.randn(32, 512), torch.arange(32)
        objective.to(computing_device())
        given = given.to(computing_device()).requires_grad_()
        loss = objective(given, labels.to(computing_device())).loss
        loss.backward()
        gradients = [given.grad, *(each.grad for each in objective.parameters())]
        parts = [each.flatten() / each.abs().max().clamp_min(1e-12) for each in gradients if each is not None]
        return torch.cat([loss.detach()[None] / loss.detach().abs(), loss.detach()[None], *parts]).cpu()

    return compute


# --- images per second ---


def speeds(size: Size, name: str) -> Iterator[Row]:
    """Every measurement, on the device; last the compiled network, which takes longest to begin."""
    choose_device(name)
    photos, model, batch = drawn_photos(min(size.photos, 8)), embedder(size), crops(size.crops)
    photos = (photos * size.photos)[: size.photos]
    detector = TwoPassDetector()
    yield measured("alignment: faces found, one process", len(photos), lambda: detector.detect(photos), size)
    yield measured("embedding, float32", len(batch), lambda: model.embed(batch), size)
    yield measured("verification: with flips and scores", len(batch), lambda: verified(model, batch), size)
    network, pixels, wanted = attack_setting(size, images=size.crops)
    yield measured(
        f"PGD, {size.steps} steps, float32",
        len(pixels),
        lambda: pgd(network, pixels, wanted, steps=size.steps),
        size,
    )
    for classes in size.classes:
        yield trained(classes, compiled=False, size=size)
    for head in ALONE:
        for compiled in (False, True) if size.compiled else (False,):
            yield head_alone(head, size.classes[0], compiled=compiled, size=size)
    if size.compiled:
        yield trained(size.classes[0], compiled=True, size=size)


def verified(model: TorchEmbedder, batch: np.ndarray) -> np.ndarray:
    unit = normalised(embed_crops(model, batch, flip=True))
    return np.einsum("pd,pd->p", unit[0::2], unit[1::2])


def trained(classes: int, *, compiled: bool, size: Size) -> Row:
    what = f"training, bf16, channels last, {classes:,} classes" + (", torch.compile" if compiled else "")
    try:
        config = run_config("cosface", size)
        learner = Learner(config, launch_fabric(config), classes=classes, steps_per_epoch=1000)
        if compiled:
            learner.network.backbone.compile()
        side = find_template("arcface-112").crop_px
        pictures = torch.randint(256, (size.batch, side, side, 3), dtype=torch.uint8)
        batch = Batch(pictures, torch.arange(size.batch) % classes, torch.arange(size.batch))
        steps = iter(range(1000))

        def step() -> None:
            number = next(steps)
            learner.compute_gradients(batch, step=number)
            learner.update(step=number)

        operations = None if compiled else counted(step)
        return measured(what, size.batch, step, size, operations=operations or _operations.get(classes))
    except Exception as error:
        return failed(what, error)
    finally:
        if operations := locals().get("operations"):
            _operations[classes] = operations


def head_alone(name: str, classes: int, *, compiled: bool, size: Size) -> Row:
    """Forward and backward of a head with cross entropy, float32, from embeddings that are there already."""
    torch.manual_seed(0)
    head = ALONE[name](classes=classes, embedding_dim=DIM).to(computing_device())
    given = torch.randn(size.head_batch, DIM, device=computing_device()).div(DIM**0.5).requires_grad_()
    labels = torch.arange(size.head_batch, device=computing_device()) % classes

    def loss() -> Tensor:
        return F.cross_entropy(head.compare(given, labels).margin_logits, labels)

    wanted = torch.compile(loss) if compiled else loss

    def step() -> None:
        head.zero_grad(set_to_none=True)
        given.grad = None
        wanted().backward()

    what = f"{name} alone, batch {size.head_batch}, {classes:,} classes"
    return measured(what + (", torch.compile" if compiled else ""), size.head_batch, step, size)


_operations: dict[int, int] = {}  # of a step, by classes: a compiled step cannot be counted


def counted(step: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def measured(
    what: str, images: int, work: Callable[[], object], size: Size, *, operations: int | None = None
) -> Row:
    """Images per second of repeated work, after two rounds to warm up; or why it failed."""
    device = computing_device()
    try:
        with peak_memory(device) as peak:
            for _ in range(2 if size.seconds else 0):
                work()
            synchronise(device)
            start, rounds = time.perf_counter(), 0
            while not rounds or time.perf_counter() - start < size.seconds:
                work()
                rounds += 1
                synchronise(device)
            seconds = (time.perf_counter() - start) / rounds
    except Exception as error:
        return failed(what, error)
    share = "" if operations is None else share_of_peak(operations / seconds, device)
    return Row(what, (f"{images / seconds:,.0f}", peak(), share))


def failed(what: str, error: Exception) -> Row:
    """One measurement must not cost the others."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Row(what, (f"failed: {first_line(error)}", "", ""))


def share_of_peak(per_second: float, device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = next((peak for card, peak in PEAKS.items() if card in name), None)
    reached = f"{per_second / 1e12:.3g} TFLOP/s"
    return (
        f"{reached}, peak of this card not known here"
        if peak is None
        else f"{reached}, {per_second / peak / 1e10:.1f} %"
    )


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], str]]:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield lambda: f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f}" if device.type == "cuda" else ""


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --- models and pictures ---


def run_config(head: str, size: Size) -> RunConfig:
    settings: dict[str, Any] = {
        "data": {"path": "drawn"},
        "backbone": {
            "name": "iresnet",
            "depth": 50,
            "width": size.width,
            "input_px": 112,
            "embedding_dim": 512,
        },
        "head": {"name": head, **HEADS[head]},
        "optimizer": {"name": "sgd", "learning_rate": 1e-3},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 1, "batch_size": size.batch, "precision": "bf16-mixed"},
    }
    return validate_run_config(settings, source="benchmarks/gpu.py")


def embedder(size: Size) -> TorchEmbedder:
    torch.manual_seed(0)
    config = IResNetConfig(name="iresnet", depth=50, width=size.width, input_px=112, embedding_dim=512)
    backbone = build_backbone(config).eval().to(computing_device(), memory_format=torch.channels_last)
    return TorchEmbedder(backbone, PreprocessingSpec.of(find_template("arcface-112"), input_px=112))


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


def attack_setting(size: Size, *, images: int) -> tuple[torch.nn.Module, Tensor, Tensor]:
    network = embedder(size).backbone.requires_grad_(False)
    pixels = torch.from_numpy(crops(images)).permute(0, 3, 1, 2).float().div(255).to(computing_device())
    with torch.no_grad():
        wanted = network(pixels).roll(1, dims=0)
    return network, pixels, wanted


def pgd(network: torch.nn.Module, pixels: Tensor, wanted: Tensor, *, steps: int) -> Tensor:
    threat = ThreatModel(norm="linf", epsilon=4 / 255)

    def nearness(changed: Tensor) -> Tensor:
        return F.cosine_similarity(network(changed), wanted)

    return ascend(nearness, pixels, pixels, threat=threat, lengths=step_lengths(threat, steps))


if __name__ == "__main__":
    main()
