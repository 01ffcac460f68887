"""Where the classes of a data set lie in the space of embeddings, and how far their samples scatter."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ClassMoments:
    """Mean of every class, and one covariance for all of them.

    Attributes:
        means: (classes, dim) float64.
        within: (dim, dim) float64, mean of (x - mean)(x - mean)' over all samples, each about its class mean.
        samples: how many there are.
    """

    means: Tensor
    within: Tensor
    samples: int

    @classmethod
    def of(cls, embeddings: Tensor, labels: Tensor) -> ClassMoments:
        """The moments of a data set.

        Args:
            embeddings: (N, dim), raw.
            labels: (N,) int64; every class from 0 to the largest has a sample.
        """
        x = embeddings.detach().double()
        counts = labels.bincount()
        means = x.new_zeros(len(counts), x.shape[1]).index_add_(0, labels, x) / counts[:, None]
        about = x - means[labels]
        return cls(means, about.T @ about / len(x), len(x))
