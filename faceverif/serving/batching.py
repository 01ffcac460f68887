"""Crops of concurrent requests go through the model together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Order(Generic[Answer]):
    crops: NDArray[np.uint8]
    future: Future[list[Answer]]


class Batcher(Generic[Answer]):
    """One thread that runs a model on what has arrived while it ran the batch before.

    So a single request waits for nothing, and batches grow with the load.

    Args:
        compute: (n, crop_px, crop_px, 3) crops -> an answer for each.
        largest: crops of a batch. An order with more is a batch by itself.

    Attributes:
        asked: orders so far.
    """

    def __init__(
        self, compute: Callable[[NDArray[np.uint8]], Sequence[Answer]], *, largest: int = 64
    ) -> None:
        self._compute, self._largest = compute, largest
        self._orders: SimpleQueue[_Order[Answer] | None] = SimpleQueue()
        self._left_over: _Order[Answer] | None = None
        self.asked = 0
        self._lock, self._closed = Lock(), False
        self._thread = Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def submit(self, crops: NDArray[np.uint8]) -> Future[list[Answer]]:
        """Ask for the answers of (n, crop_px, crop_px, 3) crops, n >= 1, which stay together.

        Raises:
            RuntimeError: the batcher is closed.
        """
        future: Future[list[Answer]] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self.asked += 1
            self._orders.put(_Order(crops, future))
        return future

    def close(self) -> None:
        """Answer what was asked for, then end the thread."""
        with self._lock:
            self._closed = True
            self._orders.put(None)
        self._thread.join()

    def _work(self) -> None:
        while orders := self._next_batch():
            self._answer(orders)

    def _next_batch(self) -> list[_Order[Answer]]:
        """What waits, at least one order; empty when the batcher is closed."""
        first = self._left_over or self._orders.get()
        self._left_over = None
        if first is None:
            return []
        batch, size = [first], len(first.crops)
        while True:
            try:
                order = self._orders.get_nowait()
            except Empty:
                return batch
            if order is None:  # closed: the next round sees it again, and ends
                self._orders.put(None)
                return batch
            size += len(order.crops)
            if size > self._largest:
                self._left_over = order
                return batch
            batch.append(order)

    def _answer(self, orders: list[_Order[Answer]]) -> None:
        try:
            answers = iter(self._compute(np.concatenate([order.crops for order in orders])))
        except Exception as error:
            if len(orders) == 1:
                orders[0].future.set_exception(error)
                return
            for order in orders:  # one by one: a crop that fails fails alone
                self._answer([order])
            return
        for order in orders:
            order.future.set_result([next(answers) for _ in order.crops])
