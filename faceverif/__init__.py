"""Train face embeddings, verify them by the field's protocols, and trace every number.

In Python: `faceverif.load(path)` gives a `Recogniser`, `faceverif.align(photo)` a crop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faceverif.recogniser import Recogniser, align, load

__all__ = ["Recogniser", "align", "load"]


def __getattr__(name: str) -> Any:
    """Import the interface when it is first used: the command line starts without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from faceverif import recogniser

    return getattr(recogniser, name)
