"""Parts of the project that need packages which a plain installation leaves out."""

from __future__ import annotations

from importlib.util import find_spec

from data_prep.errors import InputError


def require_extra(extra: str, *modules: str, field: str) -> None:
    """Stop where an extra's packages are not installed, before anything heavy is imported.

    Args:
        extra: its name in pyproject.toml.
        modules: what the caller imports of it.
        field: what the user asked for: a command or a key.

    Raises:
        InputError: with the command that installs them.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise InputError(
            field,
            f"needs the packages of the extra {extra}",
            got=f"no {' and no '.join(missing)}",
            fix=f"Install them: pip install 'faceverif[{extra}]', in a checkout pip install -e '.[{extra}]'.",
        )
