"""Weights in other people's files: read without running code, wherever in the file they lie."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from data_prep.errors import InputError, first_line
from faceverif.models.first_bytes import form_of, names_in_zip, refuse_no_model

_FIELD = "FILE"
_LONGEST_LINE = 160  # characters of another library's message that are repeated
_PICKLES_BEFORE_STORAGES = 4  # of the older format: magic number, version, system, and what was saved
_DEEPEST = 4  # mappings inside mappings that are searched for weights
# Settings and call-backs that trainers pickle beside the weights. Loading them runs nothing: an inert object
# takes the place of each.
_HARMLESS = (
    "argparse.Namespace",
    "easydict.EasyDict",
    "lightning.",
    "lightning_fabric.",
    "omegaconf.",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pytorch_lightning.",
    "torch.optim.",
    "yacs.",
)


class _Inert(dict[Any, Any]):
    """What stands for a pickled object of another library: it takes any arguments and keeps none."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, _: object) -> None:
        pass


def read_weights(path: Path) -> Iterator[Mapping[str, Tensor]]:
    """The sets of named tensors in a file, the outermost first.

    Args:
        path: a checkpoint by `torch.save` or a .safetensors file.

    Yields:
        each mapping of names to tensors, whatever keys the training script put around it.

    Raises:
        InputError: no such file, not a checkpoint, a damaged one, one that would run code when loaded, or one
            without weights.
    """
    content = _load(path)
    found = list(_mappings_of_tensors(content, depth=0))
    if not found:
        held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise InputError(
            _FIELD,
            "must hold the weights of a network",
            got=f"{path}, which holds {held[:_LONGEST_LINE] or 'nothing'}",
            fix="Save them with torch.save(model.state_dict(), FILE), and import that file.",
        )
    yield from found


def _load(path: Path) -> Any:
    if not path.is_file():
        got = f"a folder, {path}" if path.is_dir() else f"{path}, which does not exist"
        raise InputError(_FIELD, "must be a model's file", got=got, fix="Check the path.")
    if form_of(path) == "safetensors":
        with _damage_as_input_error(path):
            return load_file(path)
    if _is_torchscript(path):
        raise InputError(
            _FIELD,
            "must hold weights, not a program",
            got=f"{path}, a TorchScript archive",
            fix="Save the state_dict() of the network, or export the network to ONNX.",
        )
    with _damage_as_input_error(path):
        asked = _asked(path)
    _refuse_code(path, asked)
    with (
        _damage_as_input_error(path),
        torch.serialization.safe_globals([(_Inert, name) for name in asked]),
        path.open("rb") as file,  # of a path, torch looks at the ending
    ):
        return torch.load(file, map_location="cpu", weights_only=True)


def _asked(path: Path) -> list[str]:
    """What a file wants to import beyond tensors and plain values; found without importing it."""
    if zipfile.is_zipfile(path):
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    with path.open("rb") as file:  # as torch.save wrote until version 1.6
        named = {name for _ in range(_PICKLES_BEFORE_STORAGES) for name in _globals_of_pickle(file)}
    return [name for name in named if not name.startswith(("torch.", "collections."))]


def _globals_of_pickle(file: IO[bytes]) -> Iterator[str]:
    """The names that the pickle at this place imports; the file then stands behind it."""
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)


def _is_torchscript(path: Path) -> bool:
    return any(name.endswith("/constants.pkl") for name in names_in_zip(path))


def _refuse_code(path: Path, asked: Iterable[str]) -> None:
    """Refuse a file that names anything but tensors, plain values and the settings of known trainers."""
    wanted = sorted(name for name in asked if not name.startswith(_HARMLESS))
    if wanted:
        raise InputError(
            _FIELD,
            "must hold tensors and plain values only, so that loading runs no code",
            got=f"{path}, which asks for {', '.join(wanted)[:_LONGEST_LINE]}",
            fix="If you trust the file, load it where it was made and save model.state_dict() alone.",
        )


@contextmanager
def _damage_as_input_error(path: Path) -> Iterator[None]:
    """For files that are no checkpoints, cut off or damaged: on those, torch and pickle raise anything."""
    try:
        yield
    except Exception as error:  # also MemoryError, where a damaged length claims more than there is
        refuse_no_model(path, field=_FIELD)
        raise InputError(
            _FIELD,
            "must be a whole checkpoint by torch.save or a .safetensors file",
            got=f"{path} ({first_line(error)[:_LONGEST_LINE]})",
            fix="Copy or download the file again.",
        ) from error


def _mappings_of_tensors(content: object, *, depth: int) -> Iterator[Mapping[str, Tensor]]:
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if tensors and all(isinstance(name, str) for name in tensors):
        yield tensors
    for value in content.values():
        yield from _mappings_of_tensors(value, depth=depth + 1)
