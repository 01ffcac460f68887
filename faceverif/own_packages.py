"""The package `robustness` must be ours: a package of that name by others can be installed too."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from data_prep.errors import InputError


def refuse_foreign_robustness() -> None:
    """Stop where `import robustness` gives another package, such as MadryLab's, or none.

    Raises:
        InputError: with the place of the other one.
    """
    if "robustness" in sys.modules:
        found = getattr(sys.modules["robustness"], "__file__", None)
    else:
        spec = find_spec("robustness")
        found = None if spec is None else spec.origin
    if found is None or Path(found).resolve().parent != Path(__file__).resolve().parents[1] / "robustness":
        raise InputError(
            "robustness",
            "must be the package that comes with faceverif; one by others has the same name",
            got=found or "no such package",
            fix="Uninstall the other one (pip uninstall robustness), then install faceverif again.",
        )
