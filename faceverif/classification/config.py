"""The YAML of a classification run: the pydantic models behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from data_prep.counted import counted
from faceverif.classification.data_section import ImageDataConfig
from faceverif.classification.network_sections import NetworkConfig
from faceverif.config.adversarial import PerturbedTrainingConfig
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.optimisation import OptimizerConfig, ScheduleConfig
from faceverif.config.paths import MustExist
from faceverif.config.section import Change, Count, Positive, Section, Seed, Share, broken_rule


class ImageAugmentationConfig(Section):
    """What happens to a training image; all off unless written.

    Attributes:
        flip: chance of a mirrored image.
        crop_padding_px: black pixels added on each side before a random crop of the old size; 4 on CIFAR.
        smallest_crop: smallest share of the area that a random part has before it is scaled up again; 0.08 on
            ImageNet, here of the central square, as which photos are read. null: the whole image.
        cutout_px: side of a square that is erased (CutOut); 0: none.
    """

    flip: Share = 0.0
    crop_padding_px: Annotated[int, Field(ge=0)] = 0
    smallest_crop: Annotated[float, Field(gt=0, le=1)] | None = None
    cutout_px: Annotated[int, Field(ge=0)] = 0


class ClassifierTrainingConfig(PerturbedTrainingConfig):
    """How long and in which portions.

    Attributes:
        epochs: passes over the images. Images beyond the last whole batch sit out, others in every epoch.
        batch_size: images per optimizer step.
        precision: 32-true, or bf16-mixed where the machine has bfloat16 units; evaluation is in float32.
        compile: let torch.compile write the network's kernels, and on a GPU record them as CUDA graphs. That
            takes minutes at the start and needs a C++ compiler; where it fails, a warning says so, and the
            steps run as written. Small networks on a GPU should gain most.
        clip_norm: longest gradient (network and head together); null: no limit.
        test_crops: 10: also measure errors over ten crops, the corners and the centre, each mirrored too
            (ImageNet only).
        evaluate_every_epochs: how often the error is measured; after the last epoch it always is.
        start_from: a finished run whose network is refined; also its class centres, where the head has such
            and the classes are the same (W-Softmax: softmax first); null: from scratch.
    """

    epochs: Annotated[Count, Change.LATER]
    batch_size: Annotated[int, Field(ge=2)] = 128
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: Annotated[bool, Change.FREE] = False
    clip_norm: Positive | None = None
    test_crops: Literal[1, 10] = 1
    evaluate_every_epochs: Annotated[Count, Change.FREE] = 1
    start_from: Annotated[Annotated[Path, MustExist("faceverif classify")] | None, Change.FREE] = None


class ClassificationConfig(ObjectiveConfig):
    """A classification run: an objective, and everything around it.

    Attributes:
        seed: of every random draw; the same seed gives the same run.
        data: what is trained on.
        network: the network from images to embeddings.
        optimizer: how the weights move along the gradients.
        schedule: how learning rate and margin change over the epochs.
        augmentation: what happens to an image before the network sees it.
        training: how long, and in which portions.
    """

    seed: Seed = 0
    data: ImageDataConfig
    network: NetworkConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    augmentation: ImageAugmentationConfig = ImageAugmentationConfig()
    training: ClassifierTrainingConfig

    def refusal_of_parts(self, *, processes: int) -> str:
        """What the batch size must be, where it does not divide into shares of two images; else empty.

        Args:
            processes: how many train together.
        """
        images, rest = divmod(self.training.batch_size, processes)
        if not rest and images >= 2:
            return ""
        return (
            f"must divide into {counted(processes, 'process')} of 2 or more images, which batch "
            f"normalisation needs: {processes * max(2, images)} does"
        )

    @model_validator(mode="after")
    def _ten_crops_have_room(self) -> ClassificationConfig:
        if self.training.test_crops != 1 and self.data.name != "imagenet":
            rule = "must be 1: images of this set are read at the size that the network takes"
            raise broken_rule("training.test_crops", rule, got=f"10 on {self.data.name}")
        return self

    @model_validator(mode="after")
    def _means_are_random(self) -> ClassificationConfig:
        if self.starts_from_data:
            rule = "must be random: from_data is for face runs, which start from a trained backbone"
            raise broken_rule("head.means", rule, got="from_data")
        return self

    @model_validator(mode="after")
    def _images_have_no_teacher(self) -> ClassificationConfig:
        for place, penalty in enumerate(self.penalties):
            if penalty.name == "distill":
                rule = "must be another one: only `faceverif train` knows teachers"
                raise broken_rule(f"penalties.{place}.name", rule, got="distill")
        return self
