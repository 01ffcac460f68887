"""How many clean scores a false-rejection rate needs. Configs ask it, so it does without arrays."""

from __future__ import annotations

import math

from faceverif.report.numbers import one_in


def smallest_calibration(false_rejection_rate: float) -> int:
    """How many clean scores a rate needs: ceil(1 / rate) - 1, at least one."""
    return max(1, math.ceil(1.0 / false_rejection_rate - 1e-9) - 1)


def smallest_rate(calibration_size: int) -> str:
    """The smallest rate that n clean scores resolve, 1 / (n + 1), as text."""
    return one_in(calibration_size + 1)
