"""A model that learns from the worst that interval bounds allow, so that little is left of it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.errors import InputError
from faceverif.config.adversarial import AdversarialConfig
from faceverif.images.labelled import as_pixels
from faceverif.models.model_file import evaluating
from faceverif.objective import LearningModel, ObjectiveOutput
from faceverif.perturbation.intervals import Unbounded, around, least_margins

# Of the paper: weight of the worst case once the whole epsilon is in force; the rest is of the clean picture.
_WORST_CASE = 0.5


class BoundedModel(nn.Module):
    """The objective on clean pictures, and the cross entropy of the worst logits within bounds.

    Gowal et al., "On the Effectiveness of Interval Bound Propagation" (2018), Eqs. 9 to 12. The bounds are of
    the model in evaluation mode, in which it will be certified.

    Args:
        model: what is trained.
        config: epsilon.
    """

    def __init__(self, model: LearningModel, config: AdversarialConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, pictures: Tensor, labels: Tensor, share: float) -> ObjectiveOutput:
        """Loss, and the logits of the clean pictures.

        Args:
            pictures: (batch, C, H, W) uint8.
            labels: (batch,) int64.
            share: of epsilon that is in force; 0: a plain step. The weight of the worst case grows with it.

        Raises:
            InputError: a layer or head without bounds.
        """
        output = self.model(pictures, labels)
        if share == 0:
            return output
        weight = _WORST_CASE * share
        worst = self._worst_case(as_pixels(pictures), labels, epsilon=share * self.config.epsilon)
        return output._replace(loss=(1 - weight) * output.loss + weight * worst)

    def _worst_case(self, pixels: Tensor, labels: Tensor, *, epsilon: float) -> Tensor:
        """Mean cross entropy where every other logit exceeds the true one by as much as bounds allow."""
        model = self.model
        try:
            with evaluating(model):
                margins = least_margins(
                    model.layers, model.objective.head, around(pixels, epsilon=epsilon), labels
                )
        except Unbounded as error:
            fix = "Use attack: pgd, or another network or head."
            raise InputError(
                "training.adversarial.attack", f"ibp: the model {error.rule}", got=error.got, fix=fix
            ) from error
        return F.cross_entropy(-margins, labels)
