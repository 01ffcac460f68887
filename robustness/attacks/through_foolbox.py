"""Our models and goals as foolbox knows them; the one place that imports it."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

with warnings.catch_warnings():
    # foolbox 3.3.4 imports scipy.ndimage.filters, a name that scipy has retired.
    warnings.simplefilter("ignore", DeprecationWarning)
    import foolbox
    from foolbox import attacks as foolbox_attacks

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel, device_of
from robustness.attacks.goal import Goal


def run_foolbox(attack: Any, model: AttackedModel, images: Tensor, goal: Goal, **budget: float) -> Tensor:
    """The images as an attack of foolbox leaves them.

    Args:
        attack: one of `foolbox_attacks`.
        model: what is attacked.
        images: (batch, C, H, W) in [0, 1].
        goal: of this batch.
        budget: epsilon for attacks within a ball, early_stop for those that look for the smallest change.
    """
    known = foolbox.PyTorchModel(model, bounds=ThreatModel.bounds, device=device_of(model))
    if goal.targets is None:
        return attack.run(known, images, foolbox.Misclassification(goal.labels), **budget)
    return attack.run(known, images, foolbox.TargetedMisclassification(goal.targets), **budget)


__all__ = ["foolbox_attacks", "run_foolbox"]
