"""Randomised smoothing: decisions under Gaussian noise, and the l2 radius within which they hold.

All bounds are exact for binomial counts; nothing is known of the network but its answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor

from data_prep.errors import InputError

# Class -1: the counts do not allow a decision at the confidence asked for.
ABSTAIN = -1
_PORTION = 500  # noisy versions at once


@dataclass(frozen=True)
class Certificate:
    """A decision under noise.

    Attributes:
        decision: class, or 1 and 0 for the same and another person; ABSTAIN.
        radius: l2, for pixels in [0, 1]: no change up to it alters the decision; 0 with ABSTAIN.
    """

    decision: int
    radius: float


def lower_bound(hits: int, samples: int, *, error: float) -> float:
    """The exact (Clopper-Pearson) lower bound of a probability.

    Args:
        hits: how often it happened.
        samples: of how many.
        error: chance that the bound is above the probability, in (0, 1).
    """
    return 0.0 if hits == 0 else float(stats.beta.ppf(error, hits, samples - hits + 1))


def certified(decision: int, hits: int, samples: int, *, sd: float, error: float) -> Certificate:
    """The radius of a decision that was chosen beforehand: sd Phi^-1(p), Cohen et al. (2019), Theorem 1.

    Args:
        decision: what is certified; it must not come from the counted samples.
        hits: samples that agree with it.
        samples: how many were counted.
        sd: standard deviation of the noise, for pixels in [0, 1].
        error: chance that the certificate is wrong.
    """
    least = lower_bound(hits, samples, error=error)
    if least <= 0.5:
        return Certificate(ABSTAIN, 0.0)
    return Certificate(decision, sd * float(stats.norm.ppf(least)))


def largest_radius(samples: int, *, sd: float, error: float) -> float:
    """That of a decision with which every noisy version agrees: more samples allow a larger one.

    Args:
        samples, sd, error: as for `certified`.
    """
    return certified(0, samples, samples, sd=sd, error=error).radius


def certify_class(
    logits: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    sd: float,
    samples: int,
    selection: int,
    error: float,
    generator: torch.Generator,
) -> Certificate:
    """CERTIFY of Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing" (2019), Sec. 3.2.

    Args:
        logits: (batch, C, H, W) -> (batch, classes); the largest is the answer.
        image: (C, H, W) in [0, 1].
        sd: standard deviation of the noise.
        samples: noisy versions that are counted.
        selection: other noisy versions, which choose the class.
        error: chance that the certificate is wrong.
        generator: of the noise, on the CPU.

    Raises:
        InputError: a logit is not finite.
    """

    def classes(count: int) -> Tensor:
        return answers(logits, image, sd=sd, samples=count, generator=generator).argmax(dim=1)

    chosen = int(classes(selection).mode().values)
    counted = classes(samples)
    return certified(chosen, int((counted == chosen).sum()), samples, sd=sd, error=error)


def certify_pair(
    similarity: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    threshold: float,
    sd: float,
    samples: int,
    error: float,
    generator: torch.Generator,
) -> Certificate:
    """Whether the median similarity under noise accepts a pair, and how far the changed photo may move.

    Median smoothing after Chiang et al., "Detection as Regression: Certified Object Detection by Median
    Smoothing" (2020). The median is on one side of the threshold where half of the similarities are, so the
    bound of a quantile becomes a bound on the share of that side. The samples also choose the side; each
    side has half of the error.

    Args:
        similarity: (batch, 3, H, W) -> (batch,) similarity to the other photo.
        image: (3, H, W) in [0, 1], the photo that an attack may change.
        threshold: accepted from here on.
        sd: standard deviation of the noise.
        samples: noisy versions.
        error: chance that the certificate is wrong.
        generator: of the noise, on the CPU.

    Returns:
        Decision 1: the same person; 0: another.

    Raises:
        InputError: a similarity is not finite.
    """
    found = answers(similarity, image, sd=sd, samples=samples, generator=generator)
    above = int((found >= threshold).sum())
    decision, hits = (1, above) if 2 * above >= samples else (0, samples - above)
    return certified(decision, hits, samples, sd=sd, error=error / 2)


@torch.no_grad()
def answers(
    asked: Callable[[Tensor], Tensor], image: Tensor, *, sd: float, samples: int, generator: torch.Generator
) -> Tensor:
    """What a function says of noisy versions of an image, (samples, ...) on the CPU.

    Raises:
        InputError: an answer is not finite. NaN is below every threshold, and the first NaN is taken for the
            largest logit: it would count as a decision that never changes.
    """
    found = []
    for start in range(0, samples, _PORTION):
        noise = torch.randn(min(_PORTION, samples - start), *image.shape, generator=generator)
        found.append(asked(image + sd * noise).cpu())
    said = torch.cat(found)
    finite = said.reshape(samples, -1).isfinite().all(dim=1)
    if not finite.all():
        raise InputError(
            "--model",
            "must answer with finite numbers, also under noise",
            got=f"NaN or infinity for {int((~finite).sum()):,} of {samples:,} noisy versions of a picture",
            fix="A training that diverged leaves such a model: train it again, or certify another one.",
        )
    return said
