"""Faces and their five landmarks: MTCNN (Zhang et al., 2016), batched over photos of any sizes.

The networks and weights are facenet-pytorch's; thresholds, pyramid and rounding follow it too, so that the
weights see what they are used to. One thing differs: a candidate box over the photo's border is padded
with black, as in the paper. facenet-pytorch clips the crop yet maps the landmarks as if it had not, which
moves them on every tightly cropped photo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import nms

from data_prep.area_sampling import AreaSampler

POLICY = "centred-largest"

_CELL_PX = 12  # what the proposal network looks at
_STRIDE_PX = 2
_PYRAMID_FACTOR = 0.709
_PROPOSAL_SCORE, _REFINE_SCORE, _OUTPUT_SCORE = 0.6, 0.7, 0.7
_BLACK = -127.5 / 128

_TILE_PX = 512  # larger pyramid levels are cut up, so that memory does not follow the photo's size
_STRIP_PX = 2**17  # a strip's activations stay near the processor
_CROPS_AT_ONCE = {24: 64, 48: 16}
_BATCH_PX = 4_000_000


@dataclass(frozen=True)
class Faces:
    """What the detector saw in one photo, best score first.

    Attributes:
        boxes: (n, 4) float32 x1, y1, x2, y2 in photo pixels; may leave the photo.
        scores: (n,) float32 in [0, 1].
        landmarks: (n, 5, 2) float32 (x, y): left eye, right eye, nose, left mouth, right mouth corner.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


def centred_largest(faces: Faces, *, width: int, height: int) -> int | None:
    """The face that a photo is of: large and near its centre.

    Maximises area - 2 * squared distance of the box's centre from the photo's, as the field's evaluation
    scripts do; the plain largest or the first box costs points on LFW.

    Returns:
        Index of the face, None if there is none.
    """
    if len(faces) == 0:
        return None
    corners = faces.boxes.reshape(-1, 2, 2)
    area = (corners[:, 1] - corners[:, 0]).prod(axis=1)
    offset = corners.mean(axis=1) - np.array([width / 2, height / 2])
    return int(np.argmax(area - 2 * (offset**2).sum(axis=1)))


@dataclass(frozen=True)
class _Tile:
    """A piece of a pyramid level of a photo: what the proposal network is run on."""

    photo: int
    level: int
    scale: float
    level_size: tuple[int, int]
    top: int
    left: int
    height: int
    width: int


@dataclass
class _Candidates:
    """Boxes of all photos of a batch on their way through the cascade."""

    boxes: Tensor  # (n, 4)
    scores: Tensor  # (n,)
    photo: Tensor  # (n,)

    def __getitem__(self, keep: Tensor) -> _Candidates:
        return _Candidates(self.boxes[keep], self.scores[keep], self.photo[keep])


class FaceDetector:
    """MTCNN's cascade of three networks.

    Args:
        min_face_px: smallest face that is looked for, at least 12.
    """

    def __init__(self, min_face_px: int = 20) -> None:
        self._first_scale = _CELL_PX / min_face_px
        self._propose, self._refine, self._output = (
            network().eval().to(memory_format=torch.channels_last) for network in (PNet, RNet, ONet)
        )

    @torch.inference_mode()
    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[Faces]:
        """Find the faces of photos of any sizes; each comes out as if it had been alone.

        Args:
            photos: (height, width, 3) RGB each.
        """
        found: list[Faces] = []
        for batch in _batches(photos):
            found += self._detect_batch(batch)
        return found

    def _detect_batch(self, photos: Sequence[NDArray[np.uint8]]) -> list[Faces]:
        sampler = AreaSampler(photos)
        candidates = self._refined(sampler, self._proposals(sampler, photos))
        candidates, landmarks = self._located(sampler, candidates)
        return [_faces_of(photo, candidates, landmarks) for photo in range(len(photos))]

    def _proposals(self, sampler: AreaSampler, photos: Sequence[NDArray[np.uint8]]) -> _Candidates:
        """Stage 1: the proposal network slides over every level of every photo's pyramid."""
        tiles = [tile for i, photo in enumerate(photos) for tile in _tiles(i, photo.shape, self._first_scale)]
        parts = [self._scan(sampler, strip) for strip in _strips(tiles)]
        boxes, scores, shifts, photo, level = (torch.cat(part) for part in zip(*parts, strict=True))
        keep = _nms_within(boxes, scores, photo * 64 + level, iou=0.5)
        boxes, scores, shifts, photo = boxes[keep], scores[keep], shifts[keep], photo[keep]
        keep = _nms_within(boxes, scores, photo, iou=0.7)
        extent = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        return _Candidates(_squared(boxes + shifts * extent), scores, photo)[keep]

    def _scan(self, sampler: AreaSampler, strip: list[_Tile]) -> tuple[Tensor, ...]:
        """Boxes, scores, box shifts, photo and level of everything like a face in a strip of tiles."""
        starts = np.cumsum([0] + [_even(tile.width) for tile in strip])
        canvas = np.full((max(_even(tile.height) for tile in strip), starts[-1], 3), _BLACK, np.float32)
        for tile, start in zip(strip, starts, strict=False):
            rows = slice(tile.top, tile.top + tile.height)
            columns = slice(tile.left, tile.left + tile.width)
            pixels = sampler.shrink(tile.photo, tile.level_size, rows=rows, columns=columns)
            canvas[: tile.height, start : start + tile.width] = (pixels - 127.5) / 128
        shifts, probabilities = self._propose(torch.from_numpy(canvas).permute(2, 0, 1)[None])
        face = probabilities[0, 1]
        y, x = (face >= _PROPOSAL_SCORE).nonzero().unbind(1)
        start = torch.from_numpy(starts) // _STRIDE_PX
        of = torch.bucketize(x, start, right=True) - 1
        inside = (y < _cells([tile.height for tile in strip])[of]) & (
            x - start[of] < _cells([tile.width for tile in strip])[of]
        )
        y, x, of = y[inside], x[inside], of[inside]
        top, left, photo, level = torch.tensor(
            [(tile.top, tile.left, tile.photo, tile.level) for tile in strip]
        )[of].unbind(1)
        scale = torch.tensor([tile.scale for tile in strip])[of]
        corner = torch.stack([(x - start[of]) * _STRIDE_PX + left, y * _STRIDE_PX + top], 1)
        boxes = torch.cat([(corner + 1) / scale[:, None], (corner + _CELL_PX) / scale[:, None]], 1).floor()
        return boxes, face[y, x], shifts[0, :, y, x].T, photo, level

    def _refined(self, sampler: AreaSampler, candidates: _Candidates) -> _Candidates:
        """Stage 2: the refinement network rejects most candidates and moves the others."""
        candidates, (shifts, scores) = _look_at(self._refine, sampler, candidates, side=24)
        candidates.scores = scores[:, 1]
        keep = candidates.scores > _REFINE_SCORE
        candidates, shifts = candidates[keep], shifts[keep]
        keep = _nms_within(candidates.boxes, candidates.scores, candidates.photo, iou=0.7)
        candidates, shifts = candidates[keep], shifts[keep]
        candidates.boxes = _squared(_moved(candidates.boxes, shifts))
        return candidates

    def _located(self, sampler: AreaSampler, candidates: _Candidates) -> tuple[_Candidates, Tensor]:
        """Stage 3: the output network decides, and places the landmarks."""
        candidates, (shifts, points, scores) = _look_at(self._output, sampler, candidates, side=48)
        candidates.scores = scores[:, 1]
        keep = candidates.scores > _OUTPUT_SCORE
        candidates, shifts, points = candidates[keep], shifts[keep], points[keep]
        extent = candidates.boxes[:, 2:] - candidates.boxes[:, :2] + 1
        # The network gives five x, then five y, as fractions of a box whose pixels count from one.
        landmarks = (
            points.view(-1, 2, 5).transpose(1, 2) * extent[:, None] + candidates.boxes[:, None, :2] - 1
        )
        candidates.boxes = _moved(candidates.boxes, shifts)
        return candidates, landmarks


def _batches(photos: Sequence[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    pixels = 0
    for photo in photos:
        area = photo.shape[0] * photo.shape[1]
        if batch and pixels + area > _BATCH_PX:
            yield batch
            batch, pixels = [], 0
        batch.append(photo)
        pixels += area
    if batch:
        yield batch


def _tiles(photo: int, shape: tuple[int, ...], first_scale: float) -> Iterator[_Tile]:
    height, width = shape[:2]
    scale, level = first_scale, 0
    while min(height, width) * scale >= _CELL_PX:
        size = int(height * scale + 1), int(width * scale + 1)
        for top, rows in _blocks(size[0]):
            for left, columns in _blocks(size[1]):
                yield _Tile(photo, level, scale, size, top, left, rows, columns)
        scale *= _PYRAMID_FACTOR
        level += 1


def _blocks(extent: int) -> Iterator[tuple[int, int]]:
    """Start and length of pieces that overlap so that every cell lies whole in exactly one."""
    start = 0
    while start + _TILE_PX < extent:
        yield start, _TILE_PX
        start += _TILE_PX - _CELL_PX + _STRIDE_PX
    yield start, extent - start


def _strips(tiles: list[_Tile]) -> Iterator[list[_Tile]]:
    """Tiles of like height, to be laid side by side: the network then runs on few, large inputs."""
    strip: list[_Tile] = []
    for tile in sorted(tiles, key=lambda tile: (-tile.height, -tile.width)):
        area = tile.height * sum(other.width for other in strip)
        if strip and (area > _STRIP_PX or tile.height < 0.8 * strip[0].height):
            yield strip
            strip = []
        strip.append(tile)
    if strip:
        yield strip


def _even(extent: int) -> int:
    # The proposal network pools 2 x 2: with an odd extent the last pool takes in one black pixel, in
    # every batch the same one.
    return extent + extent % 2


def _cells(extents: list[int]) -> Tensor:
    return (torch.tensor(extents) + 1) // _STRIDE_PX - 5


def _look_at(
    network: nn.Module, sampler: AreaSampler, candidates: _Candidates, *, side: int
) -> tuple[_Candidates, tuple[Tensor, ...]]:
    """Run a network on the candidates' crops; a box without a pixel is no candidate."""
    first, last = candidates.boxes.floor().long().split(2, dim=1)
    pixels = torch.cat([first - 1, last], 1)
    keep = (pixels[:, 2:] > pixels[:, :2]).all(dim=1)
    candidates, pixels = candidates[keep], pixels[keep]
    parts = []
    # At least one pass, be it empty: the outputs keep their shapes.
    for chunk in torch.arange(len(pixels)).split(_CROPS_AT_ONCE[side]):
        crops = sampler.crop(candidates.photo[chunk], pixels[chunk], side=side)
        parts.append(network((crops - 127.5) / 128))
    return candidates, tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _nms_within(boxes: Tensor, scores: Tensor, group: Tensor, *, iou: float) -> Tensor:
    """Indices that survive non-maximum suppression inside each group; in the groups' order."""
    order = group.argsort(stable=True)
    sizes = group[order].unique_consecutive(return_counts=True)[1].tolist()
    kept = [part[nms(boxes[part], scores[part], iou)] for part in order.split(sizes)]
    return torch.cat(kept) if kept else order


def _squared(boxes: Tensor) -> Tensor:
    extent = boxes[:, 2:] - boxes[:, :2]
    side = extent.amax(dim=1, keepdim=True)
    first = boxes[:, :2] + (extent - side) / 2
    return torch.cat([first, first + side], 1)


def _moved(boxes: Tensor, shifts: Tensor) -> Tensor:
    return boxes + shifts * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _faces_of(photo: int, candidates: _Candidates, landmarks: Tensor) -> Faces:
    of = (candidates.photo == photo).nonzero()[:, 0]
    of = of[candidates.scores[of].argsort(descending=True, stable=True)]
    boxes = candidates.boxes[of]
    keep = _apart(boxes)
    chosen = of[keep]
    return Faces(
        candidates.boxes[chosen].numpy(), candidates.scores[chosen].numpy(), landmarks[chosen].numpy()
    )


def _apart(boxes: Tensor) -> list[int]:
    """Which of the boxes, best first, do not cover, or lie in, a better one by more than 0.7."""
    extent = boxes[:, 2:] - boxes[:, :2] + 1
    area = extent.prod(dim=1)
    overlap = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = (overlap - torch.maximum(boxes[:, None, :2], boxes[None, :, :2]) + 1).clamp_min(0).prod(dim=2)
    covered = overlap / torch.minimum(area[:, None], area[None, :]) > 0.7
    keep: list[int] = []
    for i in range(len(boxes)):
        if not covered[i, keep].any():
            keep.append(i)
    return keep
