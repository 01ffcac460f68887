"""The contract of a detector: fit on clean features, then a score, higher = more adversarial."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor

from data_prep.errors import InputError
from robustness.attacked_model import AttackedModel
from robustness.detectors.views import View
from robustness.features import Features


class Detector(ABC):
    """Tells attacked from clean inputs by what a model makes of them.

    It is fitted on clean data only and never sees an attack. A new detector is a file with a subclass and a
    line in the registry of `robustness.detectors`.

    Args:
        model: whose features it will see; some detectors read their parameters from it.

    Attributes:
        differentiable: whether gradients flow from the scores to the features, for `Adaptive`.
        learnt: names of the tensors that `learn` sets.
        views: name -> changed versions of a picture that it needs the model's answers to, in the features.
        needs_classes: whether it looks at logits or at what a head has learnt.

    Raises:
        InputError: it needs classes, and the model has none.
    """

    differentiable: ClassVar[bool] = True
    learnt: ClassVar[tuple[str, ...]] = ()
    views: ClassVar[Mapping[str, View]] = {}
    needs_classes: ClassVar[bool] = True

    def __init__(self, model: AttackedModel) -> None:
        if self.needs_classes and not model.head.classes:
            raise InputError(
                "detector",
                f"{type(self).__name__} needs a model with a head, whose classes it looks at",
                got="an imported model without a head",
                fix="Use mahalanobis or knn, or fit a head first: faceverif fit-head.",
            )
        self.embedding_dim, self.classes = model.head.embedding_dim, model.head.classes
        self._fitted = False

    def fit(self, clean: Features) -> Self:
        """Learn what clean features look like; some detectors learn nothing.

        Args:
            clean: of images that were not attacked, neither those of the calibration nor of the evaluation.

        Raises:
            InputError: too few of them, of another model, or not finite.
        """
        self._refuse_foreign(clean)
        if not (clean.embeddings.isfinite().all() and clean.logits.isfinite().all()):
            raise InputError(
                "clean", "features must be finite", got="NaN or infinity", fix="Check the model's weights."
            )
        self.learn(clean)
        self._fitted = True
        return self

    def score(self, features: Features) -> Tensor:
        """How adversarial each looks, (N,), on the features' device; its unit is the detector's own.

        Raises:
            InputError: the detector is not fitted, or the features are of another model or lack views.
        """
        self.refuse_unfitted()
        self._refuse_foreign(features)
        if missing := sorted(self.views.keys() - features.views.keys()):
            raise InputError(
                "features",
                f"must hold the views that {type(self).__name__} compares",
                got=f"none of {', '.join(missing)}",
                fix="Extract them with views=detector.views.",
            )
        return self.judge(features)

    def state(self) -> dict[str, Tensor]:
        """What it has learnt; `restore` takes it back."""
        return {name: getattr(self, name) for name in self.learnt}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take over the state of a fitted detector.

        Raises:
            KeyError: the state lacks something.
        """
        for name in self.learnt:
            setattr(self, name, state[name])
        self._fitted = True
        return self

    def learn(self, clean: Features) -> None:  # noqa: B027 - some detectors learn nothing
        """`fit`, on checked features."""

    @abstractmethod
    def judge(self, features: Features) -> Tensor:
        """`score`, of a fitted detector on checked features."""

    def refuse_unfitted(self) -> None:
        """Stop a detector that was not fitted.

        Raises:
            InputError: it was not.
        """
        if not self._fitted:
            raise InputError(
                "detector",
                "must be fitted before it scores",
                got=f"{type(self).__name__}, not fitted",
                fix="Call fit with features of clean images.",
            )

    def refuse_unattackable(self) -> None:
        """Stop an attack that follows the scores before it starts.

        Raises:
            InputError: the detector is not fitted, or its scores have no gradients.
        """
        self.refuse_unfitted()
        if not self.differentiable:
            raise InputError(
                "detector",
                "must give its scores gradients to be attacked adaptively",
                got=type(self).__name__,
                fix="Attack it by transfer from another detector.",
            )

    def _refuse_foreign(self, features: Features) -> None:
        count = len(features.labels)
        wanted = (count, self.embedding_dim), (count, self.classes)
        got = tuple(features.embeddings.shape), tuple(features.logits.shape)
        if wanted != got or not count:
            raise InputError(
                "features",
                f"must be (N, {self.embedding_dim}) embeddings and (N, {self.classes}) logits, N >= 1",
                got=f"{got[0]} and {got[1]}",
                fix="Extract them with the model that the detector was built for.",
            )


def half_squared_distances(embeddings: Tensor, centers: Tensor) -> Tensor:
    """1/2 |x - c|^2 of each embedding and its own center, from plain differences.

    Args:
        embeddings: (N, dim).
        centers: (N, dim).

    Returns:
        (N,).
    """
    return 0.5 * (embeddings - centers).square().sum(dim=1)


def elsewhere(tensor: Tensor, like: Tensor) -> Tensor:
    """The same numbers without a gradient, on the device and in the type of another tensor."""
    return tensor.detach().to(device=like.device, dtype=like.dtype)
