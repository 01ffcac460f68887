"""Square: random squares, kept where they help; sees logits only, no gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import Watched
from robustness.attacks.base import Attack
from robustness.attacks.goal import Goal
from robustness.attacks.traits import Traits
from robustness.config.attacks import SquareConfig
from robustness.queries import Answer

# Shares of all queries after which the squares' area is halved: Andriushchenko et al. (2020), Sec. 5.
_HALVED_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_AREA = 0.8  # share of the image that the first squares cover


class Square(Attack):
    """Andriushchenko et al., "Square Attack" (2020), Algorithms 1 and 2. foolbox has none.

    See `search_with_squares`; the margin in logits is what it reduces.

    Args:
        queries: forward passes per image, at most.
    """

    section = SquareConfig
    traits = Traits(follows_gradients=False, many_steps=True)
    norms = SquareConfig.norms()

    def __init__(self, *, queries: int) -> None:
        self.queries = queries

    def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
        """The best found."""

        def margin(versions: Tensor, which: Tensor) -> Tensor:
            return goal.take(which).margin(model(versions))

        ask = model.queries.limited(margin, images=len(images), budget=self.queries)
        return search_with_squares(ask, images, threat=threat, queries=self.queries)


def search_with_squares(margin: Answer, images: Tensor, *, threat: ThreatModel, queries: int) -> Tensor:
    """Start with vertical stripes of +-epsilon, then set squares to +-epsilon, one sign per channel.

    Those that reduce the margin are kept. Images whose goal is reached are left alone.

    Args:
        margin: versions of some images, and which -> (n,) what is reduced, below 0 where the goal is reached.
        images: (batch, C, H, W).
        threat: linf.
        queries: about each image, at most.

    Returns:
        (batch, C, H, W), the best found.
    """
    batch, channels, _, width = images.shape
    stripes = threat.epsilon * _signs(batch, channels, 1, width, like=images)
    best = (images + stripes).clamp(*threat.bounds)
    lowest = margin(best, torch.arange(batch, device=images.device))
    for query in range(1, queries):
        left = (lowest >= 0).nonzero().squeeze(1)
        if not len(left):
            break
        side = _side_px(query / queries, images)
        tried = _with_squares(best[left], images[left], side_px=side, threat=threat)
        found = margin(tried, left)
        better = found < lowest[left]
        best[left[better]], lowest[left[better]] = tried[better], found[better]
    return best


def _side_px(progress: float, images: Tensor) -> int:
    height, width = images.shape[2:]
    halvings = sum(progress > share for share in _HALVED_AT)
    side = round((_AREA / 2**halvings * height * width) ** 0.5)
    return min(max(side, 1), height, width)


def _with_squares(best: Tensor, clean: Tensor, *, side_px: int, threat: ThreatModel) -> Tensor:
    """The images with one new square each."""
    batch, channels, height, width = best.shape
    top, left = (
        torch.randint(extent - side_px + 1, (batch, 1)).to(best.device) for extent in (height, width)
    )
    rows, columns = (torch.arange(extent, device=best.device) for extent in (height, width))
    in_rows = (rows >= top) & (rows < top + side_px)
    in_columns = (columns >= left) & (columns < left + side_px)
    inside = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    changed = (clean + threat.epsilon * _signs(batch, channels, 1, 1, like=best)).clamp(*threat.bounds)
    return torch.where(inside, changed, best)


def _signs(*shape: int, like: Tensor) -> Tensor:
    return torch.randint(2, shape).to(like) * 2 - 1
