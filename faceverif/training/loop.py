"""Training, from a config to a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.counted import counted
from data_prep.host_memory import keep_freed_memory
from data_prep.progress import say
from faceverif.config.run import RunConfig
from faceverif.models import MODEL_NAME, TorchEmbedder
from faceverif.provenance import describe_start
from faceverif.report.numbers import percent
from faceverif.training.checks import VerificationCheck
from faceverif.training.data import Batch, read_batches
from faceverif.training.epochs import EpochLoop
from faceverif.training.fabric import launch_fabric
from faceverif.training.finished_run import export_weights, write_results
from faceverif.training.frozen.part import FrozenPart, Photos
from faceverif.training.learner import Learner
from faceverif.training.logs.run_log import RunLog
from faceverif.training.magface_warnings import warnings_of_lengths
from faceverif.training.processes import refuse_differences, wait_for_all
from faceverif.training.provenance import describe_others, describe_photos
from faceverif.training.refused_batch import save_refused_batch
from faceverif.training.run_folder import RunFolder, held
from faceverif.training.run_inputs import RunInputs
from faceverif.training.schedule import warnings_beyond_the_end
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.result import VerificationResult
from faceverif.verification.seen_photos import fingerprints, remember_photos

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
        prepare(config, run, resume=resume).complete()


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
    training = TrainingRun(config, run, fabric, inputs)
    if inputs.checkpoint is not None:
        training.continue_from(inputs.checkpoint)
    return training


class TrainingRun(EpochLoop[Batch]):
    """A face model in training.

    Args:
        config: the run.
        run: its folder.
        fabric: device, precision and processes, launched.
        inputs: what was read for it.
    """

    config: RunConfig
    learner: Learner
    log: RunLog

    def __init__(self, config: RunConfig, run: Path, fabric: Fabric, inputs: RunInputs) -> None:
        super().__init__(config, run, fabric, images=len(inputs.photos))
        self.photos, self.spec, self.checks = inputs.photos, inputs.spec, inputs.checks
        self.learner = Learner(
            config,
            fabric,
            classes=len(self.photos.identities),
            steps_per_epoch=self.steps_per_epoch,
            start=inputs.start,
            teacher=inputs.teacher,
        )
        self.log = RunLog(run, config, writes=fabric.is_global_zero)
        self.results: dict[str, VerificationResult] = {}
        self.frozen = FrozenPart.of(config, self.learner.network.backbone, self.spec)
        provenance = describe_start(
            describe_photos(self.photos),
            seed=config.seed,
            device=str(fabric.device),
            processes=fabric.world_size,
        )
        provenance |= describe_others(
            config, self.learner.network, start=inputs.start, teacher=inputs.teacher
        )
        self.folder = RunFolder(run, config, provenance, data_sha256=self.photos.sha256)

    def headline(self) -> str:
        """What is trained on what, in a line."""
        config, photos, fabric = self.config, self.photos, self.fabric
        backbone = self.learner.network.backbone
        millions = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
        epochs, steps = counted(config.training.epochs, "epoch"), counted(self.steps_per_epoch, "step")
        begins = f"from step {self.step:,}" if self.step else "from the start"
        return (
            f"{config.backbone.name} ({millions:.2f} million parameters), {config.head.name}: "
            f"{len(photos):,} photos of {len(photos.identities):,} people, {epochs} of {steps} of "
            f"{config.training.batch_size} photos, {begins}; "
            f"{counted(fabric.world_size, 'process')} on {fabric.device}, {config.training.precision}"
        )

    def warnings(self) -> list[str]:
        """What speaks against the settings, and verifications of photos trained on."""
        lengths = warnings_of_lengths(self.config, mean_square=self.config.backbone.mean_square)
        embedder, trained = self.embedder(), fingerprints(self.photos.dataset, self.photos.rows)
        seen = filter(None, (check.seen_warning(embedder, trained) for check in self.checks))
        training = self.config.training
        late = warnings_beyond_the_end(self.config.schedule, training.adversarial, epochs=training.epochs)
        return [*late, *self.log.opposite.warnings, *lengths, *seen]

    def begin(self) -> None:
        """Open the folder, and compute what is stored before the first step."""
        super().begin()
        if self.fabric.is_global_zero:
            earlier = self.folder.provenance.get("start_from")
            remember_photos(
                self.run,
                self.photos.dataset,
                self.photos.rows,
                earlier=None if earlier is None else Path(earlier["run"]),
            )
        self._begin_teacher()
        self._begin_features()

    def _begin_teacher(self) -> None:
        """The first process computes what is stored; the others read it."""
        teacher = self.learner.teacher
        if teacher is not None:
            if self.fabric.is_global_zero:
                teacher.begin()
            wait_for_all()
            if not self.fabric.is_global_zero:
                teacher.begin()

    def _begin_features(self) -> None:
        """The first process stores what is missing; the others read it. A new head starts from it."""
        if self.frozen is None:
            return
        if self.fabric.is_global_zero:
            self.frozen.fill(self.wanted_photos())
        wait_for_all()
        if self.config.starts_from_data and not self.step:
            embedded = self.frozen.embedded(self.embedder(), self.photos.dataset, flip=False)
            self.learner.network.objective.head.start_at(self.photos.class_moments(embedded))

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

    def batches(self) -> Iterator[Batch]:
        """This process's shares of the batches that are left: crops, or stored features."""
        if self.frozen is not None:
            return self.frozen.batches(self.photos, self.order())
        on_gpu = self.fabric.device.type == "cuda"
        return read_batches(self.photos, self.order(), workers=self.config.training.workers, pin=on_gpu)

    def after_step(self, batch: Batch) -> None:
        """Write the row of an interval that is full, and at the epoch's end the robustness."""
        every = self.config.training.log_every_steps
        if self.step % every == 0 or self.step == self.last_step:
            schedule = {
                "learning_rate": self.learner.learning_rate(self.step - 1),
                "margin_progress": self.learner.margin_progress(self.step - 1),
            }
            self.log.write_interval(self._place(), schedule)
        if self.step % self.steps_per_epoch == 0:
            self._measure_robustness(batch)

    def _measure_robustness(self, batch: Batch) -> None:
        """A row with the accuracy on a process's part of the epoch's last batch, clean and attacked.

        The first process measures; where classes are spread, all do together.
        """
        training = self.config.training
        if training.adversarial is None or not (self.fabric.is_global_zero or training.shard_classes):
            return
        pictures, labels, *_ = next(self.learner.parts(batch, step=self.step - 1))
        found = self.learner.robustness(pictures, labels, step=self.step)
        self.log.write(self._place(), found._asdict())

    def after_epoch(self) -> None:
        """Run the verifications that are due after this epoch; one process does, the others wait."""
        epoch = self.step // self.steps_per_epoch
        due = [check for check in self.checks if check.is_due(epoch, last=self.step == self.last_step)]
        for check in due if self.fabric.is_global_zero else []:
            name, result = check.config.name, check.run(self.embedded(check))
            self.results[name] = result
            self.log.write(self._place(), {f"{name}/accuracy": result.accuracy, f"{name}/eer": result.eer})
            accuracy = f"{percent(result.accuracy)} +- {percent(result.accuracy_se)} %"
            say(f"{name} after epoch {epoch}: {accuracy}, EER {percent(result.eer)} %")
        wait_for_all()

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
        wait_for_all()

    def _result(self, check: VerificationCheck) -> VerificationResult:
        """A verification of the finished model; a run that was killed just before has none yet."""
        return self.results.get(check.config.name) or check.run(self.embedded(check))

    def wants_checkpoint(self) -> bool:
        """Whether the last one is older than `training.checkpoint_every_minutes`."""
        return self.folder.minutes_unsaved >= self.config.training.checkpoint_every_minutes

    def beside_state(self) -> dict[str, Any]:
        """What is needed to use the checkpoint without its data."""
        return {
            "exclusions": self.folder.provenance["data"]["exclusions"],
            "identities": list(self.photos.identities),
            "preprocessing": asdict(self.spec),
        }

    def advice_after_refusal(self, fix: str) -> str:
        """Where the refused batch is kept, for those who look for the reason."""
        path = self.run / "refused_batch.pt"
        if self.fabric.is_global_zero:
            save_refused_batch(path, self.config, self.photos, step=self.step)
        return f"The batch is in {path}. {fix}"

    def embedder(self) -> TorchEmbedder:
        """The model as it is now."""
        name = str(self.run / MODEL_NAME)
        return TorchEmbedder(self.learner.result, self.spec, name=name, provenance=self.folder.provenance)

    def _place(self) -> dict[str, float]:
        return {"step": self.step, "epoch": self.step / self.steps_per_epoch, "seconds": self.folder.seconds}
