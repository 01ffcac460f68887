"""TensorBoard, in RUN/tensorboard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class TensorBoardLogger:
    """An event file; what an earlier process wrote after a step is no longer shown.

    Args:
        run: the run's folder.
        step: steps made so far.
    """

    def __init__(self, run: Path, *, step: int) -> None:
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, figures: Mapping[str, float], *, step: int) -> None:
        """See `Logger`."""
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self) -> None:
        """See `Logger`."""
        self._board.close()
