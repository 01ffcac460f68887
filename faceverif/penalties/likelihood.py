"""The likelihood term of L-GM: embeddings pulled to where their own class's Gaussian is dense."""

from __future__ import annotations

from torch import Tensor

from data_prep.errors import InputError
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
        if batch.output.own_log_density is None:
            raise InputError(
                "penalties.likelihood",
                "needs a head that models densities",
                got=type(batch.head).__name__,
                fix="Use the lgm head; the center penalty is for the others.",
            )
        return -batch.output.own_log_density
