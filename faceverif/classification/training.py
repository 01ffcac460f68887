"""Training of a classifier, from a config to a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from data_prep.counted import counted
from data_prep.host_memory import keep_freed_memory
from data_prep.json_object import write_json
from data_prep.progress import say
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.data import load_image_sets, warning_of_absence
from faceverif.classification.epoch_log import EpochLog
from faceverif.classification.evaluation import (
    errors_by_class,
    measure_predictions,
    measure_ten_crops,
    predict,
)
from faceverif.classification.learner import ClassifierLearner, ImageBatch
from faceverif.classification.metrics import error
from faceverif.classification.provenance import data_sha256, describe_images
from faceverif.classification.start_from import ClassifierStart
from faceverif.classification.trained import save_classifier
from faceverif.file_names import RESULT_NAME
from faceverif.images.labelled import ImageFiles, Images, spread_evenly
from faceverif.provenance import describe_start
from faceverif.report.numbers import percent
from faceverif.training.checkpoint import load_checkpoint
from faceverif.training.epochs import EpochLoop
from faceverif.training.fabric import launch_fabric
from faceverif.training.magface_warnings import warnings_of_lengths
from faceverif.training.processes import refuse_differences, wait_for_all
from faceverif.training.run_folder import RunFolder, held
from faceverif.training.schedule import warnings_beyond_the_end
from faceverif.training.stop import StopRequest

if TYPE_CHECKING:
    from lightning_fabric import Fabric

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
        prepare(config, run, resume=resume).complete()


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
    start = None
    if checkpoint is None and config.training.start_from is not None:
        start = ClassifierStart.read(config.training.start_from, sets[0].class_names)
    keep_freed_memory()
    fabric = launch_fabric(config)
    refuse_differences(config, data_sha256=sha256, checkpoint=checkpoint)
    training = ClassifierRun(config, run, fabric, *sets, sha256=sha256, start=start)
    if checkpoint is not None:
        training.continue_from(checkpoint)
    return training


class ClassifierRun(EpochLoop[ImageBatch]):
    """A classifier in training.

    Args:
        config: the run.
        run: its folder.
        fabric: device, precision and processes, launched.
        train: what is trained on.
        evaluation: what is evaluated.
        sha256: of both.
        start: what is taken over from a finished run; None where the run starts from scratch or continues.
    """

    config: ClassificationConfig
    learner: ClassifierLearner
    log: EpochLog

    def __init__(
        self,
        config: ClassificationConfig,
        run: Path,
        fabric: Fabric,
        train: Images,
        evaluation: Images,
        *,
        sha256: str,
        start: ClassifierStart | None = None,
    ) -> None:
        super().__init__(config, run, fabric, images=len(train))
        self.train, self.evaluation = train.to(fabric.device), evaluation
        self.learner = ClassifierLearner(
            config,
            fabric,
            shape=train.shape,
            classes=len(train.class_names),
            steps_per_epoch=self.steps_per_epoch,
            start=start,
        )
        self.log = EpochLog(run, config)
        self._measured = True
        described = describe_images(config.data, train, evaluation, sha256=sha256)
        provenance = describe_start(
            described, seed=config.seed, device=str(fabric.device), processes=fabric.world_size
        )
        if start is not None:
            provenance["start_from"] = start.describe(self.learner.network)
        self.folder = RunFolder(run, config, provenance, data_sha256=sha256)

    def headline(self) -> str:
        """What is trained on what, in a line."""
        config, training = self.config, self.config.training
        millions = sum(parameter.numel() for parameter in self.learner.network.network.parameters()) / 1e6
        begins = f"from step {self.step:,}" if self.step else "from the start"
        epochs, steps = counted(training.epochs, "epoch"), counted(self.steps_per_epoch, "step")
        processes = f"{self.fabric.world_size} processes on " if self.fabric.world_size > 1 else ""
        return (
            f"{config.network.name} ({millions:.2f} million parameters), {config.head.name}: "
            f"{len(self.train):,} images of {len(self.train.class_names):,} classes, "
            f"{epochs} of {steps} of {training.batch_size}, {begins}; "
            f"{processes}{self.fabric.device}, {training.precision}"
        )

    def warnings(self) -> list[str]:
        """What speaks against the settings, and classes without training images."""
        absence = warning_of_absence(self.train)
        missing = [f"warning: {absence}"] if absence else []
        training = self.config.training
        late = warnings_beyond_the_end(self.config.schedule, training.adversarial, epochs=training.epochs)
        return [*late, *self.log.opposite.warnings, *warnings_of_lengths(self.config), *missing]

    def batches(self) -> Iterator[ImageBatch]:
        """This process's shares of the batches that are left, on its device."""
        for which in self.order():
            index = torch.tensor(which, device=self.fabric.device)
            yield ImageBatch(self.train.read(index), self.train.labels[index])

    def continue_from(self, checkpoint: dict[str, Any]) -> None:
        """Stand where a checkpoint was made; those of earlier versions were made after measuring."""
        super().continue_from(checkpoint)
        self._measured = bool(checkpoint.get("measured", True))

    def beside_state(self) -> dict[str, Any]:
        """Whether the last epoch was measured."""
        return {"measured": self._measured}

    def fit(self, stop: StopRequest) -> None:
        """Make the steps that are left, after an epoch that was not measured to its end."""
        if not self._measured:
            self._measure_epoch()
            self._save()
        super().fit(stop)

    def after_epoch(self) -> None:
        """Measure the epoch, after a checkpoint: a kill meanwhile costs no epoch."""
        self._measured = False
        self._save()
        self._measure_epoch()

    def _measure_epoch(self) -> None:
        """Write the epoch's row, with the error where it is due; one process does, the others wait."""
        if self.fabric.is_global_zero:
            epoch, rate = self.step // self.steps_per_epoch, self.learner.learning_rate(self.step - 1)
            row = {"epoch": epoch, "learning_rate": rate} | self.log.means()
            self.log.write_epoch(row | self._evaluation_error(epoch) | self._robustness())
        wait_for_all()
        self._measured = True

    def evaluates_after(self, epoch: int) -> bool:
        """Whether the error is measured after that epoch, counted from 1."""
        training = self.config.training
        return epoch % training.evaluate_every_epochs == 0 or epoch == training.epochs

    def _evaluation_error(self, epoch: int) -> dict[str, float]:
        """The error after this epoch, where it is due."""
        if not self.evaluates_after(epoch):
            return {}
        model = self.learner.network
        predictions = predict(model.network, model.objective.head, self.evaluation)
        found = error(predictions.logits, predictions.labels)
        say(f"epoch {epoch}: error {percent(found)} %")
        return {"evaluation_error": found}

    def _robustness(self) -> dict[str, float]:
        """Accuracy on evenly chosen evaluation images, clean and attacked; nothing without an attack."""
        if self.config.training.adversarial is None:
            return {}
        chosen, device = spread_evenly(self.evaluation, most=ATTACKED_IMAGES), self.fabric.device
        pictures, labels = chosen.read(torch.arange(len(chosen))).to(device), chosen.labels.to(device)
        return self.learner.robustness(pictures, labels, step=self.step)._asdict()

    def finish(self) -> None:
        """Measure everything, and export the model with what was found about it."""
        if self.fabric.is_global_zero:
            self._export()
        wait_for_all()

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
        write_json(self.run / RESULT_NAME, result)
        wrong = f"error {percent(figures['error'])} % on {len(self.evaluation):,} images"
        say(f"{wrong}: {self.run / RESULT_NAME}")
