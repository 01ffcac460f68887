"""The Python interface: load a model, align photos, embed crops, compare two photos, run a protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from data_prep.alignment import find_template
from data_prep.alignment.base import Template
from data_prep.errors import InputError
from faceverif.models import Embedder, TorchEmbedder, load_embedder, model_or_shipped
from faceverif.option_names import names_arguments, renamed_options
from faceverif.verification.embeddings import embed_crops
from faceverif.verification.options import VerificationOptions
from faceverif.verification.photo_faces import embed_faces, find_face
from faceverif.verification.photo_pixels import Photo, described
from faceverif.verification.result import VerificationResult
from faceverif.verification.runner import verify
from faceverif.verification.scoring import normalised

if TYPE_CHECKING:
    import torch

# (crop_px, crop_px, 3) uint8 RGB, or a picture.
Crop = NDArray[np.uint8] | Image.Image


@names_arguments
def load(
    path: Path | str | None = None,
    *,
    preprocess: str | None = None,
    output: str | None = None,
    device: str | torch.device | None = None,
) -> Recogniser:
    """A model that was trained or imported here, or an ONNX file.

    Args:
        path: the folder of a run or of an imported model, or an .onnx file; None: the package's own model.
        preprocess: what an ONNX file expects, as for `faceverif verify`: `rgb-imagenet`, ...
        output: the name of an ONNX file's embedding, where its shape does not tell.
        device: auto, cpu, cuda, cuda:N or mps, as text or a torch.device, for this process; None: as chosen
            before, at first auto, which takes a CUDA GPU where there is one.

    Raises:
        InputError: no model or device there, a damaged one, or an option that does not belong to it.
    """
    if not isinstance(path, str | os.PathLike | None):
        raise InputError(
            "path",
            "must be the folder of a model, or an .onnx file",
            got=described(path),
            fix="faceverif.load() without it loads the model of the package.",
        )
    model = model_or_shipped(None if path is None else Path(path))
    where = None if device is None else str(device)
    return Recogniser(load_embedder(model, preprocess=preprocess, output=output, device=where))


@names_arguments
def align(photo: Photo, *, template: str = "arcface-112") -> NDArray[np.uint8]:
    """The centred-largest face of a photo, warped to a template.

    Args:
        photo: a file, a PIL picture, or (height, width, 3) uint8 RGB.
        template: where the landmarks land; a model's own is `Recogniser.template`.

    Returns:
        (crop_px, crop_px, 3) uint8 RGB.

    Raises:
        InputError: the photo is unreadable or shows no face, or no template has this name.
    """
    return find_face(photo, find_template(template)).crop


def as_recogniser(model: Recogniser | Path | str, *, argument: str = "model") -> Recogniser:
    """A model that was loaded, or is loaded by its path.

    Args:
        model: by `load`, or what `load` takes as its path.
        argument: what the user named it with.

    Raises:
        InputError: it is neither, or no model is there.
    """
    if isinstance(model, Recogniser):
        return model
    if isinstance(model, str | os.PathLike):
        # What is wrong with the path is reported under the name of the argument that holds it.
        with renamed_options({"--model": argument, "model": argument}):
            return Recogniser(load_embedder(Path(model)))
    raise InputError(
        argument,
        "must be a model by faceverif.load, or the path of one",
        got=described(model),
        fix="Write it as in model=faceverif.load(path); faceverif.load() is the model of the package.",
    )


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

    @names_arguments
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

    @names_arguments
    def embed(self, crops: Crop | Sequence[Crop]) -> NDArray[np.float32]:
        """Embeddings of length 1.

        Args:
            crops: by `align` in the model's `template`: (n, crop_px, crop_px, 3) uint8 RGB, or a single one
                without n; or one PIL picture; or a list of either.

        Returns:
            (n, dim), or (dim,) for a single crop.

        Raises:
            InputError: crops of another size or type, or the model gives embeddings that are not finite.
        """
        batch, single = _stacked(crops, find_template(self.template))
        raw = embed_crops(self.embedder, batch, flip=self.flip)
        embeddings = normalised(raw).astype(np.float32)
        return embeddings[0] if single else embeddings

    @names_arguments
    def similarity(self, first: Photo, second: Photo) -> float:
        """Cosine of the embeddings of two photos' faces, in [-1, 1].

        Args:
            first, second: files, PIL pictures, or (height, width, 3) uint8 RGB.

        Raises:
            InputError: a photo is unreadable or shows no face.
        """
        template = self.embedder.spec.checked_template()
        faces = [find_face(photo, template) for photo in (first, second)]
        one, other = embed_faces(self.embedder, faces, flip=self.flip)
        return float(one @ other)

    @names_arguments
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


def _stacked(crops: Crop | Sequence[Crop], template: Template) -> tuple[NDArray[np.uint8], bool]:
    """A batch of crops, (n, crop_px, crop_px, 3), and whether it was given as a single crop without n."""
    several = isinstance(crops, list | tuple)
    given: Sequence[Any] = crops if isinstance(crops, list | tuple) else [crops]
    arrays = [np.array(crop.convert("RGB")) if isinstance(crop, Image.Image) else crop for crop in given]
    shape = (template.crop_px, template.crop_px, 3)
    for array in arrays:
        fits = isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.shape[-3:] == shape
        if not fits or array.ndim > (3 if several else 4) or not array.size:
            raise _other_crops(array, template)
    if not arrays:
        raise _other_crops(crops, template)
    single = not several and arrays[0].ndim == 3
    return (np.stack(arrays) if several or single else arrays[0]), single


def _other_crops(given: object, template: Template) -> InputError:
    side = template.crop_px
    return InputError(
        "crops",
        f"must be uint8 RGB, ({side}, {side}, 3) each, of the model's template {template.name}",
        got=described(given),
        fix=f'Cut them with faceverif.align(photo, template="{template.name}").',
    )
