"""What options and arguments must be: typer calls these before a command imports anything heavy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from data_prep.atomic import refuse_file, refuse_folder, refuse_other_ending
from data_prep.device import refuse_unknown_device
from data_prep.errors import InputError
from data_prep.result_folder import refuse_photos
from data_prep.work import CLUSTERS
from faceverif.extras import require_extra

if TYPE_CHECKING:
    from faceverif.config.section import Section

Config = TypeVar("Config", bound="Section")
Paths = TypeVar("Paths", Path, Path | None, list[Path])
OnePath = TypeVar("OnePath", Path, Path | None)
THIS_MACHINE = "this-machine"


def exists(parameter: typer.CallbackParam, value: Paths) -> Paths:
    """Every path that is given must exist."""
    return _checked(parameter, value, made_by="")


def made_by(command: str) -> Callable[[typer.CallbackParam, Paths], Paths]:
    """Every path that is given must exist; the command makes what lies there."""

    def check(parameter: typer.CallbackParam, value: Paths) -> Paths:
        return _checked(parameter, value, made_by=command)

    return check


def one_model(parameter: typer.CallbackParam, value: list[Path] | None) -> list[Path] | None:
    """At most one face model is named; returned as by `names_model`."""
    _refuse_several(parameter, value)
    return some_models(parameter, value)


def some_models(parameter: typer.CallbackParam, value: list[Path] | None) -> list[Path] | None:
    """Any number of face models."""
    return value and [names_model(parameter, model) for model in value]


def one_model_folder(parameter: typer.CallbackParam, value: list[Path] | None) -> list[Path] | None:
    """As `one_model`, for commands that need gradients or classes: no .onnx file."""
    return some_models(parameter, one_run_folder(parameter, value))


def one_run_folder(parameter: typer.CallbackParam, value: list[Path] | None) -> list[Path] | None:
    """As `one_model_folder`, and an image classifier may lie there too."""
    from faceverif.models.location import named_model, refuse_onnx

    _refuse_several(parameter, value)
    named = value and [named_model(model, field=_named(parameter)) for model in value]
    for model in named or []:
        refuse_onnx(model, field=_named(parameter))
    return named


def names_model(parameter: typer.CallbackParam, value: OnePath) -> OnePath:
    """Where a face model lies, if it is given. Of its file the folder: guard and thresholds lie there."""
    from faceverif.models.location import named_model, refuse_other_kind

    if value is None:
        return value
    refuse_other_kind(value, field=_named(parameter))
    return named_model(value, field=_named(parameter))


def is_repository(parameter: typer.CallbackParam, value: str) -> str:
    """OWNER/NAME; whether the hub has it, is asked later."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", value):
        raise InputError(
            _named(parameter), "must be OWNER/NAME", got=value, fix="Write it as in anna/face-model."
        )
    return value


def is_rate(parameter: typer.CallbackParam, value: float) -> float:
    """A share above 0 and at most 1."""
    if not 0 < value <= 1:
        fix = "Give a share, such as 0.01 for one of a hundred."
        raise InputError(_named(parameter), "must be above 0 and at most 1", got=f"{value:g}", fix=fix)
    return value


def are_rates(parameter: typer.CallbackParam, value: list[float] | None) -> list[float] | None:
    """Any number of such shares."""
    return value and [is_rate(parameter, rate) for rate in value]


def known_device(value: str) -> str:
    """A name that some device has; whether it is here needs torch, and is asked later."""
    refuse_unknown_device(value)
    return value


def can_run_on(value: str) -> str:
    """Where work can run, with the packages for it; whether a cluster answers, is asked later."""
    if value != THIS_MACHINE and value not in CLUSTERS:
        raise InputError(
            "--on",
            f"must be {' or '.join([THIS_MACHINE, *CLUSTERS])}",
            got=value,
            fix="Leave it out to work on this machine.",
        )
    if value in CLUSTERS:
        extra, package, *_ = CLUSTERS[value]
        require_extra(extra, package, field=f"--on {value}")
    return value


def known_detector(value: str) -> str:
    """mtcnn, or an .onnx file with a face detector."""
    from data_prep.detection.choice import kind_of_detector

    kind_of_detector(value)
    return value


def can_be_folder(parameter: typer.CallbackParam, value: OnePath) -> OnePath:
    """A folder for results, if one is given: there already, or one that can be made; not one of photos."""
    if value is not None:
        refuse_file(value, option=_named(parameter))
        refuse_photos(value, option=_named(parameter))
    return value


def can_hold_photos(parameter: typer.CallbackParam, value: Path) -> Path:
    """A folder that photos or crops are written into: there already, or one that can be made."""
    refuse_file(value, option=_named(parameter))
    return value


def can_be_file(ending: str) -> Callable[[typer.CallbackParam, OnePath], OnePath]:
    """A file for results, if one is given: no folder, in a place where it can be made, with that ending."""

    def check(parameter: typer.CallbackParam, value: OnePath) -> OnePath:
        if value is not None:
            refuse_folder(value, option=_named(parameter))
            refuse_other_ending(value, ending, option=_named(parameter))
        return value

    return check


def known_preprocessing(value: str | None) -> str | None:
    """A name of a preprocessing, or numbers, if any are given."""
    if value is not None:
        from faceverif.models.preprocessing import find_preprocessing

        find_preprocessing(value)
    return value


def load_checked(model: type[Config], path: Path, overrides: list[str] | None) -> Config:
    """A config of this command, with every path in it that must exist."""
    from faceverif.cli.configs import refuse_other_command
    from faceverif.config.paths import refuse_missing_paths
    from faceverif.config.reading import load_config

    refuse_other_command(path, model)
    config = load_config(model, path, overrides or [])
    refuse_missing_paths(config)
    return config


def _checked(parameter: typer.CallbackParam, value: Paths, *, made_by: str) -> Paths:
    paths = value if isinstance(value, list | tuple) else [value]
    given = [path for path in paths if path is not None]
    if given:
        from faceverif.config.paths import require_path

        for path in given:
            require_path(path, field=_named(parameter), made_by=made_by)
    return value


def _refuse_several(parameter: typer.CallbackParam, models: list[Path] | None) -> None:
    if models and len(models) > 1:
        got = " and ".join(map(str, models))
        raise InputError(_named(parameter), "must name one model", got=got, fix="Leave one of them.")


def _named(parameter: typer.CallbackParam) -> str:
    """As the user knows it: --data, or SOURCE."""
    longest = max(parameter.opts, key=len)
    return longest if longest.startswith("-") else longest.upper()
