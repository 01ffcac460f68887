"""MLflow; without MLFLOW_TRACKING_URI it writes into the run's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported

from mlflow import MlflowClient

from faceverif.config.section import leaves
from faceverif.training.logs.loggers.base import PROJECT, remember, remembered


class MlflowLogger:
    """A run in the experiment MLFLOW_EXPERIMENT_NAME, or faceverif; without a server in RUN/mlflow.db."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.resolve() / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=address)
        known = remembered(run).get("mlflow")
        if known:
            self._client.update_run(known, status="RUNNING")
        self._id: str = known or self._begun(run, settings)

    def _begun(self, run: Path, settings: Mapping[str, Any]) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        begun = self._client.create_run(experiment, run_name=run.name).info.run_id
        for key, value in leaves(settings):
            self._client.log_param(begun, key, value)
        return remember(run, "mlflow", begun)

    def write(self, figures: Mapping[str, float], *, step: int) -> None:
        """See `Logger`."""
        for name, value in figures.items():
            self._client.log_metric(self._id, name, float(value), step=step)

    def close(self) -> None:
        """See `Logger`."""
        self._client.set_terminated(self._id)
