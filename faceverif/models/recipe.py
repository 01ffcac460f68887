"""How another process loads a model that this one has loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceverif.models.location import model_file_of

if TYPE_CHECKING:
    from faceverif.models.embedder import Embedder


@dataclass(frozen=True)
class Recipe:
    """The arguments of `load_embedder`.

    Attributes:
        model: the folder of a run or of an imported model, its model file, or an .onnx file.
        preprocess, output: what an .onnx file does not say itself.
    """

    model: Path
    preprocess: str | None
    output: str | None

    @property
    def file(self) -> Path:
        """The file with the weights."""
        return model_file_of(self.model)

    def load(self) -> Embedder:
        """The model, on the device of this process."""
        from faceverif.models import load_embedder

        return load_embedder(self.model, preprocess=self.preprocess, output=self.output)
