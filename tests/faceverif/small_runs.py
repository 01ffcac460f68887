"""The smallest training runs: a real backbone at 32 pixels on people who are patterns.

The crops have more pixels, so a module that trains asks for the fixture `small_inputs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from small_faces import write_faces

from faceverif.config.run import RunConfig, validate_run_config
from faceverif.training.checkpoint import checkpoint_path
from faceverif.training.loop import train

PHOTOS, BATCH = 20, 8  # of four people; the four photos beyond two batches sit out


def settings(root: Path, **sections: Any) -> dict[str, Any]:
    """Settings with everything that makes randomness: augmentation, dropout, averaging.

    A section is merged into these, or replaces them where it has a name.
    """
    plain: dict[str, Any] = {
        "seed": 7,
        "data": {"path": str(root)},
        "backbone": {
            "name": "iresnet",
            "depth": 18,
            "width": 8,
            "embedding_dim": 16,
            "input_px": 32,
            "dropout": 0.2,
        },
        "head": {"name": "cosface", "scale": 16, "margin": 0.2},
        "optimizer": {"name": "sgd", "learning_rate": 0.05},
        "schedule": {"name": "cosine", "warmup_epochs": 0.5, "margin_warmup_epochs": 1},
        "augmentation": {"flip": 0.5, "shift_px": 3, "rotation_deg": 10, "saturation": 0.3, "erase": 0.3},
        "training": {
            "epochs": 3,
            "batch_size": BATCH,
            "ema_decay": 0.9,
            "workers": 0,
            "log_every_steps": 2,
            "checkpoint_every_minutes": 0,
        },
    }
    for key, section in sections.items():
        merged = isinstance(section, dict) and "name" not in section
        plain[key] = plain.get(key, {}) | section if merged else section
    return plain


def run_config(root: Path, **sections: Any) -> RunConfig:
    return validate_run_config(settings(root, **sections), source="test")


def mobile_run_config(root: Path, **sections: Any) -> RunConfig:
    """The same with a MobileFaceNet, for tests that name its layers."""
    mobile = {"name": "mobilefacenet", "embedding_dim": 16, "input_px": 32, "dropout": 0.2}
    return run_config(root, **sections | {"backbone": mobile | sections.get("backbone", {})})


def checkpoint(run: Path) -> dict[str, Any]:
    return torch.load(checkpoint_path(run), weights_only=True)


def tensors(content: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """Every tensor of nested dictionaries and lists, by its path."""
    if isinstance(content, torch.Tensor):
        return {prefix: content}
    items = content.items() if isinstance(content, dict) else enumerate(content)
    return {
        path: tensor
        for key, value in items
        if isinstance(value, dict | list | torch.Tensor)
        for path, tensor in tensors(value, f"{prefix}/{key}").items()
    }


def write_first_run(root: Path) -> Path:
    """A short MobileFaceNet training in `root`: its `data`, its `run`, and `others` to continue with."""
    write_faces(root / "data", people=4, photos=5)
    write_faces(root / "others", people=6, photos=4)
    train(mobile_run_config(root / "data", training={"epochs": 1}), root / "run")
    return root
