"""`faceverif import`: a model from elsewhere becomes a model folder that other commands accept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from data_prep.errors import InputError, few, printable_lines
from data_prep.lock import filled
from faceverif.models.first_bytes import form_of
from faceverif.models.importing.from_checkpoint import from_checkpoint
from faceverif.models.importing.from_own import from_own
from faceverif.models.importing.incoming import ImportSettings, Incoming
from faceverif.models.location import MODEL_NAME
from faceverif.models.model_file import save_model, wrote


@dataclass(frozen=True)
class ImportedModel:
    """What was imported.

    Attributes:
        path: of our model file.
        found: what the file held.
    """

    path: Path
    found: Incoming

    def text(self) -> str:
        """A few lines for the user."""
        found, spec = self.found, self.found.spec
        lines = [
            f"{found.name}: {found.parameters / 1e6:.2f} million parameters, "
            f"{found.embedding_dim} dimensions",
            f"pixels: {found.pixels}{self._other_pixels()}",
            f"crops:  {spec.template}, the middle {spec.input_px} x {spec.input_px} pixels",
            *found.notes,
        ]
        if found.left_out:
            lines.append(f"not part of the network: {few(found.left_out, most=4)}")
        lines += [
            f"model:  {self.path}",
            f"to train it further: training.start_from: {self.path.parent}",
            f"  backbone: {self._section()}",
        ]
        return printable_lines(lines)

    def _other_pixels(self) -> str:
        options = self.found.pixel_options
        return f" (others: {', '.join(options)})" if options else ""

    def _section(self) -> str:
        """The backbone section of a config that trains it further, as one line of YAML."""
        section = {"name": self.found.config["name"], **self.found.config}
        if "model" in section:
            section["model"] = str(self.path.parent)
        return json.dumps(section)


def import_model(file: Path, out: Path, *, settings: ImportSettings) -> ImportedModel:
    """Find out which network a file holds, and write it as OUT/model.safetensors.

    Colour order and normalisation become part of the model, so that it takes RGB pixels in [0, 1] as ours do.
    Loading runs no code from the file.

    Args:
        file: a checkpoint of InsightFace's iResNets and MobileFaceNet, AdaFace's and CVLface's IR nets,
            MagFace, or facenet-pytorch's InceptionResnetV1; an ONNX file; or a model file of ours.
        out: the model's folder, new or without a model.
        settings: what the user states about the model.

    Returns:
        what was found and where it was written.

    Raises:
        InputError: the file cannot be read safely, holds no network that is known here or only a part of one;
            its template or preprocessing has to be named; an ONNX file has operators without gradients;
            or OUT holds a model.
    """
    _refuse_model(out)
    if file.is_file() and form_of(file) == "onnx":
        from faceverif.models.importing.from_onnx import from_onnx  # brings onnx, onnxruntime and onnx2torch

        found = from_onnx(file, settings)
    elif wrote(file):
        found = from_own(file, settings)
    else:
        found = from_checkpoint(file, settings)
    origin = {"file": file.name, "sha256": found.sha256, "network": found.name, "pixels": found.pixels}
    with filled(out, command="faceverif import"):
        _refuse_model(out)  # again: another import may have finished meanwhile
        save_model(
            out / MODEL_NAME,
            found.backbone,
            backbone_config=found.config,
            spec=found.spec,
            provenance={**found.provenance, "imported": origin},
        )
    return ImportedModel(out / MODEL_NAME, found)


def _refuse_model(out: Path) -> None:
    if (out / MODEL_NAME).exists():
        raise InputError(
            "--out", "must not hold a model yet", got=out / MODEL_NAME, fix="Name another folder."
        )
