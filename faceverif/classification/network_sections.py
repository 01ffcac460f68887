"""The section `network` of a classification run: one class per network that it may name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from faceverif.config.backbones import EmbeddingSection, LastLayers
from faceverif.config.section import Count


class SixConvConfig(EmbeddingSection):
    """The six-convolution MNIST net of the center-loss, L-Softmax and L-GM papers.

    Attributes:
        embedding_dim: 2 to draw, 100 to compare in the L-GM paper.
        relu: a ReLU after the embedding layer, as in its 100-D experiments.
    """

    name: Literal["six_conv"]
    embedding_dim: Count
    relu: bool = False


class StridedConvConfig(EmbeddingSection):
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


class LeNet5Config(EmbeddingSection):
    """LeNet-5 with ReLU and max pooling.

    Attributes:
        embedding_dim: units of its last hidden layer.
    """

    name: Literal["lenet5"]
    embedding_dim: Count = 84


class LSoftmaxNetConfig(EmbeddingSection):
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


class _PooledSection(EmbeddingSection):
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


class FERVGGConfig(EmbeddingSection):
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
