"""Checkpoints: whole or not there, tensors and plain values only, independent of the number of processes."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from data_prep.atomic import make_folder, refuse_file, written_whole
from data_prep.errors import InputError
from faceverif.config.section import Section, changed_settings

_FORMAT = 1
_KEYS = {"config", "data_sha256"}

# Keys that may change between a run and its resumption: they say where things lie, how often is looked and
# how long it goes on, not how a step computes.
_MAY_CHANGE = (
    "data.path",
    "data.exclude",
    "training.epochs",
    "training.workers",
    "training.log_every_steps",
    "training.checkpoint_every_minutes",
    "training.evaluate_every_epochs",
    "training.start_from",
    "verification",
)


def checkpoint_path(run: Path) -> Path:
    """Where a run's checkpoint lies."""
    return run / "checkpoints" / "last.pt"


def save_checkpoint(run: Path, content: dict[str, Any]) -> None:
    """Replace the run's checkpoint; whenever the process dies, one of the two is there and whole."""
    with written_whole(checkpoint_path(run)) as unfinished, unfinished.open("wb") as file:
        torch.save({"format": _FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(run: Path, config: Section, *, data_sha256: str) -> dict[str, Any]:
    """The checkpoint of a run that goes on.

    Args:
        run: its folder.
        config: how it shall go on.
        data_sha256: of what is trained on.

    Raises:
        InputError: no checkpoint, not one of ours, other settings, or other photos.
    """
    path = checkpoint_path(run)
    if not path.is_file():
        raise InputError("--resume", f"needs {path}", got="none", fix="Leave --resume out to start the run.")
    content = read_checkpoint(run, field="--resume")
    _require_equal(content, config, data_sha256=data_sha256)
    return content


def read_checkpoint(run: Path, *, field: str) -> dict[str, Any]:
    """The checkpoint in a run's folder.

    Args:
        run: the folder; it has one.
        field: what the user gave, for the message.

    Raises:
        InputError: not one of ours.
    """
    path = checkpoint_path(run)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT or not content.keys() >= _KEYS:
            raise KeyError("format")
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            field,
            "the checkpoint must be one that this version wrote",
            got=f"{path} ({type(error).__name__})",
            fix="Start the run again in another folder.",
        ) from error
    return content


def refuse_started_run(run: Path) -> None:
    """A new run does not write over another.

    Raises:
        InputError: the folder has a checkpoint, or is a file.
    """
    refuse_file(run, option="--run")
    if checkpoint_path(run).exists():
        raise InputError(
            "--run",
            "must not have been trained in",
            got=run,
            fix="Add --resume to go on, or name another folder.",
        )


def prepare_folder(run: Path) -> None:
    """Make the run's folders, and clear away what a killed process had begun to write.

    Raises:
        InputError: they cannot be made.
    """
    folder = checkpoint_path(run).parent
    make_folder(folder, option="--run")
    for unfinished in folder.glob(".unfinished-*"):
        unfinished.unlink()


def _require_equal(content: dict[str, Any], config: Section, *, data_sha256: str) -> None:
    now = config.model_dump(mode="json")
    changes = changed_settings(content["config"], now, may_change=_MAY_CHANGE)
    if changes:
        raise InputError(
            "--resume",
            "settings must be those that the run began with",
            got=changes,
            fix="Set them back, or start another run.",
        )
    if content["data_sha256"] != data_sha256:
        raise InputError(
            "--resume",
            f"needs the data that the run began with ({content['data_sha256'][:12]})",
            got=data_sha256[:12],
            fix="Give the same data with the same list of exclusions, if any, or start another run.",
        )
