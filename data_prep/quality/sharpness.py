"""How sharp a crop is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_BORDER = 1 / 6  # of the crop's side: beyond it lie hair, background, and the black where a photo ends


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the luminance in the middle of a crop, in squared grey levels.

    Pech-Pacheco et al. (2000), "Diatom autofocusing in brightfield microscopy". A small face that was
    enlarged to the crop counts as blurred. Strong contrast and noise raise it. Crops of different sides
    cannot be compared.

    Args:
        crop: (side, side, 3) RGB.
    """
    edge = round(_BORDER * len(crop))
    middle = cv2.cvtColor(crop[edge : len(crop) - edge, edge : len(crop) - edge], cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(middle, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REPLICATE).var())
