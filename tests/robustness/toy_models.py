"""Models small enough to be attacked in milliseconds: an embedding is the brightness of three bands."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from faceverif.config.heads import LGMConfig, SoftmaxConfig
from faceverif.config.objective import ObjectiveConfig
from faceverif.config.penalties import CenterConfig, LikelihoodConfig
from faceverif.heads.lgm import LGMHead
from faceverif.heads.softmax import SoftmaxHead
from faceverif.objective import Objective
from faceverif.penalties.center import Center
from robustness.attacked_model import AttackedModel
from robustness.attacks.base import AttackResult
from robustness.attacks.carlini_wagner import CarliniWagner
from robustness.attacks.momentum import MomentumAscent
from robustness.attacks.pgd import PGD
from robustness.config.attack_section import Loss, MomentumSettings

CLASSES = 3
SHAPE = (1, 3, 6)
DARK, BRIGHT = 0.2, 0.8
# Length of an embedding's entry for a band that is all white.
SCALE = 6.0


class Bands(nn.Module):
    """Mean brightness of the left, middle and right third, times SCALE; counts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(SCALE))
        self.largest_batch = self.images = 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.images += len(pixels)
        self.largest_batch = max(self.largest_batch, len(pixels))
        return self.scale * pixels.unflatten(3, (CLASSES, -1)).mean(dim=(1, 2, 4))


def prototypes() -> Tensor:
    """(classes, dim) the embeddings of the images that a class varies around."""
    return SCALE * (DARK + (BRIGHT - DARK) * torch.eye(CLASSES))


def band_images(count: int, *, seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Images with one bright band, the class, and noise on every pixel; images and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    bands = DARK + (BRIGHT - DARK) * torch.eye(CLASSES)[labels]
    pixels = bands.repeat_interleave(SHAPE[2] // CLASSES, dim=1)[:, None, None, :].expand(-1, *SHAPE)
    return (pixels + noise * torch.randn(count, *SHAPE, generator=generator)).clamp(0, 1), labels


def lgm_model(*, covariance: str = "identity") -> AttackedModel:
    """An L-GM head whose means are where the classes are."""
    config = ObjectiveConfig(
        head=LGMConfig.model_validate({"name": "lgm", "alpha": 1.0, "covariance": covariance}),
        penalties=(LikelihoodConfig(name="likelihood", weight=0.1),),
    )
    model = AttackedModel(Bands(), Objective(config, classes=CLASSES, embedding_dim=CLASSES))
    assert isinstance(model.head, LGMHead)
    model.head.means.data = prototypes()
    if covariance != "identity":
        model.head.log_variances.data = torch.linspace(-1, 1, CLASSES).repeat(CLASSES, 1)
    return model.eval()


def softmax_model(*, sharpness: float = 1.0, center: bool = False) -> AttackedModel:
    """A linear classifier; the sharper, the more saturated its softmax."""
    penalties = (CenterConfig(name="center", weight=0.1),) if center else ()
    config = ObjectiveConfig(head=SoftmaxConfig(name="softmax"), penalties=penalties)
    model = AttackedModel(Bands(), Objective(config, classes=CLASSES, embedding_dim=CLASSES))
    assert isinstance(model.head, SoftmaxHead)
    model.head.weight.data = sharpness * torch.eye(CLASSES)
    for penalty in model.objective.penalties:
        assert isinstance(penalty, Center)
        penalty.centers = prototypes()
    return model.eval()


def success_rate(result: AttackResult) -> float:
    """Share of the initially correct images on which an attack succeeds."""
    return float(result.success.sum() / result.clean_correct.sum())


def pgd(*, steps: int, restarts: int = 1, loss: Loss = "cross_entropy", **own: Any) -> PGD:
    """PGD on the paper's loss, once."""
    return PGD(steps=steps, restarts=restarts, loss=loss, **own)


def momentum_ascent(*, steps: int, **options: Any) -> MomentumAscent:
    """MI-FGSM's ascent with the defaults of its section."""
    return MomentumAscent(steps=steps, **(MomentumSettings().model_dump() | options))


def carlini_wagner(*, steps: int, search_steps: int, step: float) -> CarliniWagner:
    """Carlini-Wagner that begins at a price of 1 and asks for no confidence."""
    return CarliniWagner(steps=steps, search_steps=search_steps, step=step, price=1.0, confidence=0.0)
