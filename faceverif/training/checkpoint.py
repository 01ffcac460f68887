"""Checkpoints: whole or not there, tensors and plain values only, independent of the number of processes."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from data_prep.atomic import refuse_file, written_whole
from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from faceverif.config.section import NotNegative, Section, changed_settings, may_change

_FORMAT = 1
_RUN_OPTION = "--run"


class Standing(Section):
    """How far a run had come when its checkpoint was made.

    Attributes:
        step: steps made.
        seconds: that they took, over all sittings.
        started: when the run began, as its provenance says.
        interval: sums over the steps since the last row of the log.
        history: rows of the log, where it is written as a whole.
        logged: rows of a log that grows row by row; None in checkpoints of earlier versions.
        start_from: what the run took over from another one.
    """

    step: Annotated[int, Field(ge=0)]
    seconds: NotNegative
    started: str
    interval: dict[str, float]
    history: tuple[dict[str, int | float], ...] = ()
    logged: int | None = None
    start_from: dict[str, Any] | None = None


class _Checkpoint(Section):
    """What every checkpoint holds beside its tensors."""

    format: Literal[1]
    config: dict[str, Any]
    data_sha256: str


def checkpoint_path(run: Path) -> Path:
    """Where a run's checkpoint lies."""
    return run / "checkpoints" / "last.pt"


def save_checkpoint(run: Path, content: dict[str, Any]) -> None:
    """Replace the run's checkpoint; whenever the process dies, one of the two is there and whole."""
    with written_whole(checkpoint_path(run)) as unfinished, unfinished.open("wb") as file:
        torch.save({"format": _FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(
    run: Path, config: Section, *, data_sha256: str, required: bool = False
) -> dict[str, Any] | None:
    """The checkpoint from which a run continues; None where it has none yet.

    Args:
        run: its folder.
        config: how it shall continue.
        data_sha256: of what is trained on.
        required: refuse a run without a checkpoint.

    Raises:
        InputError: a file in the place of the folder, no checkpoint where one is required, not one of ours,
            one with other settings, or one of other photos.
    """
    refuse_file(run, option=_RUN_OPTION)
    path = checkpoint_path(run)
    if not path.is_file():
        if required:
            raise InputError(
                "--resume", f"needs {path}", got="none", fix="Leave --resume out to start the run."
            )
        return None
    with only_a_whole_checkpoint(run):
        content = read_checkpoint(run)
        _require_equal(run, content, config, data_sha256=data_sha256)
    return content


def read_checkpoint(run: Path) -> dict[str, Any]:
    """The checkpoint in a run's folder, which has one; call it within `only_a_whole_checkpoint`.

    Its tensors stay in the file until they are used: of a head with millions of classes, a process may need
    few rows.
    """
    _refuse_other_sums(checkpoint_path(run))
    content = torch.load(checkpoint_path(run), map_location="cpu", weights_only=True, mmap=True)
    _checked(_Checkpoint, content)
    return content


@contextmanager
def only_a_whole_checkpoint(run: Path, *, field: str = _RUN_OPTION, fix: str = "") -> Iterator[None]:
    """A block that reads a checkpoint: if it fails, the file is damaged or older, or the system refused.

    A damaged file fails in torch, in zipfile, in pickle or where its values are used, with any exception.

    Args:
        run: the run's folder.
        field: what the user gave, for the message.
        fix: the advice; by default, that of a run which cannot continue.

    Raises:
        InputError: the block failed for another reason than rights, memory or the disk.
    """
    path = checkpoint_path(run)
    rule = "the checkpoint must be whole, and one that this version wrote"
    fix = fix or f"Remove {path} to train from the start, or name another folder."
    with read_guarded(field, rule, got=path, fix=fix):
        yield


def standing_in(content: dict[str, Any]) -> Standing:
    """Where the run stood; call it within `only_a_whole_checkpoint`."""
    return _checked(Standing, content)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer the state of a checkpoint; call it within `only_a_whole_checkpoint`.

    PyTorch checks neither the shapes of the moments nor the settings: the next step would fail on them. It
    would keep the tensors as they are, in the file, or with the rows of other processes.

    Raises:
        ValueError: the state is not one of this optimizer.
    """
    own = optimizer.state_dict()["param_groups"]
    moments = {number: _copied(of_parameter) for number, of_parameter in state["state"].items()}
    optimizer.load_state_dict(state | {"state": moments})
    for group, before in zip(optimizer.param_groups, own, strict=True):
        if _types(group) != _types(before):
            raise ValueError("other settings")
        for parameter in group["params"]:
            for moment in optimizer.state.get(parameter, {}).values():
                if moment is not None and moment.shape not in (parameter.shape, ()):
                    raise ValueError("a moment of another shape")


def _types(group: dict[str, Any]) -> dict[str, type]:
    """What kind of value each setting of a group of parameters has."""
    return {key: type(value) for key, value in group.items() if key != "params"}


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in values.items()}


def _refuse_other_sums(path: Path) -> None:
    """PyTorch writes a check sum of each tensor, and does not look at it when it reads."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(damaged)


def _checked(model: type[Any], content: dict[str, Any]) -> Any:
    known = {key: value for key, value in content.items() if key in model.model_fields}
    return TypeAdapter(model).validate_python(known, strict=True)


def _with_later_keys(settings: dict[str, Any], model: type[Section]) -> dict[str, Any]:
    """A checkpoint's settings; keys that its version did not know have their defaults, as it behaved."""
    try:
        return model.model_validate_json(json.dumps(settings), strict=True).model_dump(mode="json")
    except ValidationError:  # another kind of run
        return settings


def _require_equal(run: Path, content: dict[str, Any], config: Section, *, data_sha256: str) -> None:
    """Stop where a folder holds another run than the one that is asked for."""
    then, now = _with_later_keys(content["config"], type(config)), config.model_dump(mode="json")
    changes = changed_settings(then, now, may_change=may_change(type(config)))
    if then.keys() != now.keys():
        changes = f"one with {', '.join(sorted(then.keys() ^ now.keys()))}"
    if changes:
        raise InputError(
            _RUN_OPTION,
            f"{run} holds a run that began with other settings",
            got=changes,
            fix="Set them back to continue it, or name another folder.",
        )
    if content["data_sha256"] != data_sha256:
        raise InputError(
            _RUN_OPTION,
            f"{run} holds a run that began with other data ({content['data_sha256'][:12]})",
            got=data_sha256[:12],
            fix="Give the same data with the same list of exclusions, if any, or name another folder.",
        )
