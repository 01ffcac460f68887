"""The loop over epochs and steps, the same for faces and for images."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from data_prep.errors import InputError
from data_prep.progress import progress, say
from data_prep.system_errors import room_at
from faceverif.training.checkpoint import Standing, only_a_whole_checkpoint, standing_in
from faceverif.training.logs.step_figures import StepFigures
from faceverif.training.one_step import LearningSettings, OneStep
from faceverif.training.order import RemainingBatches, steps_per_epoch
from faceverif.training.processes import lost_processes_named, wait_for_all
from faceverif.training.run_folder import RunFolder
from faceverif.training.stop import StopRequest

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = TypeVar("Batch")


class _Log(Protocol):
    """Rows of figures, and the steps since the last row."""

    def continue_from(self, standing: Standing) -> None: ...
    def open(self, *, step: int) -> None: ...
    def count(self, figures: StepFigures, *, seconds: float) -> None: ...
    def state(self) -> dict[str, object]: ...


class EpochLoop(ABC, Generic[Batch]):
    """A run in progress: what learns, where it stands, and the folder that it writes to.

    Args:
        config: the run.
        run: its folder.
        fabric: device, precision and processes, launched.
        images: how many are trained on.

    Attributes:
        learner: what learns, with the step that changes it.
        log: rows of figures.
        folder: what the run writes about itself.
        step: steps made so far.
        last_step: steps of the whole run.
    """

    config: LearningSettings
    learner: OneStep[Batch]
    log: _Log
    folder: RunFolder

    def __init__(self, config: LearningSettings, run: Path, fabric: Fabric, *, images: int) -> None:
        self.config, self.run, self.fabric = config, run, fabric
        self.images = images
        self.steps_per_epoch = steps_per_epoch(images, config.training.batch_size)
        self.last_step = self.steps_per_epoch * config.training.epochs
        self.step, self._asked_to_stop = 0, False

    # --- what is of faces or of images

    @abstractmethod
    def headline(self) -> str:
        """What is trained on what, in a line."""

    @abstractmethod
    def warnings(self) -> list[str]:
        """What speaks against the settings or the data."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """This process's shares of the batches that are left."""

    @abstractmethod
    def after_epoch(self) -> None:
        """Measure what is due at the end of an epoch; a checkpoint follows."""

    @abstractmethod
    def finish(self) -> None:
        """Export the model with what was found about it."""

    def after_step(self, batch: Batch) -> None:
        """Log what is due after a step; its figures are counted in."""

    def beside_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside what learns and the log."""
        return {}

    def wants_checkpoint(self) -> bool:
        """Whether one is due after this step; the first process decides for all."""
        return False

    def advice_after_refusal(self, fix: str) -> str:
        """The advice where a step is refused; a run may keep the batch and say where it is.

        Args:
            fix: the advice so far.
        """
        return fix

    # --- the loop

    def continue_from(self, checkpoint: dict[str, Any]) -> None:
        """Stand where a checkpoint was made.

        Raises:
            InputError: it is damaged, of another version, or further than this run's epochs.
        """
        with only_a_whole_checkpoint(self.run):
            standing = standing_in(checkpoint)
            self._refuse_fewer_epochs(standing.step)
            self.learner.load_state(checkpoint)
            self.step = standing.step
            self.log.continue_from(standing)
            self.folder.continue_from(standing)

    def _refuse_fewer_epochs(self, steps: int) -> None:
        """The config in the folder would state a run that never made this model."""
        if steps > self.last_step:
            needed = -(-steps // self.steps_per_epoch)
            raise InputError(
                "training.epochs",
                f"must not be fewer than {self.run} has made",
                got=f"{self.config.training.epochs}, with {steps:,} steps made of {self.last_step:,}",
                fix=f"Set {needed} or more to continue it, or name another folder.",
            )

    def complete(self) -> None:
        """From the first step that is left to the finished run.

        Raises:
            InputError: the loss is no longer finite, or another process is lost.
            KeyboardInterrupt: somebody asked for the end; the checkpoint is saved.
        """
        with lost_processes_named(self.run):
            self.begin()
            with StopRequest() as stop:
                self.fit(stop)
            self.finish()

    def begin(self) -> None:
        """Open the folder, and say what is trained.

        Raises:
            InputError: the disk has no room for a checkpoint, which would fail after the first epoch.
        """
        if self.step < self.last_step:
            self._refuse_full_disk()
        wait_for_all()  # all have read the folder before the first writes to it
        if self.fabric.is_global_zero:
            self.folder.open()
            self.log.open(step=self.step)
            for line in (self.headline(), *self.warnings(), *self._nothing_left()):
                say(line)

    def _refuse_full_disk(self) -> None:
        """A checkpoint holds the weights at least; the one before it stays until it is written."""
        needed = sum(weights.nbytes for weights in self.learner.network.parameters())
        place, free = room_at(self.run)
        if free < needed:
            raise InputError(
                "--run",
                f"must have room for a checkpoint, {needed / 1e6:,.1f} MB or more",
                got=f"{free / 1e6:,.1f} MB free in {place}",
                fix="Free some space, or name a folder on another disk.",
            )

    def _nothing_left(self) -> list[str]:
        """What a run whose steps are all made does, and how it trains on; nothing for any other run."""
        if self.step < self.last_step:
            return []
        made = f"all {self.config.training.epochs} epochs of {self.run} were trained before"
        return [f"{made}: only its results are written again. To train longer, raise training.epochs."]

    def fit(self, stop: StopRequest) -> None:
        """Make the steps that are left; every epoch ends with its figures and a checkpoint.

        Raises:
            KeyboardInterrupt: a stop was asked for; the checkpoint is saved.
        """
        batches = self.batches()
        self.folder.begin_steps()
        while self.step < self.last_step:
            self._train_to_end_of_epoch(batches, stop)
            self.after_epoch()
            self._save()
            self._end_if_asked(stop)

    def order(self) -> RemainingBatches:
        """Which images make the batches that are left, for this process."""
        return RemainingBatches(
            self.images,
            batch_size=self.config.training.batch_size,
            steps=(self.step, self.last_step),
            seed=self.config.seed,
            share=(self.fabric.global_rank, self.fabric.world_size),
        )

    def _train_to_end_of_epoch(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        batch_size = self.config.training.batch_size
        left = self.steps_per_epoch - self.step % self.steps_per_epoch
        begun = time.monotonic()
        with self._steps_shown(images=left * batch_size) as advance:
            for batch in islice(batches, left):
                figures = self._compute_gradients(batch, stop=stop.made)
                self.learner.update(step=self.step)
                self.step += 1
                begun, before = time.monotonic(), begun
                self.log.count(figures, seconds=begun - before)
                self.after_step(batch)
                advance(batch_size, self.folder.note(figures, step=self.step, last_step=self.last_step))
                self._asked_to_stop = figures.stop
                if self.step % self.steps_per_epoch:  # else the epoch's end is worked off first, then saved
                    if figures.save:
                        self._save()
                    self._end_if_asked(stop)
        self.learner.end_epoch()

    def _steps_shown(self, *, images: int) -> AbstractContextManager[Callable[[int, str], None]]:
        """A progress bar over the images of an epoch, which takes how many more were seen and a note."""
        if self.fabric.is_global_zero:
            epoch = self.step // self.steps_per_epoch + 1
            return progress(f"epoch {epoch}/{self.config.training.epochs}", total=images)
        return nullcontext(lambda count, note: None)

    def _compute_gradients(self, batch: Batch, *, stop: bool) -> StepFigures:
        """Stop before the weights are spoilt. All processes see the same loss and gradient, so all stop."""
        try:
            save = self.fabric.is_global_zero and self.wants_checkpoint()
            figures = self.learner.compute_gradients(batch, step=self.step, stop=stop, save=save)
            figures.refuse_not_finite()
        except InputError as error:
            got, fix = f"{error.got} at step {self.step}", self.advice_after_refusal(error.fix)
            raise InputError(error.field, error.rule, got=got, fix=fix) from None
        return figures

    def _save(self) -> None:
        """Replace the checkpoint; all processes call it together."""
        state = self.learner.state()
        if self.fabric.is_global_zero:
            self.folder.save(state | self.beside_state(), step=self.step, **self.log.state())

    def _end_if_asked(self, stop: StopRequest) -> None:
        """Save and stop, all processes after the same step.

        Raises:
            KeyboardInterrupt: a stop was asked for; the checkpoint is saved.
        """
        if self._asked_to_stop or (stop.made and self.fabric.world_size == 1):
            self._save()
            if self.fabric.is_global_zero:
                say(f"stopped after step {self.step:,}; its checkpoint is saved")
            raise KeyboardInterrupt
