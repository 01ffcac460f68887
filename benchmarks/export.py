"""What an export weighs and how fast it is: float32, half and int8 beside PyTorch, on one core.

    python benchmarks/export.py models/public runs/first    # folders of runs or of imported models
    python benchmarks/export.py --tiny                       # does it still run

A turn runs every form once on the same crops, one at a time and in batches of 16; the median over the turns
counts, so that other work on the machine affects them alike. Cosines are those of `faceverif export`, on
drawn people, or on --data.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import onnxruntime
import torch

from data_prep.alignment import find_template
from faceverif.backbones import build_backbone
from faceverif.config.backbones import IResNetConfig
from faceverif.exporting.export import export_model
from faceverif.exporting.onnx_model import INPUT
from faceverif.exporting.request import ExportRequest, Precision
from faceverif.models import MODEL_NAME, PreprocessingSpec, load_differentiable, save_model

PRECISIONS: tuple[Precision, ...] = ("float32", "half", "int8")
BATCHES = (1, 16)


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", help="folders of runs or of imported models")
    parser.add_argument("--data", type=Path, help="aligned crops for the cosines and for int8's ranges")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--tiny", action="store_true", help="a small network, to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        models = [tiny_model(Path(folder))] if arguments.tiny else arguments.models
        turns = 1 if arguments.tiny else arguments.turns
        precisions = PRECISIONS[:1] if arguments.tiny else PRECISIONS
        for number, model in enumerate(models):
            out = Path(folder) / str(number)
            print(f"\n{model.name}\n")
            for line in table(model, out, data=arguments.data, turns=turns, precisions=precisions):
                print(line, flush=True)


def tiny_model(folder: Path) -> Path:
    """A network that is not trained, in a folder like that of a run."""
    config = IResNetConfig(name="iresnet", depth=18, width=8, embedding_dim=16, input_px=32)
    spec = PreprocessingSpec.of(find_template("arcface-64"), input_px=32)
    (folder / "tiny").mkdir()
    settings = config.model_dump(mode="json")
    network = build_backbone(config)
    save_model(folder / "tiny" / MODEL_NAME, network, backbone_config=settings, spec=spec, provenance={})
    return folder / "tiny"


def table(
    model: Path, out: Path, *, data: Path | None, turns: int, precisions: tuple[Precision, ...]
) -> list[str]:
    """Size, milliseconds per crop and cosines of every form, as Markdown."""
    exported = {
        precision: export_model(ExportRequest(model, "onnx", out / precision / "m.onnx", precision, data))
        for precision in precisions
    }
    files = {precision: each.request.out for precision, each in exported.items()}
    times = milliseconds(model, files, turns=turns)
    lines = [
        "| form | MB | ms per crop, one by one | in batches of 16 | cosine: mean | lowest |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| PyTorch | | {times['PyTorch', 1]:.1f} | {times['PyTorch', 16]:.1f} | | |",
    ]
    for precision, each in exported.items():
        alone, batched = (f"{times[precision, batch]:.1f}" for batch in BATCHES)
        cosines = f"{each.cosines.mean:.4f} | {each.cosines.lowest:.4f}"
        lines.append(f"| ONNX {precision} | {each.file_bytes / 1e6:.1f} | {alone} | {batched} | {cosines} |")
    return lines


def milliseconds(model: Path, files: dict[Precision, Path], *, turns: int) -> dict[tuple[str, int], float]:
    """Per crop, of each form and batch size: the median over the turns."""
    embedder = load_differentiable(model)
    network, side = embedder.backbone.cpu(), embedder.spec.input_px
    sessions = {name: session_of(file) for name, file in files.items()}
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(turns + 1):  # the first turn warms up
        for batch in BATCHES:
            pixels = np.random.default_rng(batch).random((batch, 3, side, side), np.float32)
            with torch.inference_mode():
                start = time.process_time()
                network(torch.from_numpy(pixels))
            taken.setdefault(("PyTorch", batch), []).append(time.process_time() - start)
            for name, session in sessions.items():
                start = time.process_time()
                session.run(None, {INPUT: pixels})
                taken.setdefault((name, batch), []).append(time.process_time() - start)
    return {key: 1000 * statistics.median(times[1:]) / key[1] for key, times in taken.items()}


def session_of(file: Path) -> onnxruntime.InferenceSession:
    """On one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
