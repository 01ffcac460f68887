"""The backbone's section of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from faceverif.config.section import Count, Section


class _BackboneSection(Section):
    """Attributes: embedding_dim; input_px (side of the input); dropout before the embedding layer."""

    embedding_dim: Count = 512
    input_px: Annotated[int, Field(ge=32, le=512, multiple_of=8)] = 112
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class MobileFaceNetConfig(_BackboneSection):
    """MobileFaceNet."""

    name: Literal["mobilefacenet"]


class IResNetConfig(_BackboneSection):
    """The residual net of ArcFace.

    Attributes:
        depth: 18, 34, 50 or 100.
        width: channels of the stem, doubled from stage to stage; the paper's is 64.
        stem_stride: the paper's is 1; 2 quarters the work, for small machines.
    """

    name: Literal["iresnet"]
    depth: Literal[18, 34, 50, 100]
    width: Count = 64
    stem_stride: Literal[1, 2] = 1


class SphereFaceNetConfig(_BackboneSection):
    """The residual net of SphereFace; no batch normalisation."""

    name: Literal["sphereface"]
    depth: Literal[20, 36, 64]


class LGMResNetConfig(_BackboneSection):
    """The 27-convolution net of the L-GM and center-loss papers; no batch normalisation."""

    name: Literal["lgm_resnet"]


BackboneConfig = Annotated[
    MobileFaceNetConfig | IResNetConfig | SphereFaceNetConfig | LGMResNetConfig, Field(discriminator="name")
]
