"""The center loss's likelihood: how far an embedding is from the center of its predicted class."""

from __future__ import annotations

from torch import Tensor

from data_prep.errors import InputError
from faceverif.penalties.center import Center
from robustness.attacked_model import AttackedModel
from robustness.detectors.base import Detector, elsewhere, half_squared_distances
from robustness.features import Features


class CenterLikelihood(Detector):
    """1/2 |x - c_zhat|^2, the center loss read as a likelihood: L-GM (Wan et al., 2018), Sec. 4.3, Lemma 1.

    The centers are those that the training has kept.

    Raises:
        InputError: the model was trained without center loss.
    """

    def __init__(self, model: AttackedModel) -> None:
        super().__init__(model)
        found = [penalty for penalty in model.objective.penalties if isinstance(penalty, Center)]
        if not found:
            raise InputError(
                "detector",
                "the center likelihood needs a model trained with the center penalty",
                got="no such penalty",
                fix="Use another detector, such as mahalanobis, or train with penalties: [{name: center}].",
            )
        self._penalty = found[0]

    def judge(self, features: Features) -> Tensor:
        """Half the squared distance."""
        centers = elsewhere(self._penalty.centers, features.embeddings)
        return half_squared_distances(features.embeddings, centers[features.predicted])
