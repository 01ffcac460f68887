"""How a certificate is made: noise, samples and confidence, checked before PyTorch is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data_prep.errors import InputError
from faceverif.config.adversarial import LARGEST_SD


@dataclass(frozen=True)
class Smoothing:
    """Settings of randomised smoothing.

    Attributes:
        sd: standard deviation of the noise, for pixels in [0, 1].
        samples: noisy versions of each image that are counted.
        confidence: with which each certificate holds.
        seed: of the noise.

    Raises:
        InputError: one is out of range, or the samples can never reach the confidence.
    """

    sd: float
    samples: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sd) and 0 < self.sd <= LARGEST_SD):
            raise InputError(
                "--noise",
                f"must be above 0 and at most {LARGEST_SD:g}, for pixels in [0, 1]",
                got=self.sd,
                fix="Use the noise of the model's training, such as 0.25.",
            )
        if not 0 < self.confidence < 1:
            raise InputError(
                "--confidence",
                "must lie between 0 and 1",
                got=self.confidence,
                fix="Use 0.999 for one wrong certificate in 1,000.",
            )
        # Where all samples agree the bound is error ^ (1 / samples), and it must exceed a half.
        fewest = math.floor(math.log(self.error / 2) / math.log(0.5)) + 1
        if self.samples < fewest:
            raise InputError(
                "--samples",
                f"must be at least {fewest} for a confidence of {self.confidence:g}",
                got=self.samples,
                fix=f"Use --samples {max(1000, fewest)}.",
            )

    @property
    def error(self) -> float:
        """Chance that a certificate is wrong."""
        return 1.0 - self.confidence
