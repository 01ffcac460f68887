"""The Python interface: load a model, align photos, embed crops, compare two photos, run a protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from data_prep.alignment import find_template
from faceverif.models import Embedder, TorchEmbedder, load_embedder, model_or_shipped
from faceverif.verification.embeddings import embed_crops
from faceverif.verification.options import VerificationOptions
from faceverif.verification.photo_faces import Photo, embed_faces, find_face
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import verify
from faceverif.verification.scoring import normalised


def load(
    path: Path | str | None = None,
    *,
    preprocess: str | None = None,
    output: str | None = None,
    device: str | None = None,
) -> Recogniser:
    """A model that was trained or imported here, or an ONNX file.

    Args:
        path: the folder of a run or of an imported model, or an .onnx file; None: the package's own model.
        preprocess: what an ONNX file expects, as for `faceverif verify`: `rgb-imagenet`, ...
        output: the name of an ONNX file's embedding, where its shape does not tell.
        device: auto, cpu, cuda, cuda:N or mps, for this process; None: as chosen before, at first auto, which
            takes a CUDA GPU where there is one.

    Raises:
        InputError: no model or device there, a damaged one, or an option that does not belong to it.
    """
    model = model_or_shipped(None if path is None else Path(path))
    return Recogniser(load_embedder(model, preprocess=preprocess, output=output, device=device))


def align(photo: Photo, *, template: str = "arcface-112") -> NDArray[np.uint8]:
    """The centred-largest face of a photo, warped to a template.

    Args:
        photo: a file, or (height, width, 3) uint8 RGB.
        template: where the landmarks land; a model's own is `Recogniser.template`.

    Returns:
        (crop_px, crop_px, 3) uint8 RGB.

    Raises:
        InputError: the photo is unreadable or shows no face, or no template has this name.
    """
    return find_face(photo, find_template(template)).crop


class Recogniser:
    """A model with what it needs around it: the same alignment and flip average as in `faceverif verify`.

    Args:
        embedder: the model.
        flip: average the embeddings of a crop and of its mirror image.
    """

    def __init__(self, embedder: Embedder, *, flip: bool = True) -> None:
        self.embedder, self.flip = embedder, flip

    @property
    def template(self) -> str:
        """The name of the crops' template, for `align`."""
        return self.embedder.spec.template

    def network(self) -> nn.Module:
        """The model as PyTorch has it, in evaluation mode, with gradients: for attacks.

        It maps crops, (n, 3, input_px, input_px) float32 in [0, 1], to raw embeddings, (n, dim).

        Raises:
            InputError: an ONNX file has an operator without gradients.
        """
        if isinstance(self.embedder, TorchEmbedder):
            return self.embedder.backbone.eval()
        from faceverif.models.importing.onnx_layers import differentiable  # brings onnx and onnxruntime
        from faceverif.models.onnx_file import OnnxEmbedder

        source = self.embedder
        if not isinstance(source, OnnxEmbedder):
            raise TypeError(f"{type(source).__name__} holds no network")
        found = differentiable(source.path, source.preprocess, output=source.output_name)
        return found.embedder.backbone.eval()

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings of length 1.

        Args:
            crops: (n, crop_px, crop_px, 3) uint8 RGB by `align`, or a single one without n.

        Returns:
            (n, dim), or (dim,) for a single crop.

        Raises:
            ValueError: crops of another shape or type.
            InputError: the model gives embeddings that are not finite.
        """
        if single := crops.ndim == 3:
            crops = crops[None]
        raw = embed_crops(self.embedder, crops, flip=self.flip)
        embeddings = normalised(raw).astype(np.float32)
        return embeddings[0] if single else embeddings

    def similarity(self, first: Photo, second: Photo) -> float:
        """Cosine of the embeddings of two photos' faces, in [-1, 1].

        Args:
            first, second: files, or (height, width, 3) uint8 RGB.

        Raises:
            InputError: a photo is unreadable or shows no face.
        """
        template = self.embedder.spec.checked_template()
        faces = [find_face(photo, template) for photo in (first, second)]
        one, other = embed_faces(self.embedder, faces, flip=self.flip)
        return float(one @ other)

    def verify(
        self, data: Path | str, protocol: Path | str, *, out: Path | str, allow_partial: bool = False
    ) -> VerificationResult:
        """Run a protocol, and write its result, scores and report.

        Args:
            data: an aligned data set.
            protocol: its pairs.
            out: folder for the results.
            allow_partial: run with the pairs that are there.

        Raises:
            InputError: see `faceverif.verification.runner.verify`.
        """
        options = VerificationOptions(flip=self.flip, allow_partial=allow_partial)
        return verify(self.embedder, Path(data), Path(protocol), out=Path(out), options=options)
