"""Commands about configs: config list, config show, config keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from faceverif.config.reference import Part
    from faceverif.config.section import Section

# Where a command that takes a config writes to.
_RESULTS = {"train": "run RUN", "classify": "run RUN", "experiment": "out OUT", "reject": "out OUT"}


def config_list() -> None:
    """List the configs that come with the project, with the command that takes each."""
    from faceverif.config.shipped import opening_of, shipped_configs

    configs = shipped_configs()
    widest = max(map(len, configs))
    for name, path in configs.items():
        command, about = opening_of(path)
        typer.echo(f"{name:{widest}}  {command:10}  {about}".rstrip())


def config_show(
    name: Annotated[str, typer.Argument(help="As `faceverif config list` gives it, such as mnist/lgm.")],
) -> None:
    """Print a config that comes with the project; save it with `> my.yaml` to change it."""
    from faceverif.config.shipped import find_shipped_config

    typer.echo(find_shipped_config(name).read_text(encoding="utf-8"), nl=False)


def config_keys(
    section: Annotated[
        str | None,
        typer.Argument(help="Such as train, train.training, head or head.cosface; without it, all sections."),
    ] = None,
) -> None:
    """Explain the keys of a section: type, bounds, default and meaning."""
    parts = all_parts()
    if section is None:
        widest = max(map(len, parts))
        for path, part in parts.items():
            typer.echo(f"{path:{widest}}  {part.meaning}".rstrip())
        return
    path, part = _found(section, parts)
    typer.echo(part_text(path, part))


def config_models() -> dict[str, type[Section]]:
    """The config of each command that takes one."""
    from faceverif.classification.config import ClassificationConfig
    from faceverif.config.run import RunConfig
    from faceverif.experiment.config import ExperimentConfig
    from robustness.rejection.config import RejectionConfig

    return {
        "train": RunConfig,
        "classify": ClassificationConfig,
        "experiment": ExperimentConfig,
        "reject": RejectionConfig,
    }


def refuse_other_command(path: Path, model: type[Section]) -> None:
    """Stop where a config is one of another command, recognised by its keys.

    Args:
        path: of the config.
        model: what it should be.

    Raises:
        InputError: it has keys of another command's config alone; or it cannot be read.
    """
    from data_prep.errors import InputError
    from faceverif.config.reading import read_yaml

    keys = set(read_yaml(path))
    if keys <= set(model.model_fields):
        return
    models = config_models()
    own = next(command for command, each in models.items() if each is model)
    other = next((command for command, each in models.items() if keys <= set(each.model_fields)), None)
    if other is not None:
        raise InputError(
            "config",
            f"must be a config for `faceverif {own}`",
            got=f"{path}, which is one for `faceverif {other}`",
            fix=f"Give it to that command: faceverif {other} {path} --{_RESULTS[other]}",
        )


def all_parts() -> dict[str, Part]:
    """Every section of every config, by its command and key path: `train.head.cosface`."""
    from faceverif.config.reference import parts_of

    return {
        f"{command}.{part.path}".rstrip("."): part
        for command, model in config_models().items()
        for part in parts_of(model)
    }


def part_text(path: str, part: Part) -> str:
    """A section, or a choice between sections, as the command prints it."""
    lines = [f"{path}: {part.meaning}", ""]
    for name, meaning in part.choices:
        lines.append(f"{name:24}{meaning}")
    for key in part.keys:
        default = f"default {key.default}" if key.default else "required"
        lines += [f"{key.name:24}{key.kind}; {default}", f"    {key.meaning}", ""]
    if part.choices:
        lines += ["", f"Choose by `name`. The keys of one: faceverif config keys {path}.{part.choices[0][0]}"]
    return "\n".join(lines).rstrip()


def _found(section: str, parts: dict[str, Part]) -> tuple[str, Part]:
    """The section of that path, which may leave the command out where all commands mean the same.

    Raises:
        InputError: there is none, or several that differ.
    """
    import difflib

    from data_prep.errors import InputError

    if section in parts:
        return section, parts[section]
    ends = {path: part for path, part in parts.items() if path.partition(".")[2] == section}
    if not ends:
        known = {name for path in parts for name in (path, path.partition(".")[2]) if name}
        near = difflib.get_close_matches(section, sorted(known), n=1)
        fix = f"Did you mean {near[0]}?" if near else "`faceverif config keys` names them all."
        raise InputError("SECTION", "must be a section", got=section, fix=fix)
    if len({str(part.schema) for part in ends.values()}) > 1:
        fix = f"Use one of: {', '.join(ends)}."
        raise InputError("SECTION", "must name one section", got=section, fix=fix)
    return next(iter(ends.items()))
