"""The command tree that every group of commands adds itself to."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="faceverif",
    help="Train face embeddings, verify them by the field's protocols, trace every number.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(help="Check, fetch, audit and export data.", no_args_is_help=True)
app.add_typer(data_app, name="data")
