"""The backbone's section of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from faceverif.config.paths import ImportedPath
from faceverif.config.section import Count, Positive, Section

PixelValues = tuple[float, float, float]

# Behind the fully connected layer of a net that ends with one: nothing; PReLU and a batch normalisation
# without scale and offset, with both, or with an offset alone; a batch normalisation with both and ReLU.
LastLayers = Literal["none", "prelu_norm", "prelu_affine_norm", "prelu_offset_norm", "norm_relu"]


class EmbeddingSection(Section):
    """What is known of a network's last layer, of faces or of images."""

    @property
    def normed_embedding(self) -> bool:
        """Whether the embedding layer is followed by a batch normalisation."""
        return False

    @property
    def centred_embedding(self) -> bool:
        """Whether the embeddings of a batch add up to zero: behind that normalisation, without an offset."""
        return False


class _FaceEmbeddingSection(EmbeddingSection):
    """What all backbones share.

    Attributes:
        embedding_dim: length of an embedding.
        input_px: side of the input.
        pixel_mean: what is subtracted from red, green and blue, which lie in [0, 1]; imported models bring
            their own.
        pixel_std: what the differences are divided by; imported models bring their own.
    """

    embedding_dim: Count = 512
    input_px: Annotated[int, Field(ge=32, le=512, multiple_of=8)] = 112
    pixel_mean: PixelValues = (0.5, 0.5, 0.5)
    pixel_std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)

    @property
    def mean_square(self) -> int | None:
        """Of the embeddings' lengths in training, where the last layer fixes it; else null."""
        return None

    @property
    def fewest_photos(self) -> int:
        """In a training step: batch normalisation of an embedding needs two."""
        return 2 if self.normed_embedding else 1


class _BackboneSection(_FaceEmbeddingSection):
    """What the networks of this project share.

    Attributes:
        dropout: before the embedding layer.
    """

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class _NormedSection(_BackboneSection):
    """A backbone that ends with a batch normalisation."""

    @property
    def normed_embedding(self) -> bool:
        """It is."""
        return True


class MobileFaceNetConfig(_NormedSection):
    """MobileFaceNet.

    Attributes:
        channel_scale: of the channels between the blocks; the paper's is 1, InsightFace's 2.
        expand: whether a block's expansion factor multiplies its `output` or its `input` channels; the latter
            in MobileNetV2 and InsightFace.
    """

    name: Literal["mobilefacenet"]
    channel_scale: Literal[1, 2] = 1
    expand: Literal["output", "input"] = "output"


class IResNetConfig(_NormedSection):
    """The residual net of ArcFace.

    Attributes:
        depth: 18, 34, 50, 100 or 200.
        width: channels of the stem, doubled from stage to stage; the paper's is 64. With fewer than 8,
            PyTorch's backward pass of a 1 x 1 convolution of stride 2 crashes on a CPU (channels last).
        stem_stride: the paper's is 1; 2 quarters the work, for small machines.
        shortcut: of a block that halves the features but keeps their channels: `convolution` as in
            InsightFace, or `subsampling` as in AdaFace and CVLface.
        last_norm: the batch normalisation of the embedding: `plain`, or `affine` with scale and offset, for
            the magface head, which needs embeddings that may become longer. Weight decay does not spare them.
    """

    name: Literal["iresnet"]
    depth: Literal[18, 34, 50, 100, 200]
    width: Annotated[int, Field(ge=8, lt=2**31)] = 64
    stem_stride: Literal[1, 2] = 1
    shortcut: Literal["convolution", "subsampling"] = "convolution"
    last_norm: Literal["plain", "affine"] = "plain"

    @property
    def centred_embedding(self) -> bool:
        """Without an offset they do."""
        return self.last_norm == "plain"

    @property
    def mean_square(self) -> int | None:
        """Without a scale each number of an embedding has the mean square 1."""
        return self.embedding_dim if self.last_norm == "plain" else None


class _LastLayersSection(_BackboneSection):
    """A backbone that ends with a fully connected layer.

    Attributes:
        last_layers: behind that layer; W-Softmax needs prelu_norm.
    """

    last_layers: LastLayers = "none"

    @property
    def normed_embedding(self) -> bool:
        """Where such layers were asked for."""
        return self.last_layers != "none"

    @property
    def centred_embedding(self) -> bool:
        """Of these layers, one kind has no offset."""
        return self.last_layers == "prelu_norm"

    @property
    def mean_square(self) -> int | None:
        """Without scale and offset each number of an embedding has the mean square 1."""
        return self.embedding_dim if self.last_layers == "prelu_norm" else None


class SphereFaceNetConfig(_LastLayersSection):
    """The residual net of SphereFace; no batch normalisation in its trunk.

    Attributes:
        depth: number of layers.
    """

    name: Literal["sphereface"]
    depth: Literal[20, 36, 64]


class LSoftmaxFaceConfig(_LastLayersSection):
    """The plain net of 17 convolutions of the L-Softmax and W-Softmax papers."""

    name: Literal["lsoftmax_face"]


class LGMResNetConfig(_BackboneSection):
    """The 27-convolution net of the L-GM and center-loss papers; no batch normalisation."""

    name: Literal["lgm_resnet"]


class InceptionResNetV1Config(_NormedSection):
    """The net of facenet-pytorch; its input is 160 pixels wide there."""

    name: Literal["inception_resnet_v1"]
    input_px: Annotated[int, Field(ge=80, le=512, multiple_of=8)] = 160


class ViTConfig(_NormedSection):
    """A vision transformer with patches of 8 pixels, by timm.

    Attributes:
        size: tiny, small or base; 22, 96 or 115 million parameters at 112 pixels.
        drop_path: share of the samples for which training skips the last block; smaller for earlier blocks.
    """

    name: Literal["vit"]
    size: Literal["tiny", "small", "base"] = "tiny"
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1


class OnnxConfig(_FaceEmbeddingSection):
    """The graph of an imported ONNX file. `faceverif import` prints this section.

    Attributes:
        input_px: side of the graph's input, whatever it is.
        model: folder of the imported model. A model file needs none: it holds its graph.
    """

    name: Literal["onnx"]
    input_px: Count = 112
    model: ImportedPath | None = None

    @property
    def fewest_photos(self) -> int:
        """Its graph may end with a batch normalisation."""
        return 2


BackboneConfig = Annotated[
    MobileFaceNetConfig
    | IResNetConfig
    | SphereFaceNetConfig
    | LSoftmaxFaceConfig
    | LGMResNetConfig
    | InceptionResNetV1Config
    | ViTConfig
    | OnnxConfig,
    Field(discriminator="name"),
]
