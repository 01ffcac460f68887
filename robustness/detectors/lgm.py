"""L-GM's likelihood: how likely an embedding is under the Gaussians that the head has learnt."""

from __future__ import annotations

from torch import Tensor

from data_prep.errors import InputError
from faceverif.heads.lgm import LGMHead, log_densities
from robustness.attacked_model import AttackedModel
from robustness.detectors.base import Detector, elsewhere, half_squared_distances
from robustness.features import Features


class _Likelihood(Detector):
    def __init__(self, model: AttackedModel) -> None:
        super().__init__(model)
        if not isinstance(model.head, LGMHead):
            raise InputError(
                "detector",
                f"{type(self).__name__} needs a head that models a likelihood",
                got=type(model.head).__name__,
                fix="Use the lgm head, or another detector such as mahalanobis.",
            )
        self.head = model.head


class LGMClassLikelihood(_Likelihood):
    """1/2 |x - mu_zhat|^2: minus the log-likelihood of L-GM (Wan et al., 2018), Sec. 4.3.

    zhat is the predicted class. As in the paper the covariance is taken as the identity, also where the head
    has learnt another.
    """

    def judge(self, features: Features) -> Tensor:
        """Half the squared distance to the mean of the predicted class."""
        means = elsewhere(self.head.means, features.embeddings)
        return half_squared_distances(features.embeddings, means[features.predicted])


class LGMGaussianLikelihood(_Likelihood):
    """-log N(x; mu_zhat, var_zhat) up to a constant: Wan et al. (2018), Eq. 10, covariance as learnt.

    With a shared covariance it is, up to a constant, the Mahalanobis distance to the predicted class.
    """

    def judge(self, features: Features) -> Tensor:
        """Half the squared distance in units of the variance, and half the log determinant."""
        x, head = features.embeddings, self.head
        means, log_variances = (
            elsewhere(each, x)[features.predicted] for each in (head.means, head.log_variances)
        )
        whitening = None if head.whitening is None else elsewhere(head.whitening, x)
        return -log_densities(x, means, log_variances, whitening)


class LGMMixtureLikelihood(_Likelihood):
    """-log sum_k N(x; mu_k, var_k) up to a constant: Wan et al. (2018), Eq. 4 with equal priors."""

    def judge(self, features: Features) -> Tensor:
        """Minus the log of the summed densities; the margin-free logits are their logs."""
        return -features.logits.logsumexp(dim=1)
