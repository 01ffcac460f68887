"""What a model sees of a photo: the alignment as a layer with gradients."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.alignment.landmarks import LandmarkTemplate, similarity_transform


class AlignedView(nn.Module):
    """`align_face` of `data_prep.alignment.landmarks` for pixels with gradients, and the middle of the crop.

    The warp is a similarity, so it is an affine grid with bilinear sampling. OpenCV rounds the places of
    pixels to 1/32 and colours to 8 bits; the two differ by a few grey levels where neighbours differ much.

    Args:
        landmarks: (5, 2) of the face, in pixels of the photo that `forward` takes, (x, y).
        template: where they go.
        input_px: side of the middle that the model sees.
    """

    def __init__(self, landmarks: NDArray[np.floating], template: LandmarkTemplate, *, input_px: int) -> None:
        super().__init__()
        self.matrix = similarity_transform(landmarks, np.array(template.landmarks))
        margin = (template.crop_px - input_px) // 2
        self._places = np.stack(
            [
                *np.meshgrid(np.arange(input_px) + margin, np.arange(input_px) + margin),
                np.ones((input_px, input_px)),
            ]
        )
        self.eval()

    def forward(self, photos: Tensor) -> Tensor:
        """(n, 3, height, width) in [0, 1] -> (n, 3, input_px, input_px)."""
        matrix = self.matrix
        shrink = 1 / math.sqrt(abs(np.linalg.det(matrix[:, :2])))
        while shrink >= 2 and min(photos.shape[2:]) >= 2:
            height, width = photos.shape[2:]
            photos = _half_as_high(_half_as_high(photos).mT).mT
            grow_x, grow_y = width / (width // 2), height / (height // 2)
            half = np.array([[grow_x, 0, 0.5 * grow_x - 0.5], [0, grow_y, 0.5 * grow_y - 0.5], [0, 0, 1]])
            matrix, shrink = matrix @ half, shrink / 2
        height, width = photos.shape[2:]
        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
        x, y, _ = np.einsum("ij,jhw->ihw", inverse, self._places)
        grid = np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], axis=-1)
        there = torch.from_numpy(grid).to(photos).expand(len(photos), -1, -1, -1)
        return F.grid_sample(photos, there, mode="bilinear", padding_mode="zeros", align_corners=False)

    def seen_part(self, *, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of a photo that the crop is made from, with a border for the halvings.

        Args:
            height, width: of the photo.
        """
        inverse = np.linalg.inv(np.vstack([self.matrix, [0, 0, 1]]))
        x, y, _ = np.einsum("ij,jhw->ihw", inverse, self._places)
        border = 2 * max(1, math.ceil(np.sqrt(abs(np.linalg.det(inverse[:2, :2])))))
        rows, columns = (
            slice(max(0, math.floor(places.min()) - border), min(most, math.ceil(places.max()) + border + 1))
            for places, most in ((y, height), (x, width))
        )
        return rows, columns


def _half_as_high(pictures: Tensor) -> Tensor:
    """Pictures, (n, c, h, w), with rows that are means over equal shares of the height, (n, c, h // 2, w).

    As OpenCV's INTER_AREA. PyTorch's area sampling takes whole rows for an odd height, and so moves the
    picture by up to half of one.
    """
    rows = pictures.shape[2] // 2
    first, second = pictures[:, :, : 2 * rows : 2], pictures[:, :, 1::2]
    if pictures.shape[2] == 2 * rows:
        return (first + second) / 2
    # Shares of 2 + 1 / rows: each begins a little later in its first row, and ends later in its third.
    late = torch.arange(rows, device=pictures.device)[:, None] / rows
    return ((1 - late) * first + second + (late + 1 / rows) * pictures[:, :, 2::2]) / (2 + 1 / rows)
