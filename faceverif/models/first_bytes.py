"""Which form a model's file has, recognised by how it begins: hubs and caches drop the endings of names."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from data_prep.errors import DAMAGE, InputError

Form = Literal["checkpoint", "onnx", "safetensors"]

_READ = 512
_LENGTH_BYTES = 8  # before the JSON header of a .safetensors file
# Protobuf's field 1 of a model, a small number (the version of the format), and then one of the next fields.
_ONNX = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]")
_CHECKPOINT = (b"PK\x03\x04", b"\x80")  # a zip archive; before torch 1.6 a pickle
_ARCHIVE = ("a packed archive", "Unpack it, and name the model in it.")
_OTHERS = (
    (rb"$", "an empty file", "Copy or download it again."),
    (rb"\s*<(!doctype|html|\?xml)", "a web page", "Download the file itself, not the page that shows it."),
    (
        rb"version https://git-lfs",
        "a pointer of Git LFS",
        "Run `git lfs pull` in the folder that was cloned, or download the file itself.",
    ),
    (rb"\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ|(?s:.{257})ustar", *_ARCHIVE),
)


def form_of(file: Path) -> Form:
    """The form of a file that should hold a model. Where its beginning does not tell, its name does."""
    with file.open("rb") as content:
        head = content.read(_READ)
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    if head[_LENGTH_BYTES:].startswith(b"{") and length <= file.stat().st_size:
        return "safetensors"
    if head.startswith(_CHECKPOINT):
        return "checkpoint"
    if _ONNX.match(head) or file.suffix.lower() == ".onnx":
        return "onnx"
    return "safetensors" if file.suffix.lower() == ".safetensors" else "checkpoint"


def kinds_in(file: Path) -> set[str]:
    """What a .safetensors file says that it holds, by its header; empty where it is none or says nothing."""
    try:
        with safe_open(file, framework="np") as content:
            return set(content.metadata() or {})
    except (SafetensorError, OSError):
        return set()


def refuse_no_model(file: Path, *, field: str) -> None:
    """Say of a file that could not be read what it is: nothing, a web page, a pointer, an archive.

    Args:
        file: which exists.
        field: what the user named it with.

    Raises:
        InputError: it begins as one of these.
    """
    with file.open("rb") as content:
        head = content.read(_READ)
    others = [(what, fix) for start, what, fix in _OTHERS if re.match(start, head, re.IGNORECASE)]
    if not others and _is_another_zip(file):
        others = [_ARCHIVE]
    for what, fix in others:
        raise InputError(field, "must be a model's file", got=f"{file}, {what}", fix=fix)


def _is_another_zip(file: Path) -> bool:
    """Whether it is a whole zip archive, and none by `torch.save`."""
    names = names_in_zip(file)
    return bool(names) and not any(name.endswith("data.pkl") for name in names)


def names_in_zip(file: Path) -> list[str]:
    """What a zip archive holds; nothing where the file is none, or its table of contents is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, *DAMAGE):
        return []
