"""Our own model files: safetensors with a JSON description and a hash over both, the seal.

Loading runs no code from a file. A file whose content does not match its seal is refused: one flipped bit
in the weights changes every embedding and no error says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from data_prep.atomic import written_whole
from data_prep.errors import DAMAGE, InputError, first_line
from data_prep.system_errors import system_trouble
from faceverif.config.paths import how_to_finish
from faceverif.models.first_bytes import kinds_in, refuse_no_model
from faceverif.models.location import MODEL_OPTION

UNSEALED = "not checked: an earlier version wrote the file, without a hash"

_SEAL = "sha256"
_FORMAT, _UNSEALED_FORMAT = 2, 1  # a description that says 2 must hold a seal
_LONGEST_REASON = 200  # characters of what another library says


class OtherKindError(ValueError):
    """A whole file of ours that holds something else."""


@dataclass(frozen=True)
class SealedTensors:
    """The content of a file.

    Attributes:
        about: its description.
        tensors: by name.
        sealed: whether a seal was checked; False for a file of an earlier version.
        sha256: of the tensors, as `tensors_sha256` gives it.
    """

    about: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    sealed: bool
    sha256: str


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
        """Whether a file is of this kind, recognised by its header."""
        return self.metadata_key in kinds_in(path)

    def write(self, path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Write a file whole or not at all, with its seal.

        Args:
            path: a .safetensors file.
            tensors: of any device; what is stored is detached and on the CPU.
            about: the description, JSON-able.
        """
        write_sealed(path, tensors, about, metadata_key=self.metadata_key)

    @contextmanager
    def reading(self, path: Path, *, field: str = MODEL_OPTION) -> Iterator[SealedTensors]:
        """Read a file in a run's folder; the block builds what it describes.

        Args:
            path: the file.
            field: the option that names the folder, for the message.

        Raises:
            InputError: no such file, not of this kind, damaged, or the block cannot build from it.
        """
        if not path.is_file():
            raise InputError(
                field,
                f"must be the folder of a finished {self.run}, with a {path.name}",
                got=path.parent,
                fix=how_to_finish(path.parent, self.command),
            )
        try:
            yield read_sealed(path, metadata_key=self.metadata_key)
        except OtherKindError as error:
            rule, fix = f"must be a finished {self.run}", f"Name a folder that `{self.command}` filled."
            raise InputError(field, rule, got=f"{path}, {error}", fix=fix) from error
        except (SafetensorError, OSError, *DAMAGE) as error:
            if system_trouble(error) is not None:  # no rights, no memory: the file may be whole
                raise
            refuse_no_model(path, field=field)
            raise self._unreadable(path, first_line(error)) from error

    def _unreadable(self, path: Path, why: str) -> InputError:
        return InputError(
            "model",
            f"must be a file that `{self.command}` wrote, whole and of this version",
            got=f"{path} ({why[:_LONGEST_REASON]})",
            fix=f"Copy the file again, or write it again with `{self.command}`.",
        )


def write_sealed(
    path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any], *, metadata_key: str
) -> None:
    """Write tensors, their description and a hash over both, whole or not at all.

    Args:
        path: a .safetensors file.
        tensors: of any device; what is stored is detached and on the CPU.
        about: the description, JSON-able.
        metadata_key: where the description stands in the header.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = {**about, "format": _FORMAT}
    described[_SEAL] = _seal(tensors_sha256(stored), described)
    # One entry only: safetensors writes several in an order of chance, and a run hashes its files.
    metadata = {metadata_key: json.dumps(described, sort_keys=True)}
    with written_whole(path) as unfinished:
        # Not save_file: it makes files that only their owner can read, whatever the umask.
        unfinished.write_bytes(save(stored, metadata=metadata))


def read_sealed(path: Path, *, metadata_key: str) -> SealedTensors:
    """Read what `write_sealed` wrote, or a file of an earlier version, which has no seal.

    Raises OtherKindError where it holds something else; SafetensorError, OSError or one of `DAMAGE` where it
    is damaged, missing, or no file of ours.
    """
    key, content = _checked(path)
    if key != metadata_key:
        raise OtherKindError(f"which holds another kind of thing: {key}")
    return content


def sealed_or_none(path: Path, *, metadata_key: str) -> SealedTensors | None:
    """What `read_sealed` reads of a file that can be made again; None where it is missing or damaged.

    Raises:
        OSError: the system does not open it, though it may be whole: no rights, too many open files.
    """
    try:
        return read_sealed(path, metadata_key=metadata_key)
    except (SafetensorError, OSError, *DAMAGE) as error:
        if system_trouble(error) is not None:
            raise
        return None


def refuse_damaged_models(run: Path) -> None:
    """Check the seals of a run's model files, whatever their kind.

    Raises:
        InputError: the content of one is not what was written.
    """
    for path in sorted(run.glob("*.safetensors")):
        try:
            _checked(path)
        except (SafetensorError, OSError, *DAMAGE) as error:
            if system_trouble(error) is not None:  # as in `ModelFormat.reading`
                raise
            raise InputError(
                "RUN",
                f"must hold a {path.name} as it was written",
                got=f"{path} ({first_line(error)[:_LONGEST_REASON]})",
                fix="Copy the file again from where it was trained.",
            ) from error


def _checked(path: Path) -> tuple[str, SealedTensors]:
    """The content, and where its description stands."""
    path.open("rb").close()  # says why it cannot be opened; safetensors calls every such file missing
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if len(metadata) != 1:
        raise ValueError("its header has no description")
    ((key, description),) = metadata.items()
    about = json.loads(description)
    if not isinstance(about, dict) or about.get("format") not in (_FORMAT, _UNSEALED_FORMAT):
        raise ValueError("its description has another format")
    seal, sha256 = about.pop(_SEAL, None), tensors_sha256(tensors)
    if seal is None and about["format"] == _UNSEALED_FORMAT:
        return key, SealedTensors(about, tensors, sealed=False, sha256=sha256)
    if seal != _seal(sha256, about):
        raise ValueError("its content is not what was written: the hash differs")
    return key, SealedTensors(about, tensors, sealed=True, sha256=sha256)


def below(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Those whose names begin with a prefix, by what follows it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash over names, types, shapes and values; of tensors on the CPU, contiguous."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        flat = tensor.reshape(-1).clone(memory_format=torch.contiguous_format)  # one number may have stride 0
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _seal(sha256: str, about: Mapping[str, Any]) -> str:
    facts = json.dumps([sha256, about], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()
