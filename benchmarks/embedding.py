"""Embedding crops with an ONNX file: `faceverif embed` beside a plain loop around ONNX Runtime.

    python benchmarks/embedding.py MODEL.onnx ALIGNED [--count 2000] [--turns 3] [--preprocess rgb-127.5]
    python benchmarks/embedding.py --tiny            # does it still run: a network of one layer, drawn crops

Every contender reads the same crops, embeds each of them and its mirror image, and takes the mean. The plain
loops give ONNX Runtime's own threads all cores. Turns alternate, so that other work slows all alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.face_model import load_face_model
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.synthetic import synthesise_photos
from faceverif.models.onnx_file import OnnxEmbedder
from faceverif.verification.embeddings import embed_dataset

CORES = os.cpu_count() or 1
PLAIN_BATCHES = (16, 64)


def main() -> None:
    options = parse_arguments()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if options.tiny:
            options.model, options.aligned = small_model(Path(scratch)), drawn_crops(Path(scratch))
        embedder = OnnxEmbedder(options.model, options.preprocess)
        dataset = AlignedDataset.load(options.aligned)
        rows = np.flatnonzero(dataset.column("status") == Status.ALIGNED.value)[: options.count]
        measure(embedder, dataset, rows, turns=1 if options.tiny else options.turns)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", help="an .onnx file")
    parser.add_argument("aligned", type=Path, nargs="?", help="a folder made by `faceverif align`")
    parser.add_argument("--count", type=int, default=2000, help="crops of it")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--preprocess", default="rgb-127.5", help="as for `faceverif embed`")
    parser.add_argument("--tiny", action="store_true", help="a network of one layer, eight crops")
    options = parser.parse_args()
    if (options.aligned is None) is not options.tiny:
        parser.error("give MODEL.onnx and ALIGNED, or --tiny")
    return options


def measure(embedder: OnnxEmbedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, turns: int) -> None:
    contenders: dict[str, Callable[[], NDArray[np.float32]]] = {
        "faceverif embed": lambda: embed_dataset(embedder, dataset, rows, flip=True)
    }
    for batch in [embedder.batch] if embedder.batch else PLAIN_BATCHES:
        name = f"plain loop, batches of {batch}, {CORES} threads"
        contenders[name] = lambda batch=batch: plain_loop(embedder, dataset, rows, batch=batch)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        found = {}
        for name, embed in contenders.items():
            start = time.perf_counter()
            found[name] = embed()
            seconds[name].append(time.perf_counter() - start)
    own, *others = found.values()
    apart = max(float(np.abs(own - other).max()) for other in others)
    print(f"{len(rows)} crops, {CORES} cores, medians of {turns} turns; embeddings differ by {apart:.1e}\n")
    for name, taken in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(taken, seconds["faceverif embed"], strict=True))
        print(f"{name:40s}{len(rows) / statistics.median(taken):10.1f} crops/s{ratio:8.2f} x faceverif embed")


def plain_loop(
    embedder: OnnxEmbedder, dataset: AlignedDataset, rows: NDArray[np.int64], *, batch: int
) -> NDArray[np.float32]:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(embedder.path, settings, providers=["CPUExecutionProvider"])
    name, found = session.get_inputs()[0].name, []
    for start in range(0, len(rows), batch):
        crops = dataset.crops.read(rows[start : start + batch])
        both = [embedder.input.feed(embedder.pixels(each)) for each in (crops, crops[:, :, ::-1])]
        straight, mirrored = (session.run([embedder.output_name], {name: each})[0] for each in both)
        found.append((straight + mirrored) / 2)
    return np.concatenate(found)


def small_model(folder: Path) -> Path:
    """A convolution and its mean over the picture."""
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weight"], ["features"], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["features"], ["means"]),
            helper.make_node("Flatten", ["means"], ["embedding"]),
        ],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "small.onnx")
    return folder / "small.onnx"


def drawn_crops(folder: Path) -> Path:
    synthesise_photos(load_face_model(), folder / "photos", identities=2, photos=4, seed=0)
    align_folder(folder / "photos", folder / "aligned", settings=AlignSettings(min_face_px=60))
    return folder / "aligned"


if __name__ == "__main__":
    main()
