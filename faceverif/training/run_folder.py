"""The folder of a run: held while it is trained, and filled so that a killed run can continue."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.atomic import UNFINISHED, make_folder, write_text
from data_prep.json_object import write_json
from data_prep.lock import filled
from data_prep.progress import duration
from faceverif.config.reading import config_text
from faceverif.config.section import Section
from faceverif.file_names import CONFIG_NAME, PROVENANCE_NAME
from faceverif.provenance import describe_end
from faceverif.report.numbers import percent
from faceverif.torchrun import is_first_process
from faceverif.training.checkpoint import Standing, checkpoint_path, save_checkpoint
from faceverif.training.fabric import refuse_other_launchers
from faceverif.training.logs.step_figures import StepFigures


@contextmanager
def held(run: Path, *, command: str) -> Iterator[None]:
    """Hold a run's folder while it is trained; of several processes of one training the first holds it.

    Args:
        run: the folder.
        command: who trains, for the message, such as `faceverif train`.

    Raises:
        InputError: it cannot be made, another training holds it, or this process is one of several that do
            not know of each other.
    """
    refuse_other_launchers()
    if not is_first_process():
        yield
        return
    with filled(run, command=command, option="--run"):
        yield


class RunFolder:
    """What a run writes about itself: config.yaml, provenance.json and its checkpoint; and its clock.

    Args:
        path: the folder.
        config: the run.
        provenance: what is known at its start; see `describe_start`.
        data_sha256: of what is trained on.
    """

    def __init__(self, path: Path, config: Section, provenance: dict[str, Any], *, data_sha256: str) -> None:
        self.path, self.provenance = path, provenance
        self._settings = config.model_dump(mode="json")
        self._data_sha256 = data_sha256
        self._yaml = config_text(config)
        self.provenance["config_sha256"] = hashlib.sha256(self._yaml.encode()).hexdigest()
        self._begun = self._steps_begun = self._saved = time.monotonic()
        self._seconds_before = 0.0
        self._first_step = 0

    @property
    def seconds(self) -> float:
        """Training time so far, over all sittings."""
        return self._seconds_before + time.monotonic() - self._begun

    @property
    def minutes_unsaved(self) -> float:
        """Time since the last checkpoint of this sitting, or since its first step."""
        return (time.monotonic() - self._saved) / 60

    def begin_steps(self) -> None:
        """Say that the first step of this sitting follows: hours of storing are no part of its pace."""
        self._steps_begun = self._saved = time.monotonic()

    def continue_from(self, standing: Standing) -> None:
        """Take over clock and start from a checkpoint."""
        self._seconds_before, self._first_step = standing.seconds, standing.step
        self.provenance["started"] = standing.started
        if standing.start_from is not None:
            self.provenance["start_from"] = standing.start_from

    def open(self) -> None:
        """Make the folders, clear away what a killed process had begun to write, and say what is trained.

        Raises:
            InputError: they cannot be made.
        """
        checkpoints = checkpoint_path(self.path).parent
        make_folder(checkpoints, option="--run")
        for unfinished in checkpoints.glob(f"{UNFINISHED}*"):
            unfinished.unlink()
        write_text(self.path / CONFIG_NAME, self._yaml)
        self._write_provenance()

    def save(self, state: dict[str, Any], **standing: Any) -> None:
        """Replace the checkpoint.

        Args:
            state: of what learns.
            standing: how far the run has come; see `Standing`.
        """
        self._saved = time.monotonic()
        about = {key: self.provenance[key] for key in ("started", "start_from") if key in self.provenance}
        content = about | standing | {"seconds": self.seconds, "config": self._settings}
        save_checkpoint(self.path, state | content | {"data_sha256": self._data_sha256})

    def close(self, *, steps: int) -> None:
        """Write down what the whole run took."""
        self.provenance |= describe_end(steps=steps, seconds=self.seconds)
        self._write_provenance()

    def note(self, figures: StepFigures, *, step: int, last_step: int) -> str:
        """What stands behind the progress bar after a step: its figures, and the time left."""
        step_s = (time.monotonic() - self._steps_begun) / max(1, step - self._first_step)
        left = duration(step_s * (last_step - step))
        return f"loss {figures.loss:.3f}, accuracy {percent(figures.accuracy, 1)} %, {left} to the end"

    def _write_provenance(self) -> None:
        write_json(self.path / PROVENANCE_NAME, self.provenance)
