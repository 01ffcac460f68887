"""The regulariser of MagFace: embeddings pulled to be long, where the head's margin asks more of them."""

from __future__ import annotations

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.heads.magface import MagFaceHead, MagnitudeRange
from faceverif.penalties.base import EmbeddedBatch, Penalty


def magnitude_penalty(norms: Tensor, *, magnitudes: MagnitudeRange) -> Tensor:
    """g(a) = a / u_a^2 + 1 / a.

    Meng et al., "MagFace" (2021), Sec. 3.2. It falls up to u_a, where its slope is zero. A length outside of
    [l_a, u_a] counts as the nearer end, as in the authors' code: such an embedding gets no gradient from it.
    So the range must hold the lengths that the backbone gives.

    Its weight is the paper's lambda_g, 35 there and in the authors' scripts. Their proof that a better
    embedding becomes longer needs at least s K u_a^2 l_a^2 / (u_a^2 - l_a^2), K = (u_m - l_m) / (u_a - l_a):
    22.6 with the paper's margins, range and s = 64.

    Args:
        norms: a, the lengths of the raw embeddings, (batch,).
        magnitudes: l_a and u_a.

    Returns:
        (batch,).
    """
    lengths = magnitudes.within(norms)
    return lengths / magnitudes.upper**2 + lengths.reciprocal()


class Magnitude(Penalty):
    """See `magnitude_penalty`; the range of lengths is that of the head."""

    sees_classes = False

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """(batch,).

        Raises:
            InputError: a head whose margin does not depend on the length.
        """
        if not isinstance(batch.head, MagFaceHead):
            raise InputError(
                "penalties.magnitude",
                "needs the magface head, whose range of lengths it takes",
                got=type(batch.head).__name__,
                fix="Use the magface head, or leave the penalty out.",
            )
        norms = torch.linalg.vector_norm(batch.embeddings, dim=1)
        return magnitude_penalty(norms, magnitudes=batch.head.magnitudes)
