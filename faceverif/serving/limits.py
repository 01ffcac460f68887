"""What one client may ask of the service: how much, how fast and how often."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

MINUTE_S = 60.0
_CLIENTS = 10_000  # remembered at a time; the one that was silent longest is forgotten first


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a service.

    Attributes:
        body_mb: largest body of a request, in 1e6 bytes.
        requests_per_minute: of one address; 0: any number.
        waiting: requests that are worked on or wait; more are refused.
        upload_s: seconds in which a body must have arrived.
    """

    body_mb: int = 20
    requests_per_minute: int = 600
    waiting: int = 64
    upload_s: float = 60.0

    @property
    def body_bytes(self) -> int:
        """The largest body in bytes."""
        return self.body_mb * 1_000_000


class RateLimit:
    """A token bucket per client: it holds a minute's requests and refills evenly.

    Args:
        per_minute: requests; 0: any number.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def wait_s(self, client: str, *, now_s: float | None = None) -> float:
        """Count a request; 0 if it is allowed, otherwise the seconds until the next one is.

        Args:
            client: its address.
            now_s: the time of the request, in seconds; None: now.
        """
        if not self._per_minute:
            return 0.0
        now = time.monotonic() if now_s is None else now_s
        tokens, since = self._buckets.pop(client, (float(self._per_minute), now))
        refill_per_s = self._per_minute / MINUTE_S
        tokens = min(self._per_minute, tokens + (now - since) * refill_per_s)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - allowed, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / refill_per_s
