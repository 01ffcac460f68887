"""The norms in which a change is measured; apart from the tensors, so that configs load without torch."""

from __future__ import annotations

from typing import Literal

Norm = Literal["linf", "l2"]
