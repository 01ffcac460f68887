"""Training of a classifier, from a config to a run folder."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import torch

from data_prep.atomic import write_text, written_whole
from data_prep.errors import InputError
from data_prep.progress import duration, progress, say
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.data import load_image_sets
from faceverif.classification.evaluation import measure_predictions, predict
from faceverif.classification.learner import ClassifierLearner
from faceverif.classification.metrics import error
from faceverif.classification.provenance import data_sha256, describe_images
from faceverif.classification.trained import save_classifier
from faceverif.config.reading import config_text
from faceverif.images.labelled import Images
from faceverif.provenance import describe_end, describe_start
from faceverif.training.checkpoint import (
    load_checkpoint,
    prepare_folder,
    refuse_started_run,
    save_checkpoint,
)
from faceverif.training.host_memory import keep_freed_memory
from faceverif.training.order import RemainingBatches, steps_per_epoch
from faceverif.training.step_figures import StepFigures

METRICS_NAME = "metrics.csv"
RESULT_NAME = "result.json"
_COLUMNS = ("epoch", "loss", "accuracy", "evaluation_error", "learning_rate", "images_per_s")


def train_classifier(config: ClassificationConfig, run: Path, *, resume: bool) -> None:
    """Train, evaluate on the way and at the end, and leave a run folder behind.

    Killed at any time it goes on with `resume` from the last whole epoch, and ends as if it had not been
    killed: bit for bit on a CPU.

    Args:
        config: the run.
        run: its folder.
        resume: go on from the folder's checkpoint.

    Raises:
        InputError: data, folder or settings break a rule, or the loss is no longer finite.
    """
    if not resume:
        refuse_started_run(run)
    sets = load_image_sets(config.data, config.seed)
    sha256 = data_sha256(*sets)
    checkpoint = load_checkpoint(run, config, data_sha256=sha256) if resume else None
    keep_freed_memory()
    training = ClassifierRun(config, run, *sets, sha256=sha256)
    training.begin(checkpoint)
    training.fit()
    training.finish()


class ClassifierRun:
    """A run in progress: the learner, where it stands, and the folder that it writes to.

    Args:
        config: the run.
        run: its folder.
        train: what is trained on.
        evaluation: what is evaluated.
        sha256: of both.
    """

    def __init__(
        self, config: ClassificationConfig, run: Path, train: Images, evaluation: Images, *, sha256: str
    ) -> None:
        self.config, self.run, self.sha256 = config, run, sha256
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.train, self.evaluation = train.to(device), evaluation
        self.steps_per_epoch = steps_per_epoch(len(train), config.training.batch_size)
        self.learner = ClassifierLearner(
            config,
            shape=train.shape,
            classes=len(train.class_names),
            steps_per_epoch=self.steps_per_epoch,
            device=device,
        )
        self.epoch = self._first_epoch = 0
        self.history: list[dict[str, float]] = []
        described = describe_images(config.data, train, evaluation, sha256=sha256)
        self.provenance = describe_start(described, seed=config.seed, device=str(device))
        self._begun = time.monotonic()
        self._seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Training time so far, over all sittings."""
        return self._seconds_before + time.monotonic() - self._begun

    def begin(self, checkpoint: dict[str, Any] | None) -> None:
        """Start at the first epoch, or after the one that a checkpoint was made of, and open the folder."""
        if checkpoint is not None:
            self.learner.load_state(checkpoint)
            self.epoch = self._first_epoch = checkpoint["epoch"]
            self.history = checkpoint["history"]
            self.provenance["started"] = checkpoint["started"]
            self._seconds_before = checkpoint["seconds"]
        prepare_folder(self.run)
        settings = config_text(self.config)
        write_text(self.run / "config.yaml", settings)
        self._write_provenance()
        self._write_history()
        say(self._headline())

    def fit(self) -> None:
        """Go through the epochs that are left; each ends with its row of figures and a checkpoint."""
        while self.epoch < self.config.training.epochs:
            row = self._train_epoch()
            self.learner.end_epoch()
            self.epoch += 1
            self.history.append({"epoch": self.epoch} | row | self._evaluation_error())
            self._save()
            self._write_history()

    def finish(self) -> None:
        """Measure everything, and export the model with what was found about it."""
        model, config = self.learner.model, self.config
        predictions = predict(model.network, model.objective.head, self.evaluation)
        figures = measure_predictions(predictions, model.objective.head.centres(), seed=config.seed)
        self.provenance |= describe_end(steps=self.epoch * self.steps_per_epoch, seconds=self.seconds)
        self._write_provenance()
        save_classifier(self.run, model, config=config, class_names=self.train.class_names)
        result = {
            "metrics": figures,
            "evaluated_on": "held_out" if config.data.held_out else "test",
            "images": len(self.evaluation),
            "hours": self.provenance["hours"],
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
        write_text(self.run / RESULT_NAME, json.dumps(result, indent=2) + "\n")
        say(f"error {figures['error']:.2%} on {len(self.evaluation):,} images: {self.run / RESULT_NAME}")

    def _train_epoch(self) -> dict[str, float]:
        """Means of what the epoch's steps measured."""
        batch_size, first = self.config.training.batch_size, self.epoch * self.steps_per_epoch
        order = RemainingBatches(
            len(self.train),
            batch_size=batch_size,
            steps=(first, first + self.steps_per_epoch),
            seed=self.config.seed,
            share=(0, 1),
        )
        sums, begun = [0.0, 0.0], time.monotonic()
        title = f"epoch {self.epoch + 1}/{self.config.training.epochs}"
        with progress(title, total=batch_size * self.steps_per_epoch) as advance:
            for step, which in enumerate(order, start=first):
                figures = self._step(which, step=step)
                sums = [sums[0] + figures.loss, sums[1] + figures.accuracy]
                advance(batch_size, self._note(figures, step=step))
        seconds = max(time.monotonic() - begun, 1e-9)
        return {
            "loss": sums[0] / self.steps_per_epoch,
            "accuracy": sums[1] / self.steps_per_epoch,
            "learning_rate": self.learner.learning_rate(first + self.steps_per_epoch - 1),
            "images_per_s": round(batch_size * self.steps_per_epoch / seconds, 2),
        }

    def _step(self, which: list[int], *, step: int) -> StepFigures:
        """Stop before the weights are spoilt."""
        index = torch.tensor(which, device=self.learner.device)
        images, labels = self.train.read(index), self.train.labels[index]
        try:
            figures = self.learner.compute_gradients(images, labels, step=step)
            figures.refuse_not_finite()
        except InputError as error:
            got = f"{error.got} at step {step}"
            raise InputError(error.field, error.rule, got=got, fix=error.fix) from None
        self.learner.update(step=step)
        return figures

    def _evaluation_error(self) -> dict[str, float]:
        """The error after this epoch, where it is due."""
        training = self.config.training
        if self.epoch % training.evaluate_every_epochs and self.epoch != training.epochs:
            return {}
        model = self.learner.model
        predictions = predict(model.network, model.objective.head, self.evaluation)
        found = error(predictions.logits, predictions.labels)
        say(f"epoch {self.epoch}: error {found:.2%}")
        return {"evaluation_error": found}

    def _save(self) -> None:
        content = self.learner.state() | {
            "epoch": self.epoch,
            "history": self.history,
            "seconds": self.seconds,
            "started": self.provenance["started"],
            "config": self.config.model_dump(mode="json"),
            "data_sha256": self.sha256,
        }
        save_checkpoint(self.run, content)

    def _write_history(self) -> None:
        """All rows anew: those of an epoch that a killed run had begun are gone with it."""
        with written_whole(self.run / METRICS_NAME) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows(self.history)

    def _write_provenance(self) -> None:
        write_text(self.run / "provenance.json", json.dumps(self.provenance, indent=2) + "\n")

    def _note(self, figures: StepFigures, *, step: int) -> str:
        done = step + 1 - self._first_epoch * self.steps_per_epoch
        left = self.steps_per_epoch * self.config.training.epochs - step - 1
        time_left = duration((time.monotonic() - self._begun) / done * left)
        return f"loss {figures.loss:.3f}, accuracy {figures.accuracy:.1%}, {time_left} to the end"

    def _headline(self) -> str:
        config, training = self.config, self.config.training
        millions = sum(parameter.numel() for parameter in self.learner.model.network.parameters()) / 1e6
        begins = f"after epoch {self.epoch}" if self.epoch else "from the start"
        return (
            f"{config.network.name} ({millions:.2f} million parameters), {config.head.name}: "
            f"{len(self.train):,} images of {len(self.train.class_names):,} classes, "
            f"{training.epochs} epochs of {self.steps_per_epoch} steps of {training.batch_size}, {begins}; "
            f"{self.learner.device}, {training.precision}"
        )
