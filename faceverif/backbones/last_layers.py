"""What stands behind the fully connected layer of a plain net, so that its embeddings are centred."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from faceverif.config.backbones import LastLayers


def last_layers(kind: LastLayers, width: int) -> list[nn.Module]:
    """The layers behind a fully connected layer, for embeddings of (batch, width).

    Li & Wang (2020), Sec. 5.1, normalise batches after PReLU. Without an offset the mean embedding of a batch
    is zero, so its products with a class weight add up to zero and cannot all be negative: this closes
    W-Softmax's second minimum (see `faceverif.heads.wsoftmax`). An offset opens it again.

    Args:
        kind: see `LastLayers`.
        width: length of an embedding.
    """
    if kind == "none":
        return []
    if kind == "norm_relu":
        return [nn.BatchNorm1d(width), nn.ReLU()]
    norm = nn.BatchNorm1d(width, affine=kind != "prelu_norm")
    if kind == "prelu_offset_norm":
        norm.weight.requires_grad_(False)  # stays 1
    return [nn.PReLU(width), norm]
