"""What an ONNX file that was exported here says about itself: the crops and pixels that it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from data_prep.errors import DAMAGE, InputError, first_line
from faceverif.models.embedder import PreprocessingSpec
from faceverif.models.location import MODEL_OPTION
from faceverif.models.preprocessing import find_preprocessing

_KEY, _FORMAT = "faceverif.export", 1
_SPECS = TypeAdapter(PreprocessingSpec)


@dataclass(frozen=True)
class OnnxLabel:
    """Stands in the metadata of an ONNX file, so that nobody has to say what the model takes.

    Attributes:
        preprocess: what happens to the pixels before the graph: as for `find_preprocessing`.
        spec: the crops.
        provenance: where the weights come from; JSON-able.
    """

    preprocess: str
    spec: PreprocessingSpec
    provenance: Mapping[str, Any]

    def as_metadata(self) -> dict[str, str]:
        """The entry of the file's metadata."""
        about = {
            "format": _FORMAT,
            "preprocess": self.preprocess,
            "crops": asdict(self.spec),
            "provenance": dict(self.provenance),
        }
        return {_KEY: json.dumps(about, sort_keys=True)}


def read_label(path: Path, metadata: Mapping[str, str]) -> OnnxLabel | None:
    """The label of a file, or None where it has none.

    Args:
        path: the file, for the message.
        metadata: of the file, text by key.

    Raises:
        InputError: its label is damaged, or of a later version.
    """
    if _KEY not in metadata:
        return None
    try:
        about = json.loads(metadata[_KEY])
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']}, not {_FORMAT}")
        _refuse_unknown_preprocessing(about["preprocess"])
        spec = _SPECS.validate_python(about["crops"])
        return OnnxLabel(about["preprocess"], spec, dict(about["provenance"]))
    except DAMAGE as error:
        raise InputError(
            MODEL_OPTION,
            f"{path.name} must hold its description as `faceverif export` wrote it",
            got=first_line(error),
            fix="Copy the file again, or export it again with this version.",
        ) from error


def _refuse_unknown_preprocessing(name: str) -> None:
    try:
        find_preprocessing(name)
    except InputError as error:  # it advises on --preprocess, which nobody gave
        raise ValueError(f"no preprocessing {name}") from error
