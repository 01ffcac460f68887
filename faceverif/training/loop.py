"""Training, from a config to a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.host_memory import keep_freed_memory
from data_prep.progress import say
from faceverif.config.run import RunConfig
from faceverif.models import MODEL_NAME, PreprocessingSpec, TorchEmbedder
from faceverif.provenance import describe_start
from faceverif.training.checkpoint import only_a_whole_checkpoint, standing_in
from faceverif.training.checks import VerificationCheck
from faceverif.training.data import Batch, TrainingPhotos, read_batches
from faceverif.training.fabric import launch_fabric
from faceverif.training.finished_run import export_weights, write_results
from faceverif.training.frozen_part import FrozenPart, Photos
from faceverif.training.inputs import RunInputs
from faceverif.training.learner import Learner
from faceverif.training.lengths import warnings_of_lengths
from faceverif.training.on_screen import headline, steps_shown
from faceverif.training.order import RemainingBatches, steps_per_epoch
from faceverif.training.provenance import describe_others, describe_photos
from faceverif.training.refused_batch import batch_kept_if_refused
from faceverif.training.run_folder import RunFolder, held
from faceverif.training.run_log import RunLog
from faceverif.training.start import Start
from faceverif.training.step_figures import StepFigures
from faceverif.training.stop import StopRequest
from faceverif.training.teacher import Teacher
from faceverif.training.together import lost_processes_named, refuse_differences
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.result import VerificationResult

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(config: RunConfig, run: Path, *, resume: bool = False) -> None:
    """Train, verify on the way and at the end, and leave a run folder behind.

    Started by torchrun it is one of several processes; only the first one writes. A run that was killed
    continues from its last checkpoint, and ends as if it had not been killed: bit for bit on a CPU. Ctrl-C
    and SIGTERM make a checkpoint first.

    Args:
        config: the run.
        run: its folder; a run with the same settings that lies there continues.
        resume: refuse a folder without a checkpoint.

    Raises:
        InputError: data, folder or settings break a rule, or the loss is no longer finite.
        KeyboardInterrupt: somebody asked for the end; the checkpoint is saved.
    """
    with held(run, command="faceverif train"):
        training = prepare(config, run, resume=resume)
        with lost_processes_named(run):
            training.begin()
            with StopRequest() as stop:
                training.fit(stop)
            training.finish()


def prepare(config: RunConfig, run: Path, *, resume: bool = False) -> TrainingRun:
    """A run whose data and settings are read and checked, at its first step or where its checkpoint was made.

    Nothing is written yet.

    Args:
        config: the run.
        run: its folder.
        resume: refuse a folder without a checkpoint.

    Raises:
        InputError: data, folder or settings break a rule.
    """
    inputs = RunInputs.read(config, run, resume=resume)
    keep_freed_memory()
    fabric = launch_fabric(config)
    refuse_differences(config, data_sha256=inputs.photos.sha256, checkpoint=inputs.checkpoint)
    training = TrainingRun(
        config,
        run,
        fabric,
        inputs.photos,
        inputs.spec,
        inputs.checks,
        start=inputs.start,
        teacher=inputs.teacher,
    )
    if inputs.checkpoint is not None:
        with only_a_whole_checkpoint(run):
            training.continue_from(inputs.checkpoint)
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
        start: what an earlier run learnt; None: from scratch, or a checkpoint follows.
        teacher: whom the backbone imitates; None: nobody.
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
        teacher: Teacher | None = None,
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
            teacher=teacher,
        )
        self.step, self._asked_to_stop = 0, False
        self.log = RunLog(run, config, writes=fabric.is_global_zero)
        self.results: dict[str, VerificationResult] = {}
        self.frozen = FrozenPart.of(config, self.learner.network.backbone, spec)
        provenance = describe_start(
            describe_photos(photos),
            seed=config.seed,
            device=str(fabric.device),
            processes=fabric.world_size,
        )
        provenance |= describe_others(config, self.learner.network, start=start, teacher=teacher)
        self.folder = RunFolder(run, config, provenance, data_sha256=photos.sha256)

    def continue_from(self, checkpoint: dict[str, Any]) -> None:
        """Stand where a checkpoint was made; call it within `only_a_whole_checkpoint`."""
        standing = standing_in(checkpoint)
        self.learner.load_state(checkpoint)
        self.step = standing.step
        self.log.continue_from(standing)
        self.folder.continue_from(standing)

    def begin(self) -> None:
        """Open the folder."""
        self.fabric.barrier()  # all have read the folder before the first writes to it
        if self.fabric.is_global_zero:
            self.folder.open()
            self.log.open(step=self.step)
            say(headline(self))
            self.log.opposite.warn()
            for warning in warnings_of_lengths(self.config, mean_square=self.config.backbone.mean_square):
                say(warning)
        self._begin_teacher()
        self._begin_features()

    def _begin_teacher(self) -> None:
        """The first process computes what is stored; the others read it."""
        teacher = self.learner.teacher
        if teacher is not None:
            if self.fabric.is_global_zero:
                teacher.begin()
            self.fabric.barrier()
            if not self.fabric.is_global_zero:
                teacher.begin()

    def _begin_features(self) -> None:
        """The first process stores what is missing; the others read it. A new head starts from it."""
        if self.frozen is None:
            return
        if self.fabric.is_global_zero:
            self.frozen.fill(self.wanted_photos())
        self.fabric.barrier()
        if self.config.starts_from_data and not self.step:
            moments = self.frozen.class_moments(self.embedder(), self.photos)
            self.learner.network.objective.head.start_at(moments)

    def wanted_photos(self) -> list[Photos]:
        """The rows of every data set that are trained on or verified."""
        checked = [(check.dataset, check.photos.with_crop) for check in self.checks]
        return [(self.photos.dataset, self.photos.rows), *checked]

    def embedded(self, check: VerificationCheck) -> EmbeddedPhotos:
        """Photos of a verification under the model as it is now."""
        dataset, flip = check.dataset, check.config.flip
        if self.frozen is None:
            return EmbeddedPhotos(self.embedder(), dataset, flip=flip)
        return self.frozen.embedded(self.embedder(), dataset, flip=flip)

    def fit(self, stop: StopRequest) -> None:
        """Make the steps that are left; after every epoch verify, then save.

        Raises:
            KeyboardInterrupt: a stop was asked for; the checkpoint is saved.
        """
        batches = self.batches()
        while self.step < self.last_step:
            self._train_to_end_of_epoch(batches, stop)
            self._verify()
            self._save()
            self._end_if_asked(stop)

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
        if self.frozen is not None:
            return self.frozen.batches(self.photos, order)
        on_gpu = self.fabric.device.type == "cuda"
        return read_batches(self.photos, order, workers=training.workers, pin=on_gpu)

    def finish(self) -> None:
        """Export the model with what was found about it."""
        objective_state = self.learner.objective_state()
        if self.fabric.is_global_zero:
            self.folder.close(steps=self.step)
            export_weights(
                self.run,
                self.learner,
                objective_state,
                photos=self.photos,
                spec=self.spec,
                provenance=self.folder.provenance,
            )
            write_results(self.run, [(check, self._result(check)) for check in self.checks])
            self.log.close()
        self.fabric.barrier()

    def _result(self, check: VerificationCheck) -> VerificationResult:
        """A verification of the finished model; a run that was killed just before has none yet."""
        return self.results.get(check.config.name) or check.run(self.embedded(check))

    def _train_to_end_of_epoch(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        epoch, done = divmod(self.step, self.steps_per_epoch)
        batch_size = self.config.training.batch_size
        photos = (self.steps_per_epoch - done) * batch_size
        title = f"epoch {epoch + 1}/{self.config.training.epochs}"
        with steps_shown(title, photos=photos, shown=self.fabric.is_global_zero) as advance:
            for batch in islice(batches, self.steps_per_epoch - done):
                figures = self._compute_gradients(batch, stop=stop.made)
                self.learner.update(step=self.step)
                self.step += 1
                self._record(figures)
                advance(batch_size, self.folder.note(figures, step=self.step, last_step=self.last_step))
                self._asked_to_stop = figures.stop
                if self.step % self.steps_per_epoch:  # else the epoch's end is worked off first, then saved
                    if figures.save:
                        self._save()
                    self._end_if_asked(stop)
                elif self.fabric.is_global_zero or self.config.training.shard_classes:
                    self._measure_robustness(batch)
        self.learner.end_epoch()

    def _record(self, figures: StepFigures) -> None:
        """Count a step in, and write the row of an interval that is full."""
        training = self.config.training
        self.log.count(figures)
        if self.step % training.log_every_steps and self.step != self.last_step:
            return
        schedule = {
            "learning_rate": self.learner.learning_rate(self.step - 1),
            "margin_progress": self.learner.margin_progress(self.step - 1),
        }
        self.log.write_interval(self._place(), schedule)

    def _measure_robustness(self, batch: Batch) -> None:
        """A row with the accuracy on this process's part of the epoch's last batch, clean and attacked."""
        if self.config.training.adversarial is not None:
            pictures, labels, *_ = next(self.learner.parts(batch, step=self.step - 1))
            found = self.learner.robustness(pictures, labels, step=self.step)
            self.log.write(self._place(), found._asdict())

    def _verify(self) -> None:
        """Run the verifications that are due after this epoch; one process does, the others wait."""
        epoch = self.step // self.steps_per_epoch
        due = [check for check in self.checks if check.is_due(epoch, last=self.step == self.last_step)]
        for check in due if self.fabric.is_global_zero else []:
            name, result = check.config.name, check.run(self.embedded(check))
            self.results[name] = result
            self.log.write(self._place(), {f"{name}/accuracy": result.accuracy, f"{name}/eer": result.eer})
            accuracy = f"{result.accuracy:.2%} +- {result.accuracy_se:.2%}"
            say(f"{name} after epoch {epoch}: {accuracy}, EER {result.eer:.2%}")
        self.fabric.barrier()

    @property
    def _wants_checkpoint(self) -> bool:
        """The first process decides for all, which may have to give it their classes."""
        late = self.folder.minutes_unsaved >= self.config.training.checkpoint_every_minutes
        return late and self.fabric.is_global_zero

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

    def _save(self) -> None:
        """Replace the checkpoint; all processes call it together."""
        state = self.learner.state()
        if self.fabric.is_global_zero:
            about = {
                "exclusions": self.folder.provenance["data"]["exclusions"],
                "identities": list(self.photos.identities),
                "preprocessing": asdict(self.spec),
            }
            self.folder.save(state | about, step=self.step, **self.log.state())

    def _compute_gradients(self, batch: Batch, *, stop: bool) -> StepFigures:
        """Stop before the weights are spoilt, and keep the batch that would have spoilt them.

        All processes see the same loss and gradient, so all stop.
        """
        with batch_kept_if_refused(
            self.run, self.config, self.photos, step=self.step, writes=self.fabric.is_global_zero
        ):
            figures = self.learner.compute_gradients(
                batch, step=self.step, stop=stop, save=self._wants_checkpoint
            )
            figures.refuse_not_finite()
        return figures

    def embedder(self) -> TorchEmbedder:
        """The model as it is now."""
        name = str(self.run / MODEL_NAME)
        return TorchEmbedder(self.learner.result, self.spec, name=name, provenance=self.folder.provenance)

    def _place(self) -> dict[str, float]:
        return {
            "step": self.step,
            "epoch": self.step / self.steps_per_epoch,
            "seconds": self.folder.seconds,
        }
