"""Model files: safetensors with a JSON description in the header, so that loading runs no code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from data_prep.errors import InputError


@dataclass(frozen=True)
class ModelFormat:
    """A kind of model file.

    Attributes:
        metadata_key: where the description stands in the header.
        command: what writes such files, as the user calls it.
        run: what that command leaves behind, in words.
    """

    metadata_key: str
    command: str
    run: str

    def wrote(self, path: Path) -> bool:
        """Whether a file is of this kind, told by its header."""
        try:
            with safe_open(path, framework="pt") as file:
                return self.metadata_key in (file.metadata() or {})
        except (SafetensorError, OSError):
            return False

    def read(self, path: Path, *, field: str = "--run") -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Description and tensors of a file in a run's folder.

        Args:
            path: the file.
            field: what the user named the folder with, for the message.

        Raises:
            InputError: no such file, or not of this kind.
        """
        if not path.is_file():
            raise InputError(
                field,
                f"must be the folder of a finished {self.run}, with a {path.name}",
                got=path.parent,
                fix=f"Run: {self.command} CONFIG --run {path.parent}",
            )
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})[self.metadata_key])
                return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise self.unreadable(path, type(error).__name__) from error

    def unreadable(self, path: Path, why: str) -> InputError:
        """The error for a file that is there and cannot be used."""
        return InputError(
            "model",
            f"must be a file that `{self.command}` wrote, whole and of this version",
            got=f"{path} ({why})",
            fix="Copy the file again or train again.",
        )
