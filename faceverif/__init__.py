"""Train face embeddings, verify them by the field's protocols, and trace every number.

In Python: `faceverif.load(path)` gives a `Recogniser`, `faceverif.align(photo)` a crop, and
`faceverif.attack(...)` a crop that deceives a model; `faceverif.attack_photo(...)` does so with a photo. What
they cannot take raises a `faceverif.InputError`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.errors import InputError
    from faceverif.recogniser import Recogniser, align, load
    from robustness.photo_attack import AttackedPhoto, attack
    from robustness.whole_photo import AttackedWholePhoto, attack_photo

    __version__: str

__all__ = [
    "AttackedPhoto",
    "AttackedWholePhoto",
    "InputError",
    "Recogniser",
    "__version__",
    "align",
    "attack",
    "attack_photo",
    "load",
]

_LATE = {
    "AttackedPhoto": "robustness.photo_attack",
    "AttackedWholePhoto": "robustness.whole_photo",
    "InputError": "data_prep.errors",
    "Recogniser": "faceverif.recogniser",
    "align": "faceverif.recogniser",
    "attack": "robustness.photo_attack",
    "attack_photo": "robustness.whole_photo",
    "load": "faceverif.recogniser",
}


def __getattr__(name: str) -> Any:
    """Import the interface when it is first used: the command line starts without torch."""
    if name == "__version__":
        return version("faceverif")
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _LATE[name].startswith("robustness."):
        from faceverif.own_packages import refuse_foreign_robustness

        refuse_foreign_robustness()
    return getattr(import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    """The interface, for completion and `help`."""
    return sorted({*globals(), *__all__})
