"""Ctrl-C and SIGTERM during training: noticed at once, obeyed between two steps."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from data_prep.progress import say
from faceverif.torchrun import is_first_process

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# `timeout` signals the process that it started and then the group, in which that process is once more.
_SAME_REQUEST_S = 1.0


class StopRequest:
    """A context in which the first Ctrl-C or SIGTERM sets a flag; a later one interrupts at once.

    Weights that are half updated cannot be saved, so the training asks for the flag after each step. Outside
    the main thread, which alone receives signals, nothing changes.

    Attributes:
        made: whether somebody asked for the end.
    """

    def __init__(self) -> None:
        self.made = False
        self._made_at = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.made:
            if now - self._made_at < _SAME_REQUEST_S:
                return
            raise KeyboardInterrupt
        self.made, self._made_at = True, now
        if is_first_process():  # all processes of a torchrun get the signal
            say("stopping after this step; a second Ctrl-C stops at once, without a checkpoint")
