"""A tiny aligned data set of people who are patterns, and a model that knows them apart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from data_prep.alignment import find_template
from data_prep.dataset.manifest import AlignedDataset, Status, header_for, write_manifest
from faceverif.models import PreprocessingSpec, TorchEmbedder

NOISE = 18  # grey levels; at 0 all photos of a person are alike


def face(person: int, photo: int, *, side: int, noise: int = NOISE) -> NDArray[np.uint8]:
    """A 7 x 7 pattern that is the person, under noise that is the photo."""
    pattern = np.random.default_rng(person).integers(40, 216, (7, 7, 3))
    shown = pattern + np.random.default_rng((person, photo)).normal(0, noise, (7, 7, 3))
    large = np.kron(shown, np.ones((side // 7 + 1, side // 7 + 1, 1)))[:side, :side]
    return large.clip(0, 255).astype(np.uint8)


def manifest_row(photo: str, *, status: Status = Status.ALIGNED, ending: str = ".png") -> dict[str, Any]:
    return {
        "photo": photo + ".jpg",
        "identity": photo.partition("/")[0],
        "crop": None if status is Status.FAILED else f"crops/{photo}{ending}",
        "sha256": hashlib.sha256(photo.encode()).hexdigest(),
        "status": status.value,
        "reason": None if status is Status.ALIGNED else "no_face",
        "width": 250,
        "height": 250,
        "box": None,
        "landmarks": None,
        "score": None,
        "faces": 1,
    }


def write_faces(
    root: Path,
    *,
    people: int = 12,
    photos: int = 4,
    template: str = "arcface-112",
    status: dict[str, Status] | None = None,
    noise: int = NOISE,
) -> AlignedDataset:
    """People P00, P01 ... with photos P00/P00_0001 ..., all aligned but those in `status`."""
    root.mkdir(parents=True, exist_ok=True)
    shape = find_template(template)
    rows = []
    for person in range(people):
        for photo in range(1, photos + 1):
            name = f"P{person:02d}"
            key = f"{name}/{name}_{photo:04d}"
            row = manifest_row(key, status=(status or {}).get(key, Status.ALIGNED))
            rows.append(row)
            if row["crop"]:
                (root / row["crop"]).parent.mkdir(parents=True, exist_ok=True)
                pixels = face(person, photo, side=shape.crop_px, noise=noise)
                Image.fromarray(pixels).save(root / row["crop"], compress_level=1)
    write_manifest(root, header_for(shape, policy="centred-largest", min_face_px=20), rows)
    return AlignedDataset.load(root)


def write_pairs(path: Path, *, people: int = 12, photos: int = 4) -> Path:
    """A CSV of every neighbouring pair of photos and of neighbouring people."""
    lines = ["left,right,same"]
    for person in range(people):
        for photo in range(1, photos):
            here, other = f"P{person:02d}", f"P{(person + 1) % people:02d}"
            lines.append(f"{here}/{here}_{photo:04d},{here}/{here}_{photo + 1:04d},1")
            lines.append(f"{here}/{here}_{photo:04d},{other}/{other}_{photo:04d},0")
    path.write_text("\n".join(lines) + "\n")
    return path


class PatternNet(nn.Module):
    """Pixels in [0, 1] -> the 7 x 7 pattern, around zero."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(7)
        self.scale = nn.Conv2d(3, 3, 1, groups=3, bias=False)
        nn.init.ones_(self.scale.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.scale(self.pool(pixels) - 0.5).flatten(1)


def pattern_embedder(template: str = "arcface-112", *, input_px: int = 112) -> TorchEmbedder:
    return TorchEmbedder(PatternNet(), PreprocessingSpec.of(find_template(template), input_px=input_px))
