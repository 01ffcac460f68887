"""Where a model lies: what a user may name as one, and what is said of anything else."""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from faceverif.config.paths import how_to_finish, require_path
from faceverif.models.first_bytes import kinds_in

MODEL_NAME = "model.safetensors"
MODEL_OPTION = "--model"
FACE_MODEL = "faceverif.model"  # what the header of a face model's file says that it holds

# The model of the package: a folder like that of any other, with its calibration and its card.
SHIPPED = Path(__file__).parent / "shipped"

_MAKES_MODELS = "faceverif train` or `faceverif import"
_CHECKPOINTS = {".pth", ".pt", ".ckpt", ".tar", ".bin", ".safetensors"}


def is_onnx(model: Path) -> bool:
    """Whether a path is an ONNX file, recognised by its name."""
    return model.suffix.lower() == ".onnx"


def model_or_shipped(model: Path | None) -> Path:
    """The model that a user named; the package's own where none was named.

    Raises:
        InputError: none was named, and this package has none.
    """
    if model is None and not (SHIPPED / MODEL_NAME).is_file():
        raise InputError(
            MODEL_OPTION,
            "must name a model: this installation comes without one",
            got="nothing",
            fix=f"`{_MAKES_MODELS}` makes one.",
        )
    return model or SHIPPED


def spoken(model: Path) -> str:
    """A model in messages and on pages: its path, or that it is the one of the package."""
    return "the model of the package" if model in (SHIPPED, SHIPPED / MODEL_NAME) else str(model)


def model_file_of(model: Path, *, field: str = MODEL_OPTION) -> Path:
    """The file with a model's weights.

    Args:
        model: the folder of a run or of an imported model, its model file, or an .onnx file.
        field: what the user named it with.

    Raises:
        InputError: no model can lie there; with the command that makes one, where there is one.
    """
    require_path(model, field=field, made_by="" if is_onnx(model) else _MAKES_MODELS)
    if model.is_dir() and (model / MODEL_NAME).is_file():
        return model / MODEL_NAME
    if model.is_file() and (is_onnx(model) or model.name == MODEL_NAME):
        return model
    raise InputError(
        field,
        f"must be a folder with a {MODEL_NAME}, as a finished run or an imported model is, or an .onnx file",
        got=model,
        fix=_way_to_a_model(model),
    )


def named_model(model: Path, *, field: str = MODEL_OPTION) -> Path:
    """What a model is named by, and where all that belongs to it lies: its folder, or its .onnx file.

    Args:
        model, field: as for `model_file_of`; raises as it does.
    """
    file = model_file_of(model, field=field)
    return file if is_onnx(file) else file.parent


def refuse_other_kind(model: Path, *, field: str = MODEL_OPTION) -> None:
    """Stop where a model's file says that it holds another one of ours; whether it is whole, is asked later.

    Args:
        model, field: as for `model_file_of`.

    Raises:
        InputError: no face model, such as an image classifier.
    """
    file = model_file_of(model, field=field)
    others = sorted(kind for kind in kinds_in(file) - {FACE_MODEL} if kind.startswith("faceverif."))
    if others:
        raise InputError(
            field,
            "must be a face model",
            got=f"{file}, which holds another kind of thing: {', '.join(others)}",
            fix=f"Name a folder that `{_MAKES_MODELS}` filled.",
        )


def refuse_onnx(model: Path, *, field: str = MODEL_OPTION) -> None:
    """Stop where a model must have gradients, which onnxruntime does not give.

    Raises:
        InputError: an .onnx file; with the command that imports it.
    """
    if is_onnx(model):
        raise InputError(
            field,
            "must be the folder of a run or of an imported model here",
            got=model,
            fix=_import_of(model, "--preprocess", "NAME", "--out", f"models/{model.stem}"),
        )


def _import_of(file: Path, *options: str) -> str:
    return f"Import it first: {printed_command('import', file, *options)}"


def _way_to_a_model(path: Path) -> str:
    if path.is_file() and path.suffix.lower() in _CHECKPOINTS:
        return _import_of(path, "--out", "runs/imported")
    if path.is_dir() and (inside := sorted(path.glob("*.onnx")) + sorted(path.glob(f"*/{MODEL_NAME}"))):
        return f"Name what lies in it: {inside[0] if is_onnx(inside[0]) else inside[0].parent}"
    if path.is_dir():
        return how_to_finish(path, "faceverif train")
    return f"`{_MAKES_MODELS}` makes such a folder."
