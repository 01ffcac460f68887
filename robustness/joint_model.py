"""Several models as one: an attack on it pursues what fools all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceverif.heads import Head, HeadOutput
from robustness.attacked_model import AttackedModel
from robustness.no_head import NoObjective


def joint_classifier(models: Sequence[AttackedModel]) -> AttackedModel:
    """A classifier whose logits are the mean of those of several models of the same classes.

    The "ensemble in logits" of Dong et al., "Boosting Adversarial Attacks with Momentum" (2018), with equal
    weights. A single model stays as it is.

    Args:
        models: one or more, in evaluation mode, of the same images and classes.
    """
    if len(models) == 1:
        return models[0]
    objective = NoObjective(embedding_dim=0)
    objective.head = _MeanLogits([model.head for model in models])
    return AttackedModel(_Beside([model.network for model in models]), objective.eval()).eval()


def joint_verifier(models: Sequence[AttackedModel]) -> AttackedModel:
    """A face model without a head, whose cosine of two photos is the mean of the cosines of several models.

    Args:
        models: one or more, in evaluation mode, of the same crops.
    """
    if len(models) == 1:
        return models[0]
    network = joint_network([model.network for model in models])
    return AttackedModel(network, NoObjective(embedding_dim=0).eval()).eval()


def joint_network(networks: Sequence[nn.Module]) -> nn.Module:
    """The network of `joint_verifier`: unit embeddings side by side.

    Args:
        networks: (batch, C, H, W) in [0, 1] -> (batch, dim) raw embeddings; in evaluation mode.
    """
    return networks[0] if len(networks) == 1 else _Beside(networks, unit=True).eval()


class _Beside(nn.Module):
    """The embeddings of several networks side by side, (batch, sum of dims).

    Args:
        networks: of the same images.
        unit: bring each embedding to length 1 first.
    """

    def __init__(self, networks: Sequence[nn.Module], *, unit: bool = False) -> None:
        super().__init__()
        self.networks, self._unit = nn.ModuleList(networks), unit

    def forward(self, pixels: Tensor) -> Tensor:
        parts = [network(pixels) for network in self.networks]
        return torch.cat([F.normalize(part) for part in parts] if self._unit else parts, dim=1)


class _MeanLogits(Head):
    """The mean of what each head says of its own part of an embedding."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__(classes=heads[0].classes, embedding_dim=sum(head.embedding_dim for head in heads))
        self.heads = nn.ModuleList(heads)  # so that they move to another device with the whole
        self._own = tuple(heads)
        self._dims = [head.embedding_dim for head in heads]

    def compare(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Without a margin: nothing is trained."""
        logits = self.compare_plainly(embeddings)
        return HeadOutput(logits, lambda: logits)

    def compare_plainly(self, embeddings: Tensor) -> Tensor:
        """(batch, classes)."""
        parts = embeddings.split(self._dims, dim=1)
        return torch.stack([head.logits(part) for head, part in zip(self._own, parts, strict=True)]).mean(
            dim=0
        )

    def centres(self) -> Tensor:
        """Those of the heads side by side."""
        return torch.cat([head.centres() for head in self._own], dim=1)
