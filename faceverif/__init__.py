"""Train face embeddings, verify them by the field's protocols, and trace every number.

In Python: `faceverif.load(path)` gives a `Recogniser`, `faceverif.align(photo)` a crop, and
`faceverif.attack(...)` a crop that deceives a model; `faceverif.attack_photo(...)` does so with a photo.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faceverif.recogniser import Recogniser, align, load
    from robustness.photo_attack import AttackedPhoto, attack
    from robustness.whole_photo import AttackedWholePhoto, attack_photo

__all__ = [
    "AttackedPhoto",
    "AttackedWholePhoto",
    "Recogniser",
    "align",
    "attack",
    "attack_photo",
    "load",
]

_ATTACKS = {
    "AttackedPhoto": "robustness.photo_attack",
    "AttackedWholePhoto": "robustness.whole_photo",
    "attack": "robustness.photo_attack",
    "attack_photo": "robustness.whole_photo",
}


def __getattr__(name: str) -> Any:
    """Import the interface when it is first used: the command line starts without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ATTACKS:
        from faceverif.own_packages import refuse_foreign_robustness

        refuse_foreign_robustness()
        return getattr(import_module(_ATTACKS[name]), name)
    return getattr(import_module("faceverif.recogniser"), name)
