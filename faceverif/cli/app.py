"""The command tree: which commands there are, in the order and groups that --help shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, NamedTuple

import typer

from faceverif.cli.browser import app as serve_app
from faceverif.cli.certification import certify
from faceverif.cli.comparison import compare
from faceverif.cli.configs import config_keys, config_list, config_show
from faceverif.cli.continuing import Continues, always, by_ijb_lists, never, on_a_cluster
from faceverif.cli.hub import hub_pull, hub_push
from faceverif.cli.identification import identify, rank
from faceverif.cli.lists import data_gallery, data_pairs
from faceverif.cli.models import export_model_file, fit_head, import_model_file
from faceverif.cli.preparation import align, data_audit, data_check, data_export, data_fetch
from faceverif.cli.rejection import attack, calibrate_rejection, reject
from faceverif.cli.serving import serve
from faceverif.cli.synthetic import demo, fit_faces, synthesise
from faceverif.cli.training import classify, experiment, report, train
from faceverif.cli.verification import calibrate, embed, verify
from faceverif.cli.version import show_version


class Command(NamedTuple):
    """A command of the tree.

    Attributes:
        run: the function behind it; its docstring is the help text.
        name: as the user types it.
        continues: by its arguments, whether an interrupted command continues when it is given again; else it
            starts again.
    """

    run: Callable[..., None]
    name: str
    continues: Continues = never


TREE: dict[str, tuple[Command, ...]] = {
    "Everyday tasks": (
        Command(align, "align", continues=always),
        Command(train, "train", continues=always),
        Command(verify, "verify", continues=by_ijb_lists),
        Command(rank, "rank", continues=by_ijb_lists),
        Command(compare, "compare"),
        Command(identify, "identify"),
        Command(attack, "attack"),
        Command(reject, "reject", continues=always),
        Command(serve_app, "app"),
    ),
    "Models": (
        Command(import_model_file, "import"),
        Command(export_model_file, "export"),
        Command(fit_head, "fit-head"),
        Command(embed, "embed", continues=on_a_cluster),
        Command(calibrate, "calibrate"),
        Command(report, "report"),
        Command(calibrate_rejection, "calibrate-rejection"),
        Command(certify, "certify", continues=always),
        Command(serve, "serve"),
    ),
    "Tables of papers": (
        Command(experiment, "experiment", continues=always),
        Command(classify, "classify", continues=always),
    ),
    "Without photos": (
        Command(demo, "demo", continues=always),
        Command(synthesise, "synthesise"),
        Command(fit_faces, "fit-faces"),
    ),
}
DATA_TREE: tuple[Command, ...] = (
    Command(data_check, "check"),
    Command(data_fetch, "fetch", continues=always),
    Command(data_audit, "audit", continues=always),
    Command(data_pairs, "pairs"),
    Command(data_gallery, "gallery"),
    Command(data_export, "export"),
)
CONFIG_TREE: tuple[Command, ...] = (
    Command(config_list, "list"),
    Command(config_show, "show"),
    Command(config_keys, "keys"),
)
HUB_TREE: tuple[Command, ...] = (
    Command(hub_push, "push"),
    Command(hub_pull, "pull"),
)
GROUPS = {
    "data": (DATA_TREE, "Data sets", "Check, fetch, audit and export data. Make lists of your own photos."),
    "hub": (HUB_TREE, "Hugging Face hub", "Push models to the Hugging Face hub, and pull them."),
    "config": (CONFIG_TREE, "Configs", "List and show configs, and explain their keys."),
}


def main_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train face embeddings, verify them by the field's protocols, and test them under attack."""


def build_app() -> typer.Typer:
    """The command line as typer runs it."""
    app = typer.Typer(name="faceverif", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(main_options)
    for panel, commands in TREE.items():
        for command in commands:
            app.command(command.name, rich_help_panel=panel)(command.run)
    for name, (commands, panel, about) in GROUPS.items():
        group = typer.Typer(no_args_is_help=True)
        for command in commands:
            group.command(command.name)(command.run)
        app.add_typer(group, name=name, help=about, rich_help_panel=panel)
    return app


@cache
def command_line() -> Any:
    """The command line as click's group of commands. Typer reads every option for it: once per process."""
    return typer.main.get_command(build_app())


def all_commands() -> dict[str, Command]:
    """Every command by its words, as in `data check`."""
    found = {command.name: command for panel in TREE.values() for command in panel}
    for name, (commands, *_) in GROUPS.items():
        found |= {f"{name} {command.name}": command for command in commands}
    return found


def continues(arguments: list[str]) -> bool:
    """Whether the command that these arguments call continues when it is given again."""
    words = [*(word for word in arguments if not word.startswith("-")), "", ""]
    command = all_commands().get(" ".join(words[:2]) if words[0] in GROUPS else words[0])
    return command is not None and command.continues(arguments)
