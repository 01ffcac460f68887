"""What the server remembers of each open page, in memory only, and how it forgets."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock

from faceverif.app.fooling import Fooled
from faceverif.app.photos import TakenPhoto
from faceverif.app.searching import Found, Gallery

FIRST, SECOND = "first", "second"

_IDLE_S = 3600.0  # a page that said nothing for so long is gone, even if its end was not noticed


@dataclass
class Session:
    """One open page.

    Attributes:
        photos: by their place, `FIRST` or `SECOND`.
        fooled: the last attack.
        gallery: the people who are searched.
        found: the last search.
    """

    photos: dict[str, TakenPhoto] = field(default_factory=dict)
    fooled: Fooled | None = None
    gallery: Gallery | None = None
    found: Found | None = None


class Sessions:
    """The open pages; visitors do not see each other's photos."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[float, Session]] = {}
        self._lock = Lock()

    def of(self, page: str) -> Session:
        """The session of a page, new where there is none yet."""
        now = time.monotonic()
        with self._lock:
            self._open = {key: kept for key, kept in self._open.items() if now - kept[0] < _IDLE_S}
            _, session = self._open.get(page, (now, Session()))
            self._open[page] = (now, session)
        return session

    def forget(self, page: str) -> None:
        """Drop all that a page gave; for when it was closed."""
        with self._lock:
            self._open.pop(page, None)

    def __len__(self) -> int:
        return len(self._open)
