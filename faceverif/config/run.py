"""A training run as one YAML: the pydantic models behind it.

The models are the reference of every key. Keys without a default must be written; a key that does not exist
is an error, and so is a value of the wrong type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from data_prep.counted import counted
from faceverif.config.adversarial import PerturbedTrainingConfig
from faceverif.config.backbones import BackboneConfig
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.optimisation import OptimizerConfig, ScheduleConfig
from faceverif.config.paths import AlignedPath, InputPath, RunPath
from faceverif.config.reading import load_config, validate_config
from faceverif.config.section import Change, Count, NotNegative, Positive, Section, Seed, Share, broken_rule
from faceverif.config.teacher import TeacherConfig


class LeastQuality(Section):
    """The quality that a photo must have to be trained on; photos of which it is not known are left out.

    Attributes:
        score: the least score of the face detector; null: any.
        eye_distance_px: the least distance of the eyes in the photo, in pixels; null: any.
        frontal: the least cosine of the angle between the directions of face and camera; 1: the face looks
            into it; null: any.
        sharpness: the least variance of the Laplacian of the crop, as the manifest has it; null: any.
    """

    score: float | None = None
    eye_distance_px: float | None = None
    frontal: Annotated[float, Field(ge=-1, le=1)] | None = None
    sharpness: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """Measure -> its least value, of those that are written."""
        return self.model_dump(exclude_none=True)


class DataConfig(Section):
    """What is trained on.

    Attributes:
        path: a folder made by `faceverif align`; or aligned crops in InsightFace's train.rec, in WebDataset
            shards or in Parquet files, the file or its folder. Shards and Parquet files may lie in a storage:
            s3://bucket/shards, gs://bucket/shards.
        min_photos_per_identity: people with fewer aligned photos are left out.
        exclude: a list of photos and identities to leave out, as `faceverif data audit` writes it.
        min_quality: the least quality of a photo; others are left out.
        held_out_per_identity: number of photos per person that are kept out of the training, to attack or to
            calibrate on people whom the model knows. Every person who has that many beyond
            min_photos_per_identity gives them; the seed chooses them. null: none.
    """

    path: Annotated[AlignedPath, Change.FREE]
    min_photos_per_identity: Count = 1
    exclude: Annotated[InputPath | None, Change.FREE] = None
    min_quality: LeastQuality = LeastQuality()
    held_out_per_identity: Count | None = None


class AugmentationConfig(Section):
    """What happens to a photo before the model sees it; all off unless written.

    Attributes:
        flip: chance of a mirrored photo.
        shift_px: the input window moves by up to that many pixels each way. With crops larger than the input
            this is the random crop: 4 for 120 out of 128.
        zoom: the size changes by a factor of up to 1 + zoom, either way.
        rotation_deg: turns by up to that angle, either way.
        brightness: x; every pixel is multiplied by a factor from 1 - x to 1 + x, one for each photo.
        contrast: the same for the pixels' differences from the photo's mean grey.
        saturation: the same for the colours' differences from the pixel's grey.
        grey: chance of losing all colour.
        low_resolution: chance of being seen at a half, a third or a quarter of the resolution.
        erase: chance that a rectangle of 2 to 20 % of the area turns grey.
    """

    flip: Share = 0.0
    shift_px: Annotated[int, Field(ge=0)] = 0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 0.0
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    grey: Share = 0.0
    low_resolution: Share = 0.0
    erase: Share = 0.0


class StoredFeaturesConfig(Section):
    """The part of a backbone that stays as it is, computed once.

    Attributes:
        layer: all that lies before it and the layer itself stay as they are, batch statistics included. Its
            output for every crop and its mirror image is computed once, and an epoch then costs no more than
            what lies behind it. The whole network must go through the layer.
        folder: where the features lie; runs share them. A photo takes 8 bytes for each number of the output.
    """

    layer: str
    folder: Annotated[Path, Change.FREE]


class TrainingConfig(PerturbedTrainingConfig):
    """How long and in which portions.

    Attributes:
        epochs: passes over the photos. Photos beyond the last whole batch sit out, others in every epoch.
        batch_size: photos per optimizer step, whatever the number of processes.
        accumulate: parts in which a process works off its share of a batch, to save memory.
        precision: 32-true, or bf16-mixed where the machine has bfloat16 units (others are slower with it).
        clip_norm: longest gradient (backbone and head together); null: no limit.
        ema_decay: per step; the exponential moving average of the backbone is what is verified and exported.
            null: the backbone itself.
        workers: processes that decode crops, at most one per core; 0: the training process itself.
        log_every_steps: one row of metrics.csv each.
        checkpoint_every_minutes: besides one after every epoch.
        shard_classes: each process holds a part of the class weights and of their optimizer state, and
            compares the photos of all processes with its classes. For very many people; loss and gradients
            are the same. Checkpoints and models have all classes, so another number of processes continues.
        sample_classes: share of the classes that each step compares with, in (0, 1]: those of the batch, and
            others drawn anew (Partial FC). Accuracy and all_negative are then among these. Needs
            shard_classes; null: all.
        start_from: a finished run or an imported model whose backbone is refined; also its class centres,
            where the head has such and the people are the same (W-Softmax: softmax first); null: from
            scratch.
        freeze: layers of the backbone that stay as they are, batch statistics included: `trunk` for all
            before the embedding layer, `trunk.0` for the first. Needs start_from.
        stored_features: train only what lies behind a layer, from features that are computed once. Needs
            start_from. Of the augmentation, flip alone goes with it.
        start_centres: of the head's classes: random, or class_means, where the photos of each class lie under
            the model of start_from.
    """

    epochs: Annotated[Count, Change.LATER]
    batch_size: Annotated[int, Field(ge=2)] = 128
    accumulate: Count = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    clip_norm: Positive | None = 5.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    workers: Annotated[int, Field(ge=0), Change.FREE] = 2
    log_every_steps: Annotated[Count, Change.FREE] = 20
    checkpoint_every_minutes: Annotated[NotNegative, Change.FREE] = 5.0
    shard_classes: Annotated[bool, Change.FREE] = False
    sample_classes: Annotated[float, Field(gt=0, le=1)] | None = None
    start_from: Annotated[RunPath | None, Change.FREE] = None
    freeze: tuple[str, ...] = ()
    stored_features: StoredFeaturesConfig | None = None
    start_centres: Literal["random", "class_means"] = "random"


class VerificationConfig(Section):
    """A protocol to run during and after training.

    Attributes:
        name: the folder below RUN/verification.
        data: as data.path.
        protocol: its pairs: LFW's pairs.txt or pairsDevTest.txt, or a CSV.
        every_epochs: how often; after the last epoch it always runs.
        flip: average the embedding with that of the mirrored crop.
        subtract_mean: subtract the mean embedding of the other folds.
        allow_partial: run the pairs whose photos are there, where the protocol is not whole; the result says
            so.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    data: AlignedPath
    protocol: InputPath
    every_epochs: Count = 1
    flip: bool = True
    subtract_mean: bool = False
    allow_partial: bool = False


class ClassifierConfig(ObjectiveConfig):
    """What a head knows and how it compares: an objective, and the people whose photos it was fitted on.

    Attributes:
        seed: of every random draw; the same seed gives the same run.
        data: what is trained on.
    """

    seed: Seed = 0
    data: DataConfig


class RunConfig(ClassifierConfig):
    """A training run: an objective, and everything around it.

    Attributes:
        backbone: the network from crops to embeddings.
        optimizer: how the weights move along the gradients.
        schedule: how learning rate and margin change over the epochs.
        augmentation: what happens to a crop before the network sees it.
        training: how long, and in which portions.
        verification: protocols that are run on the way and at the end.
        teacher: a finished model that the distill penalty compares with; null: none.
        logger: a service that shows the figures of the run, beside TensorBoard; null: none. It needs the
            extra of its name.
    """

    backbone: BackboneConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig
    teacher: TeacherConfig | None = None
    logger: Annotated[Literal["wandb", "mlflow", "trackio"] | None, Change.FREE] = None
    verification: Annotated[tuple[VerificationConfig, ...], Change.LATER] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> RunConfig:
        names = [entry.name for entry in self.verification]
        if len(set(names)) != len(names):
            raise ValueError("two entries of verification have the same name")
        return self

    @property
    def starts_from_data(self) -> bool:
        """Whether the head starts from the embeddings of a trained backbone."""
        return self.training.start_centres == "class_means" or super().starts_from_data

    @model_validator(mode="after")
    def _data_have_embeddings(self) -> RunConfig:
        if self.training.start_from is not None:
            return self
        if self.training.start_centres == "class_means":
            rule = "class_means needs training.start_from, the trained backbone whose embeddings they are"
            raise broken_rule("training.start_centres", rule, got="no training.start_from")
        if self.starts_from_data:
            rule = "from_data needs training.start_from, the trained backbone whose embeddings they are"
            raise broken_rule("head.means", rule, got="no training.start_from")
        return self

    @model_validator(mode="after")
    def _frozen_layers_know_something(self) -> RunConfig:
        training, rule = self.training, "needs training.start_from: layers from scratch have random weights"
        if training.freeze and training.start_from is None:
            raise broken_rule("training.freeze", rule, got=", ".join(training.freeze))
        if training.stored_features is not None and training.start_from is None:
            raise broken_rule("training.stored_features", rule, got=training.stored_features.layer)
        return self

    @model_validator(mode="after")
    def _stored_features_stay_right(self) -> RunConfig:
        """They are of the crop and its mirror image, and of no other pixels."""
        if self.training.stored_features is None:
            return self
        rule = "must be left out beside training.stored_features, which are of crops as they are"
        for name, value in self.augmentation.model_dump(exclude={"flip"}).items():
            if value:
                raise broken_rule(f"augmentation.{name}", rule, got=value)
        if self.training.adversarial is not None:
            raise broken_rule("training.adversarial", rule, got=self.training.adversarial.attack)
        if self.training.noise:
            raise broken_rule("training.noise", rule, got=self.training.noise)
        if self.teacher is not None and self.teacher.views == "live":
            raise broken_rule("teacher.views", f"{rule}: set it to stored", got="live")
        return self

    @model_validator(mode="after")
    def _classes_can_be_spread(self) -> RunConfig:
        training = self.training
        if training.sample_classes is not None and not training.shard_classes:
            raise broken_rule("training.sample_classes", "needs training.shard_classes", got="false")
        if training.shard_classes and self.criterion.name == "online_label_smoothing":
            rule = "must be another one beside training.shard_classes: its soft labels are all classes by all"
            raise broken_rule("criterion.name", rule, got=self.criterion.name)
        return self

    @model_validator(mode="after")
    def _teacher_has_a_pupil(self) -> RunConfig:
        distils = any(penalty.name == "distill" for penalty in self.penalties)
        if distils and self.teacher is None:
            raise broken_rule("teacher", "must be named for the distill penalty", got="none")
        attack = self.training.adversarial
        if attack is not None and attack.attack == "ibp":
            rule = "must be fgsm_rs, pgd or trades for faces: there are no bounds of a face network's layers"
            raise broken_rule("training.adversarial.attack", rule, got="ibp")
        if self.teacher is not None and self.teacher.layers and attack and attack.attack == "trades":
            rule = "must be left out beside training.adversarial with trades, which compares embeddings only"
            raise broken_rule("teacher.layers", rule, got=", ".join(self.teacher.layers))
        if self.teacher is not None and not distils:
            raise broken_rule(
                "teacher", "needs the distill penalty, which compares with it", got="no distill"
            )
        return self

    @model_validator(mode="after")
    def _batch_has_whole_parts(self) -> RunConfig:
        if rule := self.refusal_of_parts(processes=1):
            raise broken_rule("training.batch_size", rule, got=self.training.batch_size)
        return self

    def refusal_of_parts(self, *, processes: int) -> str:
        """What the batch size must be, where it does not divide into parts of enough photos; else empty.

        The network sees a process's share of a batch in `accumulate` parts.

        Args:
            processes: how many train together.
        """
        fewest = self.backbone.fewest_photos
        parts = processes * self.training.accumulate
        photos, rest = divmod(self.training.batch_size, parts)
        if not rest and photos >= fewest:
            return ""
        enough = f" of {fewest} or more photos, which batch normalisation needs" if fewest > 1 else ""
        return (
            f"must divide into {counted(processes, 'process')} x "
            f"{counted(self.training.accumulate, 'part')}{enough}: "
            f"{parts * max(fewest, photos)} does"
        )


def load_run_config(path: Path, overrides: list[str]) -> RunConfig:
    """A training run's YAML; see `load_config`."""
    return load_config(RunConfig, path, overrides)


def validate_run_config(settings: dict[str, Any], *, source: str) -> RunConfig:
    """A training run of plain settings; see `validate_config`."""
    return validate_config(RunConfig, settings, source=source)
