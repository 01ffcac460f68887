"""The site's page of commands: each with its arguments and options, from the command tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from faceverif.cli.app import GROUPS, TREE, Command, command_line
from faceverif.cli.continuing import always

_OPENING = "# Commands\n\nGenerated from the code. `faceverif COMMAND --help` prints the same.\n"
_KINDS = {Path: "path", str: "text", float: "number", int: "whole number", bool: "yes or no"}
_HIDDEN = ("--help", "--install-completion", "--show-completion")


def command_page() -> str:
    """The page as Markdown."""
    root = command_line()
    blocks = [_OPENING, *_blocks(root, "", TREE)]
    for name, (commands, panel, _) in GROUPS.items():
        blocks += _blocks(root.commands[name], f"{name} ", {panel: commands})
    return "\n".join(blocks)


def _blocks(group: Any, prefix: str, tree: dict[str, tuple[Command, ...]]) -> Iterator[str]:
    for panel, commands in tree.items():
        yield f"## {panel}\n"
        for command in commands:
            yield _block(
                prefix + command.name, group.commands[command.name], continues=command.continues is always
            )


def _block(words: str, command: Any, *, continues: bool) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and _name(each)]
    usage = " ".join(["faceverif", words, *map(_usage, arguments), *(["[OPTIONS]"] if options else [])])
    again = ["An interrupted command continues when it is given again.\n"] if continues else []
    rows = [
        f"| {_name(each)} | {_kind(each)} | {_default(each)} | {_help(each)} |"
        for each in (*arguments, *options)
    ]
    table = ["| | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""] if rows else []
    return "\n".join([f"### {words}\n", f"    {usage}\n", _plain(command.help or "") + "\n", *again, *table])


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_usage(parameter)}`"
    names = [*parameter.opts, *parameter.secondary_opts]
    return "" if names[0] in _HIDDEN else ", ".join(f"`{name}`" for name in names)


def _usage(argument: Any) -> str:
    name = argument.name.upper()
    return name if argument.required else f"[{name}]"


def _kind(parameter: Any) -> str:
    """The type in words, with its bounds."""
    if parameter.param_type_name == "option" and parameter.is_flag:
        return ""
    bare = parameter.type_descriptor.annotation
    while get_origin(bare) not in (None, Literal):
        bare = next(each for each in get_args(bare) if each is not NoneType)
    if get_origin(bare) is Literal or issubclass(bare, Enum):
        choices = get_args(bare) or [each.value for each in bare]
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds = [
        f"{sign} {end:g}" for sign, end in ((">=", parameter.min), ("<=", parameter.max)) if end is not None
    ]
    more = ["..."] if parameter.multiple or parameter.nargs == -1 else []
    return " ".join([_KINDS[bare], *bounds, *more])


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = getattr(parameter.default, "value", parameter.default)
    return "" if value in (None, False, (), []) else f"`{'yes' if value is True else value}`"


def _help(parameter: Any) -> str:
    return _plain(parameter.help or "").replace("|", "\\|")


def _plain(text: str) -> str:
    """Help text in one paragraph per paragraph."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip().replace("\b", ""))
