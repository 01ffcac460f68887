"""The last normalisation of a backbone whose embeddings may become longer."""

from __future__ import annotations

from torch import nn


class LengtheningNorm(nn.BatchNorm1d):
    """Batch normalisation of embeddings with scale and offset, which weight decay does not spare.

    The lengths of the embeddings grow with the scale. MagFace's regulariser 35 g(a) alone is smallest at
    a = 110. With the decay of the authors, whose optimizer spares no parameter, a scale of norm a costs
    5e-4 / 2 a^2 more, and the sum is smallest at a = 39.
    """
