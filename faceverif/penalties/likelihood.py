"""The likelihood term of L-GM: embeddings pulled to where their own class's Gaussian is dense."""

from __future__ import annotations

from torch import Tensor

from data_prep.errors import InputError
from faceverif.heads import Head, HeadOutput
from faceverif.heads.sharding import ShardedOutput
from faceverif.penalties.base import EmbeddedBatch, Penalty


class Likelihood(Penalty):
    """d_y + 1/2 log |var_y|, what Eq. 17 of Wan et al. (2018) multiplies with lambda.

    The negative log density of Eq. 10 without dim / 2 log(2 pi). With identity covariance it is the center
    loss of the head's own means (Lemma 1).
    """

    def forward(self, batch: EmbeddedBatch) -> Tensor:
        """(batch,).

        Raises:
            InputError: a head that models no densities.
        """
        return _surprise(batch.output, batch.head)

    def of_shards(self, output: ShardedOutput, head: Head) -> Tensor:
        """(batch,); see `forward`."""
        return _surprise(output, head)


def _surprise(output: HeadOutput, head: Head) -> Tensor:
    if output.own_log_density is None:
        raise InputError(
            "penalties.likelihood",
            "needs a head that models densities",
            got=type(head).__name__,
            fix="Use the lgm head; the center penalty is for the others.",
        )
    return -output.own_log_density
