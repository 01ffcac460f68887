"""Training of a classifier, from a config to a run folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from data_prep.atomic import write_text, written_whole
from data_prep.errors import InputError
from data_prep.host_memory import keep_freed_memory
from data_prep.progress import progress, say
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.data import load_image_sets, warning_of_absence
from faceverif.classification.evaluation import (
    errors_by_class,
    measure_predictions,
    measure_ten_crops,
    predict,
)
from faceverif.classification.learner import ClassifierLearner, ImageBatch
from faceverif.classification.metrics import error
from faceverif.classification.provenance import data_sha256, describe_images
from faceverif.classification.trained import save_classifier
from faceverif.images.labelled import ImageFiles, Images, spread_evenly
from faceverif.provenance import describe_start
from faceverif.training.adversarial import Robustness
from faceverif.training.checkpoint import load_checkpoint, only_a_whole_checkpoint, standing_in
from faceverif.training.fabric import launch_fabric
from faceverif.training.interval import Interval
from faceverif.training.lengths import warnings_of_lengths
from faceverif.training.opposite import OppositeEmbeddings
from faceverif.training.order import RemainingBatches, steps_per_epoch
from faceverif.training.run_folder import RunFolder, held
from faceverif.training.step_figures import StepFigures
from faceverif.training.stop import StopRequest
from faceverif.training.together import lost_processes_named, refuse_differences

if TYPE_CHECKING:
    from lightning_fabric import Fabric

METRICS_NAME = "metrics.csv"
RESULT_NAME = "result.json"
_COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "all_negative",
    "evaluation_error",
    "learning_rate",
    "images_per_s",
)
# Evaluation images that adversarial training is attacked on after every epoch.
ATTACKED_IMAGES = 500


def train_classifier(config: ClassificationConfig, run: Path, *, resume: bool = False) -> None:
    """Train, evaluate on the way and at the end, and leave a run folder behind.

    Started by torchrun it is one of several processes; only the first one evaluates and writes. A run that
    was killed continues from its last checkpoint, and ends as if it had not been killed: bit for bit on a
    CPU. Ctrl-C and SIGTERM make a checkpoint first.

    Args:
        config: the run.
        run: its folder; a run with the same settings that lies there continues.
        resume: refuse a folder without a checkpoint.

    Raises:
        InputError: data, folder or settings break a rule, or the loss is no longer finite.
        KeyboardInterrupt: somebody asked for the end; the checkpoint is saved.
    """
    with held(run, command="faceverif classify"):
        training = prepare(config, run, resume=resume)
        with lost_processes_named(run):
            training.begin()
            with StopRequest() as stop:
                training.fit(stop)
            training.finish()


def prepare(config: ClassificationConfig, run: Path, *, resume: bool = False) -> ClassifierRun:
    """A run whose data and settings are read and checked, at its first step or where its checkpoint was made.

    Nothing is written yet.

    Args:
        config: the run.
        run: its folder.
        resume: refuse a folder without a checkpoint.

    Raises:
        InputError: data, folder or settings break a rule.
    """
    sets = load_image_sets(config.data, config.seed)
    sha256 = data_sha256(*sets)
    checkpoint = load_checkpoint(run, config, data_sha256=sha256, required=resume)
    keep_freed_memory()
    fabric = launch_fabric(config)
    refuse_differences(config, data_sha256=sha256, checkpoint=checkpoint)
    training = ClassifierRun(config, run, fabric, *sets, sha256=sha256)
    if checkpoint is not None:
        with only_a_whole_checkpoint(run):
            training.continue_from(checkpoint)
    return training


class ClassifierRun:
    """A run in progress: the learner, where it stands, and the folder that it writes to.

    Args:
        config: the run.
        run: its folder.
        fabric: device, precision and processes, launched.
        train: what is trained on.
        evaluation: what is evaluated.
        sha256: of both.
    """

    def __init__(
        self,
        config: ClassificationConfig,
        run: Path,
        fabric: Fabric,
        train: Images,
        evaluation: Images,
        *,
        sha256: str,
    ) -> None:
        self.config, self.run, self.fabric = config, run, fabric
        self.train, self.evaluation = train.to(fabric.device), evaluation
        self.steps_per_epoch = steps_per_epoch(len(train), config.training.batch_size)
        self.last_step = self.steps_per_epoch * config.training.epochs
        self.learner = ClassifierLearner(
            config,
            fabric,
            shape=train.shape,
            classes=len(train.class_names),
            steps_per_epoch=self.steps_per_epoch,
        )
        self.step, self._asked_to_stop = 0, False
        self.interval = Interval()
        self.opposite = OppositeEmbeddings(config, normed=config.network.normed_embedding)
        self.history: list[dict[str, float]] = []
        described = describe_images(config.data, train, evaluation, sha256=sha256)
        provenance = describe_start(
            described, seed=config.seed, device=str(fabric.device), processes=fabric.world_size
        )
        self.folder = RunFolder(run, config, provenance, data_sha256=sha256)

    def continue_from(self, checkpoint: dict[str, Any]) -> None:
        """Stand where a checkpoint was made; call it within `only_a_whole_checkpoint`."""
        standing = standing_in(checkpoint)
        self.learner.load_state(checkpoint)
        self.step, self.interval = standing.step, Interval.of(standing.interval)
        self.history = list(standing.history)
        self.folder.continue_from(standing)

    def begin(self) -> None:
        """Open the folder."""
        self.fabric.barrier()  # all have read the folder before the first writes to it
        if self.fabric.is_global_zero:
            self.folder.open()
            self._write_history()
            say(self.headline())
            self.opposite.warn()
            for warning in warnings_of_lengths(self.config):
                say(warning)
            if absence := warning_of_absence(self.train):
                say(f"warning: {absence}")

    def fit(self, stop: StopRequest) -> None:
        """Make the steps that are left; each epoch ends with its row of figures and a checkpoint.

        Raises:
            KeyboardInterrupt: a stop was asked for; the checkpoint is saved.
        """
        batches = self.batches()
        while self.step < self.last_step:
            self._train_to_end_of_epoch(batches, stop)
            if self.fabric.is_global_zero:
                self.history.append(self._row() | self._evaluation_error() | self._robustness())
            self.interval = Interval()
            self._save()
            if self.fabric.is_global_zero:
                self._write_history()
            self.fabric.barrier()
            self._end_if_asked(stop)

    def finish(self) -> None:
        """Measure everything, and export the model with what was found about it."""
        if self.fabric.is_global_zero:
            self._export()
        self.fabric.barrier()

    def _export(self) -> None:
        model, config = self.learner.network, self.config
        predictions = predict(model.network, model.objective.head, self.evaluation)
        figures = measure_predictions(predictions, model.objective.head, seed=config.seed)
        if config.training.test_crops > 1 and isinstance(self.evaluation, ImageFiles):
            figures |= measure_ten_crops(model.network, model.objective.head, self.evaluation)
        self.folder.close(steps=self.step)
        save_classifier(self.run, model, config=config, class_names=self.train.class_names)
        result = {
            "metrics": figures,
            "classes": errors_by_class(predictions, self.train.class_names),
            "evaluated_on": "held_out" if config.data.held_out else config.data.evaluate_on,
            "images": len(self.evaluation),
            "hours": self.folder.provenance["hours"],
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
        write_text(self.run / RESULT_NAME, json.dumps(result, indent=2) + "\n")
        say(f"error {figures['error']:.2%} on {len(self.evaluation):,} images: {self.run / RESULT_NAME}")

    def batches(self) -> Iterator[ImageBatch]:
        """This process's shares of the batches that are left, on its device."""
        order = RemainingBatches(
            len(self.train),
            batch_size=self.config.training.batch_size,
            steps=(self.step, self.last_step),
            seed=self.config.seed,
            share=(self.fabric.global_rank, self.fabric.world_size),
        )
        for which in order:
            index = torch.tensor(which, device=self.fabric.device)
            yield ImageBatch(self.train.read(index), self.train.labels[index])

    def _train_to_end_of_epoch(self, batches: Iterator[ImageBatch], stop: StopRequest) -> None:
        epoch, done = divmod(self.step, self.steps_per_epoch)
        batch_size, left = self.config.training.batch_size, self.steps_per_epoch - done
        title = f"epoch {epoch + 1}/{self.config.training.epochs}"
        with self._progress(title, batch_size * left) as advance:
            for batch in islice(batches, left):
                figures = self._compute_gradients(batch, stop=stop.made)
                self.learner.update(step=self.step)
                self.step += 1
                self.interval.add(figures)
                self._asked_to_stop = figures.stop
                advance(batch_size, self.folder.note(figures, step=self.step, last_step=self.last_step))
                if self.step % self.steps_per_epoch:  # else the epoch's end is worked off first, then saved
                    self._end_if_asked(stop)
        self.learner.end_epoch()

    def _progress(self, title: str, images: int) -> AbstractContextManager[Callable[[int, str], None]]:
        if self.fabric.is_global_zero:
            return progress(title, total=images)
        return nullcontext(lambda count, note: None)

    def _compute_gradients(self, batch: ImageBatch, *, stop: bool) -> StepFigures:
        """Stop before the weights are spoilt."""
        try:
            figures = self.learner.compute_gradients(batch, step=self.step, stop=stop)
            figures.refuse_not_finite()
        except InputError as error:
            got = f"{error.got} at step {self.step}"
            raise InputError(error.field, error.rule, got=got, fix=error.fix) from None
        return figures

    def _row(self) -> dict[str, float]:
        """Means of what the epoch's steps measured."""
        means = self.opposite.logged(self.interval.means())
        return {
            "epoch": self.step // self.steps_per_epoch,
            **{name: means[name] for name in _COLUMNS if name in means},
            "learning_rate": self.learner.learning_rate(self.step - 1),
            "images_per_s": round(self.interval.steps_per_s * self.config.training.batch_size, 2),
        }

    def evaluates_after(self, epoch: int) -> bool:
        """Whether the error is measured after that epoch, counted from 1."""
        training = self.config.training
        return epoch % training.evaluate_every_epochs == 0 or epoch == training.epochs

    def _evaluation_error(self) -> dict[str, float]:
        """The error after this epoch, where it is due."""
        epoch = self.step // self.steps_per_epoch
        if not self.evaluates_after(epoch):
            return {}
        model = self.learner.network
        predictions = predict(model.network, model.objective.head, self.evaluation)
        found = error(predictions.logits, predictions.labels)
        say(f"epoch {epoch}: error {found:.2%}")
        return {"evaluation_error": found}

    def _robustness(self) -> dict[str, float]:
        """Accuracy on evenly chosen evaluation images, clean and attacked; nothing without an attack."""
        if self.config.training.adversarial is None:
            return {}
        chosen, device = spread_evenly(self.evaluation, most=ATTACKED_IMAGES), self.fabric.device
        pictures, labels = chosen.read(torch.arange(len(chosen))).to(device), chosen.labels.to(device)
        return self.learner.robustness(pictures, labels, step=self.step)._asdict()

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            standing = {"step": self.step, "interval": self.interval.state(), "history": tuple(self.history)}
            self.folder.save(self.learner.state(), **standing)

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

    def _write_history(self) -> None:
        """All rows again: those of an epoch that an interrupted run had begun are dropped."""
        with written_whole(self.run / METRICS_NAME) as unfinished, unfinished.open("w", newline="") as file:
            attacked = Robustness._fields if self.config.training.adversarial else ()
            writer = csv.DictWriter(file, (*_COLUMNS, *attacked))
            writer.writeheader()
            writer.writerows(self.history)

    def headline(self) -> str:
        """What is trained on what, in a line."""
        config, training = self.config, self.config.training
        millions = sum(parameter.numel() for parameter in self.learner.network.network.parameters()) / 1e6
        begins = f"from step {self.step:,}" if self.step else "from the start"
        processes = f"{self.fabric.world_size} processes on " if self.fabric.world_size > 1 else ""
        return (
            f"{config.network.name} ({millions:.2f} million parameters), {config.head.name}: "
            f"{len(self.train):,} images of {len(self.train.class_names):,} classes, "
            f"{training.epochs} epochs of {self.steps_per_epoch} steps of {training.batch_size}, {begins}; "
            f"{processes}{self.fabric.device}, {training.precision}"
        )
