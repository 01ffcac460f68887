"""Training, from a config to a run folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from data_prep.atomic import write_text, written_whole
from data_prep.errors import InputError
from data_prep.progress import duration, progress, say
from faceverif.config.reading import config_text
from faceverif.config.run import RunConfig
from faceverif.models import MODEL_NAME, PreprocessingSpec, TorchEmbedder, save_model
from faceverif.models.face_classifier import PhotoRows, save_face_classifier
from faceverif.models.model_file import weights_sha256
from faceverif.provenance import describe_end, describe_start
from faceverif.training.checkpoint import (
    load_checkpoint,
    prepare_folder,
    refuse_started_run,
    save_checkpoint,
)
from faceverif.training.checks import VerificationCheck
from faceverif.training.data import Batch, TrainingPhotos, load_training_photos, read_batches
from faceverif.training.fabric import launch_fabric
from faceverif.training.host_memory import keep_freed_memory
from faceverif.training.interval import Interval
from faceverif.training.learner import Learner
from faceverif.training.metrics_log import MetricsLog
from faceverif.training.order import RemainingBatches, steps_per_epoch
from faceverif.training.provenance import describe_photos
from faceverif.training.start import Start
from faceverif.training.step_figures import StepFigures
from faceverif.verification.result import VerificationResult

_KEPT = ("started", "start_from")  # of the provenance, when a run goes on


def train(config: RunConfig, run: Path, *, resume: bool) -> None:
    """Train, verify on the way and at the end, and leave a run folder behind.

    Started by torchrun it is one of several processes; only the first one writes. Killed at any time it goes
    on with `resume` from the last checkpoint, and ends as if it had not been killed: bit for bit on a CPU.

    Args:
        config: the run.
        run: its folder.
        resume: go on from the folder's checkpoint.

    Raises:
        InputError: data, folder or settings break a rule, or the loss is no longer finite.
    """
    training = prepare(config, run, resume=resume)
    training.begin()
    training.fit()
    training.finish()


def prepare(config: RunConfig, run: Path, *, resume: bool) -> TrainingRun:
    """A run whose data and settings are read and checked, at its first step or where its checkpoint was made.

    Nothing is written yet.

    Raises:
        InputError: data, folder or settings break a rule.
    """
    photos = load_training_photos(config.data, input_px=config.backbone.input_px, seed=config.seed)
    spec = PreprocessingSpec.of(photos.dataset.template, input_px=config.backbone.input_px)
    checks = [VerificationCheck.load(entry, spec) for entry in config.verification]
    checkpoint, start, first = None, None, config.training.start_from
    if resume:
        checkpoint = load_checkpoint(run, config, data_sha256=photos.sha256)
    else:
        refuse_started_run(run)
        start = Start.read(first, photos.identities, spec=spec) if first is not None else None
    keep_freed_memory()
    training = TrainingRun(config, run, launch_fabric(config.training), photos, spec, checks, start=start)
    if checkpoint is not None:
        training.go_on_from(checkpoint)
    return training


class TrainingRun:
    """A run in progress: the learner, where it stands, and the folder that it writes to.

    Args:
        config: the run.
        run: its folder.
        fabric: device, precision and processes, launched.
        photos: what is trained on.
        spec: the crops that the model is made for.
        checks: verifications on the way.
        start: what an earlier run learnt; null: from scratch, or a checkpoint follows.
    """

    def __init__(
        self,
        config: RunConfig,
        run: Path,
        fabric: Fabric,
        photos: TrainingPhotos,
        spec: PreprocessingSpec,
        checks: list[VerificationCheck],
        *,
        start: Start | None = None,
    ) -> None:
        self.config, self.run, self.fabric = config, run, fabric
        self.photos, self.spec, self.checks = photos, spec, checks
        self.steps_per_epoch = steps_per_epoch(len(photos), config.training.batch_size)
        self.last_step = self.steps_per_epoch * config.training.epochs
        self.learner = Learner(
            config,
            fabric,
            classes=len(photos.identities),
            steps_per_epoch=self.steps_per_epoch,
            start=start,
        )
        self.step = self._first_step = 0
        self.interval = Interval()
        self.results: dict[str, VerificationResult] = {}
        self.provenance = describe_start(
            describe_photos(photos),
            seed=config.seed,
            device=str(fabric.device),
            processes=fabric.world_size,
        )
        self._settings = config_text(config)
        self.provenance["config_sha256"] = hashlib.sha256(self._settings.encode()).hexdigest()
        if start is not None:
            self.provenance["start_from"] = start.describe(self.learner.network)
        self._begun = self._saved = time.monotonic()
        self._seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Training time so far, over all sittings."""
        return self._seconds_before + time.monotonic() - self._begun

    def go_on_from(self, checkpoint: dict[str, Any]) -> None:
        """Stand where a checkpoint was made."""
        self.learner.load_state(checkpoint)
        self.step = self._first_step = checkpoint["step"]
        self.interval = Interval(**checkpoint["interval"])
        self.provenance |= {key: checkpoint[key] for key in _KEPT if key in checkpoint}
        self._seconds_before = checkpoint["seconds"]

    def begin(self) -> None:
        """Open the folder."""
        self.fabric.barrier()  # all have read the folder before the first writes to it
        if self.fabric.is_global_zero:
            prepare_folder(self.run)
            write_text(self.run / "config.yaml", self._settings)
            self._write_provenance()
            names = tuple(check.config.name for check in self.checks)
            self.log = MetricsLog(self.run, verifications=names, step=self.step)
            say(self.headline())

    def fit(self) -> None:
        """Make the steps that are left; after every epoch verify, then save."""
        batches = self.batches()
        while self.step < self.last_step:
            self._train_to_end_of_epoch(batches)
            self._verify()
            self._save()

    def batches(self) -> Iterator[Batch]:
        """This process's shares of the batches that are left."""
        training = self.config.training
        order = RemainingBatches(
            len(self.photos),
            batch_size=training.batch_size,
            steps=(self.step, self.last_step),
            seed=self.config.seed,
            share=(self.fabric.global_rank, self.fabric.world_size),
        )
        on_gpu = self.fabric.device.type == "cuda"
        return read_batches(self.photos, order, workers=training.workers, pin=on_gpu)

    def finish(self) -> None:
        """Export the model with what was found about it."""
        if self.fabric.is_global_zero:
            self._export()
            self.log.close()
        self.fabric.barrier()

    def _train_to_end_of_epoch(self, batches: Iterator[Batch]) -> None:
        epoch, done = divmod(self.step, self.steps_per_epoch)
        batch_size = self.config.training.batch_size
        photos = (self.steps_per_epoch - done) * batch_size
        with self._progress(f"epoch {epoch + 1}/{self.config.training.epochs}", photos) as advance:
            for batch in islice(batches, self.steps_per_epoch - done):
                figures = self._compute_gradients(batch)
                self.learner.update(step=self.step)
                self.step += 1
                self._record(figures)
                self._save_now_and_then()
                advance(batch_size, self._note(figures))
        self.learner.end_epoch()

    def _record(self, figures: StepFigures) -> None:
        """Count a step in, and write the row of an interval that is full."""
        training = self.config.training
        self.interval.add(figures)
        if self.step % training.log_every_steps and self.step != self.last_step:
            return
        if self.fabric.is_global_zero:
            rate = self.interval.steps_per_s * training.batch_size
            row = self.interval.means() | {
                "learning_rate": self.learner.learning_rate(self.step - 1),
                "margin_progress": self.learner.margin_progress(self.step - 1),
                "images_per_s": round(rate, 2),
            }
            self.log.write(self._place() | row)
        self.interval = Interval()

    def _verify(self) -> None:
        """Run the verifications that are due after this epoch; one process does, the others wait."""
        epoch = self.step // self.steps_per_epoch
        due = [check for check in self.checks if check.is_due(epoch, last=self.step == self.last_step)]
        for check in due if self.fabric.is_global_zero else []:
            name, result = check.config.name, check.run(self.embedder())
            self.results[name] = result
            self.log.write(self._place() | {f"{name}/accuracy": result.accuracy, f"{name}/eer": result.eer})
            accuracy = f"{result.accuracy:.2%} +- {result.accuracy_se:.2%}"
            say(f"{name} after epoch {epoch}: {accuracy}, EER {result.eer:.2%}")
        self.fabric.barrier()

    def _save_now_and_then(self) -> None:
        if self.step % self.steps_per_epoch == 0:
            return  # the epoch is not over before its end is worked off, and then it is saved anyway
        minutes = (time.monotonic() - self._saved) / 60
        if minutes >= self.config.training.checkpoint_every_minutes:
            self._save()

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self.fabric.is_global_zero:
            content = self.learner.state() | {
                "step": self.step,
                "seconds": self.seconds,
                **{key: self.provenance[key] for key in _KEPT if key in self.provenance},
                "interval": self.interval.state(),
                "config": self.config.model_dump(mode="json"),
                "data_sha256": self.photos.sha256,
                "exclusions": self.provenance["data"]["exclusions"],
                "identities": list(self.photos.identities),
                "preprocessing": asdict(self.spec),
            }
            save_checkpoint(self.run, content)

    def _compute_gradients(self, batch: Batch) -> StepFigures:
        """Stop before the weights are spoilt, and keep the batch that would have spoilt them.

        All processes see the same loss and gradient, so all stop.
        """
        try:
            figures = self.learner.compute_gradients(batch, step=self.step)
            figures.refuse_not_finite()
        except InputError as error:
            path = self.run / "refused_batch.pt"
            if self.fabric.is_global_zero:
                self._save_batch(path)
            raise InputError(
                error.field,
                error.rule,
                got=f"{error.got} at step {self.step}",
                fix=f"The batch is in {path}. {error.fix}",
            ) from None
        return figures

    def _save_batch(self, path: Path) -> None:
        """The whole batch of this step, of all processes: it follows from the seed and the step."""
        order = RemainingBatches(
            len(self.photos),
            batch_size=self.config.training.batch_size,
            steps=(self.step, self.step + 1),
            seed=self.config.seed,
            share=(0, 1),
        )
        [batch] = read_batches(self.photos, order, workers=0, pin=False)
        names = [self.photos.dataset.crops.name(row) for row in self.photos.rows[batch.photos]]
        with written_whole(path) as unfinished:
            torch.save(batch._asdict() | {"names": names, "step": self.step}, unfinished)

    def _export(self) -> None:
        """Model, classifier, provenance, verification files, calibrated thresholds, report."""
        from faceverif.report.run_page import write_run_report
        from faceverif.verification.calibration import write_calibration
        from faceverif.verification.runner import write_result

        self.provenance |= describe_end(steps=self.step, seconds=self.seconds)
        self._write_provenance()
        save_model(
            self.run / MODEL_NAME,
            self.learner.result,
            backbone_config=self.config.backbone.model_dump(mode="json"),
            spec=self.spec,
            provenance=self.provenance,
        )
        save_face_classifier(
            self.run,
            self.learner.network.objective,
            config=self.config,
            class_names=self.photos.identities,
            photos=PhotoRows(self.photos.dataset.sha256, self.photos.rows, self.photos.held_out),
            model_sha256=weights_sha256(self.learner.result),
        )
        for check in self.checks:
            # A run that was killed just here has the weights but no results.
            result = self.results.get(check.config.name) or check.run(self.embedder())
            write_result(result, self.run / "verification" / check.config.name)
            if check is self.checks[0]:
                write_calibration(self.run, result)
        say(f"model: {self.run / MODEL_NAME}\nreport: {write_run_report(self.run)}")

    def embedder(self) -> TorchEmbedder:
        """The model as it is now."""
        name = str(self.run / MODEL_NAME)
        return TorchEmbedder(self.learner.result, self.spec, name=name, provenance=self.provenance)

    def _place(self) -> dict[str, float]:
        return {
            "step": self.step,
            "epoch": self.step / self.steps_per_epoch,
            "seconds": self.seconds,
        }

    def _write_provenance(self) -> None:
        write_text(self.run / "provenance.json", json.dumps(self.provenance, indent=2) + "\n")

    def _progress(self, what: str, photos: int) -> AbstractContextManager[Callable[[int, str], None]]:
        if self.fabric.is_global_zero:
            return progress(what, total=photos)
        return nullcontext(lambda count, note: None)

    def _note(self, figures: StepFigures) -> str:
        rate = (self.step - self._first_step) / max(time.monotonic() - self._begun, 1e-9)
        left = (self.last_step - self.step) / rate
        return f"loss {figures.loss:.3f}, accuracy {figures.accuracy:.1%}, {duration(left)} to the end"

    def headline(self) -> str:
        """What is trained on what, in a line."""
        config, training, photos = self.config, self.config.training, self.photos
        millions = sum(parameter.numel() for parameter in self.learner.network.backbone.parameters()) / 1e6
        begins = f"from step {self.step:,}" if self.step else "from the start"
        return (
            f"{config.backbone.name} ({millions:.2f} million parameters), {config.head.name}: "
            f"{len(photos):,} photos of {len(photos.identities):,} people, {training.epochs} epochs of "
            f"{self.steps_per_epoch} steps of {training.batch_size} photos, {begins}; "
            f"{self.fabric.world_size} process(es) on {self.fabric.device}, {training.precision}"
        )
