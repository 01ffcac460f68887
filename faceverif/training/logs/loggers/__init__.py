"""Where a run's figures are shown while it trains: TensorBoard, and a service if the config names one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from data_prep.errors import InputError, first_line
from faceverif.extras import require_extra
from faceverif.training.logs.loggers.base import Logger

# What `logger` may say, and the class behind it; the package to import has the same name.
LOGGERS = {
    "wandb": "faceverif.training.logs.loggers.weights_and_biases.WandbLogger",
    "mlflow": "faceverif.training.logs.loggers.mlflow_tracking.MlflowLogger",
    "trackio": "faceverif.training.logs.loggers.trackio_board.TrackioLogger",
}
_OFFLINE = {
    "wandb": "Run `wandb login`, or set WANDB_MODE=offline.",
    "mlflow": "See whether MLFLOW_TRACKING_URI is right, or unset it to log into the run's folder.",
    "trackio": "Unset TRACKIO_SPACE_ID to log on this machine.",
}


def open_logger(name: str, run: Path, settings: Mapping[str, Any]) -> Logger:
    """The service that a config names, ready to log; a run that continues continues there too.

    Args:
        name: of `LOGGERS`.
        run: the run's folder; its name is shown.
        settings: the config, JSON-able.

    Raises:
        InputError: its package is not installed, or it cannot log.
    """
    require_extra(name, name, field="logger")
    module, _, kind = LOGGERS[name].rpartition(".")
    try:
        logger: Logger = getattr(import_module(module), kind)(run, settings)
    except Exception as error:  # each service has its own errors, and all of them mean the same here
        raise InputError(
            "logger",
            f"{name} must be ready to log",
            got=first_line(error),
            fix=f"{_OFFLINE[name]} Or leave the logger out: --set logger=null",
        ) from error
    return logger
