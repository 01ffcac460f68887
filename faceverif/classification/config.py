"""The YAML of a classification run: the pydantic models behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceverif.config.adversarial import PerturbedTrainingConfig
from faceverif.config.backbones import LastLayers
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.optimisation import OptimizerConfig, ScheduleConfig
from faceverif.config.paths import MustExist
from faceverif.config.section import Change, Count, Positive, Section, Seed, Share, broken_rule

DataName = Literal[
    "mnist", "fashion_mnist", "cifar10", "cifar100", "flowers102", "imagenet", "fer2013", "digits"
]
_NOT_FETCHED = ("digits", "imagenet", "fer2013")
_FETCHED = "Where there is a network, --set data.download=true fetches it"
_IDX_FILES = f"{_FETCHED}; or give a folder with train-images-idx3-ubyte and the other three idx files."
_PICTURES = f"{_FETCHED}; or give a folder or tar of train/CLASS/PICTURE and test/CLASS/PICTURE."
_WHERE_TO_GET = {
    "mnist": _IDX_FILES,
    "fashion_mnist": _IDX_FILES,
    "cifar10": _PICTURES,
    "cifar100": _PICTURES,
    "flowers102": f"{_FETCHED}, into flowers-102/ below the path.",
    "imagenet": "Register at image-net.org, and put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz into the folder.",
    "fer2013": "Download FER2013 (the challenge of 2013 on Kaggle), and give fer2013.csv or its folder.",
}


class ImageDataConfig(Section):
    """Which images, and what is done to the set before training.

    Attributes:
        name: the data set; digits are scikit-learn's 8 x 8 ones, which come with it.
        path: MNIST: a folder of the four idx files; CIFAR: a folder or tar of train/CLASS/PICTURE and
            test/CLASS/PICTURE, or a folder with such a tar; FER2013: fer2013.csv or its folder; any but these
            and digits: the `root` of torchvision's data set.
        download: let torchvision fetch what is missing into `path`.
        evaluate_on: the test set, or of FER2013 the validation set (its PublicTest).
        classes: number of classes to use, the first ones (W-Softmax, Table 5); null: all.
        label_noise: share of the training images that get another class, any with the same chance, before
            training (GSC, Table 2); what is evaluated keeps its labels.
        held_out: number of training images, evenly over the classes, that are kept out of training and
            evaluated instead of the test set, so that choices do not see it.
        limit: number of images to train on, evenly over the classes; null: all.
    """

    name: DataName
    path: Annotated[
        Annotated[Path, MustExist(unless="download", advice="where_to_get")] | None, Change.FREE
    ] = None
    download: Annotated[bool, Change.FREE] = False
    evaluate_on: Literal["test", "validation"] = "test"
    classes: Annotated[int, Field(ge=2)] | None = None
    label_noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    held_out: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> ImageDataConfig:
        if self.name != "digits" and self.path is None:
            raise ValueError("path must be given; only digits come without files")
        if self.evaluate_on != "test" and self.name != "fer2013":
            raise ValueError(f"evaluate_on must be test: {self.name} has no validation set")
        if self.download and self.name in _NOT_FETCHED:
            raise ValueError(f"download must be false: nobody can fetch {self.name}")
        return self

    @property
    def where_to_get(self) -> str:
        """How to come by the data set, and how its folder looks; empty for what needs no files."""
        return _WHERE_TO_GET.get(self.name, "")


class _NetworkSection(Section):
    """What all networks share."""

    @property
    def normed_embedding(self) -> bool:
        """Whether the embedding layer is followed by a batch normalisation."""
        return False

    @property
    def centred_embedding(self) -> bool:
        """Whether the embeddings of a batch add up to zero: behind that normalisation, without an offset."""
        return False


class SixConvConfig(_NetworkSection):
    """The six-convolution MNIST net of the center-loss, L-Softmax and L-GM papers.

    Attributes:
        embedding_dim: 2 to draw, 100 to compare in the L-GM paper.
        relu: a ReLU after the embedding layer, as in its 100-D experiments.
    """

    name: Literal["six_conv"]
    embedding_dim: Count
    relu: bool = False


class StridedConvConfig(_NetworkSection):
    """Two strided convolutions: a small net for adversarial training.

    Attributes:
        embedding_dim: units of the fully connected layer.
        width: channels of the first convolution; the second has twice as many.
        relu: a ReLU after the embedding layer, as in the paper.
    """

    name: Literal["strided_conv"]
    embedding_dim: Count = 100
    width: Count = 16
    relu: bool = True


class LeNet5Config(_NetworkSection):
    """LeNet-5 with ReLU and max pooling.

    Attributes:
        embedding_dim: units of its last hidden layer.
    """

    name: Literal["lenet5"]
    embedding_dim: Count = 84


class LSoftmaxNetConfig(_NetworkSection):
    """The VGG-like nets of the L-Softmax paper, as the W-Softmax paper uses them.

    Attributes:
        variant: which of the paper's three.
        embedding_dim: units of the fully connected layer; 256, 256 and 512 in the L-Softmax paper.
        last_layers: behind that layer. W-Softmax has PReLU and a batch normalisation there; without scale and
            offset (prelu_norm) its loss has no minimum that means nothing.
    """

    name: Literal["lsoftmax_net"]
    variant: Literal["mnist", "cifar10", "cifar100"]
    embedding_dim: Count = 256
    last_layers: LastLayers = "none"

    @property
    def normed_embedding(self) -> bool:
        """Where such layers were asked for."""
        return self.last_layers != "none"

    @property
    def centred_embedding(self) -> bool:
        """Of these layers, one kind has no offset."""
        return self.last_layers == "prelu_norm"


class _PooledSection(_NetworkSection):
    """Networks that end with pooling.

    Attributes:
        embedding_dim: of a layer after pooling; null: the pooled features are the embedding.
    """

    embedding_dim: Count | None = None


class CIFARResNetConfig(_PooledSection):
    """The residual nets made for CIFAR.

    Attributes:
        depth: 6n + 2; 22 is the 20 with its two projecting shortcuts counted.
    """

    name: Literal["cifar_resnet"]
    depth: Literal[20, 22, 56, 110]


class FERVGGConfig(_NetworkSection):
    """The VGG-like net of Khairuddin & Chen (2021) for FER2013.

    Attributes:
        embedding_dim: units of both fully connected layers.
        dropout: behind each of them.
    """

    name: Literal["fer_vgg"]
    embedding_dim: Count = 4096
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class VGG13Config(_PooledSection):
    """The 13-convolution net of the L-GM paper, with global average pooling."""

    name: Literal["vgg13"]


class AlexNetConfig(_PooledSection):
    """AlexNet for small images, without batch normalisation."""

    name: Literal["alexnet"]


class ConvMixerConfig(_PooledSection):
    """ConvMixer.

    Attributes:
        width: channels.
        depth: blocks.
        kernel_px: side of the depthwise convolutions.
        patch_px: side of a patch, which is also the stride.
    """

    name: Literal["convmixer"]
    width: Count = 256
    depth: Count = 8
    kernel_px: Count = 5
    patch_px: Count = 2


class GoogLeNetConfig(_PooledSection):
    """GoogLeNet without its auxiliary classifiers; on small images without the early strides."""

    name: Literal["googlenet"]


class ResNetConfig(_PooledSection):
    """ResNet-50 or ResNet-101, of bottleneck blocks; on small images without the early strides."""

    name: Literal["resnet50", "resnet101"]


NetworkConfig = Annotated[
    SixConvConfig
    | StridedConvConfig
    | LeNet5Config
    | LSoftmaxNetConfig
    | CIFARResNetConfig
    | VGG13Config
    | FERVGGConfig
    | AlexNetConfig
    | ConvMixerConfig
    | GoogLeNetConfig
    | ResNetConfig,
    Field(discriminator="name"),
]


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
            f"must divide into {processes} processes of 2 or more images, which batch normalisation needs: "
            f"{processes * max(2, images)} does"
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
