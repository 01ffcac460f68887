"""What `faceverif --version` says."""

from __future__ import annotations

import typer


def show_version(wanted: bool) -> None:
    """Print the versions of this package and of torch, without importing it, and the commit of a checkout."""
    if not wanted:
        return
    from importlib.metadata import version

    from faceverif.provenance import git_commit

    commit = git_commit()
    code = f"commit {commit}" if commit else "not a git checkout"
    typer.echo(f"faceverif {version('faceverif')} ({code}), torch {version('torch')}")
    raise typer.Exit
