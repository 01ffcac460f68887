"""Faces and their five landmarks: MTCNN (Zhang et al., 2016), batched over photos of any sizes.

Weights, thresholds, pyramid and rounding are facenet-pytorch's. One thing differs: a candidate box over the
photo's border is padded with black, as in the paper. facenet-pytorch clips the crop yet maps the landmarks as
if it had not, which moves them on every tightly cropped photo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_prep.detection.area_sampling import CHANNELS, AreaSampler
from data_prep.detection.faces import Faces
from data_prep.detection.networks import OutputNetwork, ProposalNetwork, RefinementNetwork
from data_prep.detection.suppression import survivors
from data_prep.device import computing_device

_CELL_PX = 12  # what the proposal network looks at
_STRIDE_PX = 2
_PYRAMID_FACTOR = 0.709
_REFINEMENT_PX, _OUTPUT_PX = 24, 48

# How much goes through a network at once: small enough for the processor's cache, large enough that the
# calls do not count. Memory therefore grows with the pixels of the photos, and with nothing else.
_STRIP_PX = 2**16
_TILE_PX = 512
_CROPS_PX = 2**15
_BATCH_PX = 4_000_000


class Thresholds(NamedTuple):
    """The score that a candidate must reach in each of the three networks, in [0, 1]."""

    proposal: float
    refinement: float
    output: float


_THRESHOLDS = Thresholds(proposal=0.6, refinement=0.7, output=0.7)


class CascadeDetector:
    """MTCNN's cascade of three networks, once over each photo.

    The networks run on this process's device; sampling and the choice of boxes stay on the CPU.

    Args:
        min_face_px: smallest face that is looked for, at least 12.
        thresholds: lower ones find more faces, and more that are none.
    """

    def __init__(self, min_face_px: int, *, thresholds: Thresholds = _THRESHOLDS) -> None:
        self._thresholds = thresholds
        self._first_scale = _CELL_PX / min_face_px
        self._device = computing_device()
        self._propose = ProposalNetwork().to(self._device)
        self._refine = RefinementNetwork().to(self._device)
        self._output = OutputNetwork().to(self._device)

    @torch.inference_mode()
    def detect(self, photos: Sequence[NDArray[np.uint8]]) -> list[Faces]:
        """Find the faces in photos of any size; the other photos do not change what is found in one.

        Args:
            photos: (height, width, 3) RGB each.
        """
        return [faces for batch in _batches(photos) for faces in self._detect_batch(batch)]

    def _detect_batch(self, photos: Sequence[NDArray[np.uint8]]) -> list[Faces]:
        tiles = [tile for i, photo in enumerate(photos) for tile in _tiles(i, photo.shape, self._first_scale)]
        sampler = AreaSampler(photos)
        candidates = self._refined(sampler, self._proposed(sampler, tiles))
        candidates, landmarks = self._located(sampler, candidates)
        found = Faces(candidates.boxes.numpy(), candidates.scores.numpy(), landmarks.numpy())
        photo_of = candidates.photo.numpy()
        return [_distinct_faces(found[photo_of == photo]) for photo in range(len(photos))]

    def _proposed(self, sampler: AreaSampler, tiles: list[_Tile]) -> _Candidates:
        """Stage 1: the proposal network slides over every level of every photo's pyramid."""
        found = [self._scan(sampler, strip) for strip in _strips(tiles)]
        candidates = _joined([candidates for candidates, _ in found])
        level = torch.cat([torch.empty(0, dtype=torch.int64), *(level for _, level in found)])
        pyramid = candidates.photo * (level.max() + 1 if len(level) else 1) + level
        candidates = candidates[_nms_within(pyramid, candidates, iou=0.5)]
        candidates = candidates[_nms_within(candidates.photo, candidates, iou=0.7)]
        extent = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
        return candidates.at(_squared(candidates.boxes + candidates.shifts * extent.repeat(1, 2)))

    def _scan(self, sampler: AreaSampler, strip: list[_Tile]) -> tuple[_Candidates, Tensor]:
        """What looks like a face in a strip of tiles, and the pyramid level of each."""
        canvas, starts = _drawn(sampler, strip)
        filler = list(_filler(strip, starts.tolist()))
        verdict = self._propose(_as_input(canvas[None]).to(self._device), filler=filler)
        face, shifts = (each.cpu() for each in verdict)
        y, x = (face[0] >= self._thresholds.proposal).nonzero().unbind(1)
        tile_of = torch.bucketize(x, starts // _STRIDE_PX, right=True) - 1
        column = x - starts[tile_of] // _STRIDE_PX
        rows, columns = (torch.tensor(side) for side in zip(*(tile.cells for tile in strip), strict=True))
        inside = (y < rows[tile_of]) & (column < columns[tile_of])  # the others look at two tiles at once
        y, x, tile_of, column = y[inside], x[inside], tile_of[inside], column[inside]
        origin = torch.tensor([(tile.columns.start, tile.rows.start) for tile in strip])[tile_of]
        scale = torch.tensor([tile.scale for tile in strip])[tile_of, None]
        corner = torch.stack([column, y], 1) * _STRIDE_PX + origin
        boxes = torch.cat([(corner + 1) / scale, (corner + _CELL_PX) / scale], 1).floor()
        photo, level = torch.tensor([(tile.photo, tile.level) for tile in strip])[tile_of].unbind(1)
        return _Candidates(photo, boxes, face[0, y, x], shifts[0, y, x]), level

    def _refined(self, sampler: AreaSampler, candidates: _Candidates) -> _Candidates:
        """Stage 2: the refinement network rejects most candidates and moves the others."""
        candidates, () = self._judged(self._refine, sampler, candidates, side=_REFINEMENT_PX)
        candidates = candidates[candidates.scores > self._thresholds.refinement]
        candidates = candidates[_nms_within(candidates.photo, candidates, iou=0.7)]
        return candidates.at(_squared(candidates.shifted()))

    def _located(self, sampler: AreaSampler, candidates: _Candidates) -> tuple[_Candidates, Tensor]:
        """Stage 3: the output network decides, and places the landmarks."""
        candidates, (fractions,) = self._judged(self._output, sampler, candidates, side=_OUTPUT_PX)
        keep = candidates.scores > self._thresholds.output
        candidates, fractions = candidates[keep], fractions[keep]
        landmarks = candidates.boxes[:, None, :2] - 1 + fractions * candidates.extent[:, None]
        return candidates.at(candidates.shifted()), landmarks

    def _judged(
        self, network: nn.Module, sampler: AreaSampler, candidates: _Candidates, *, side: int
    ) -> tuple[_Candidates, tuple[Tensor, ...]]:
        """Candidates with a network's scores and shifts, and its other outputs; empty boxes are dropped."""
        first, last = candidates.boxes.floor().long().split(2, dim=1)
        pixels = torch.cat([first - 1, last], 1)
        some = (pixels[:, 2:] > pixels[:, :2]).all(dim=1)
        candidates, pixels = candidates[some], pixels[some]
        verdicts = [
            network(_as_input(sampler.crop(photo.numpy(), boxes.numpy(), side=side)).to(self._device))
            for photo, boxes in zip(
                candidates.photo.split(_CROPS_PX // side**2), pixels.split(_CROPS_PX // side**2), strict=True
            )
        ]
        scores, shifts, *more = (torch.cat(verdict).cpu() for verdict in zip(*verdicts, strict=True))
        return replace(candidates, scores=scores, shifts=shifts), tuple(more)


@dataclass(frozen=True)
class _Tile:
    """A piece of a level of a photo's pyramid."""

    photo: int
    level: int
    scale: float
    level_size: tuple[int, int]
    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns that the proposal network's output has for it."""
        height, width = self.size
        return _even(height) // _STRIDE_PX - 5, _even(width) // _STRIDE_PX - 5


@dataclass(frozen=True)
class _Candidates:
    """Boxes in all photos of a batch, with the last network's output."""

    photo: Tensor  # (n,)
    boxes: Tensor  # (n, 4), pixels count from one
    scores: Tensor  # (n,)
    shifts: Tensor  # (n, 4), how far the corners should move, in fractions of the box

    def __getitem__(self, keep: Tensor) -> _Candidates:
        return _Candidates(self.photo[keep], self.boxes[keep], self.scores[keep], self.shifts[keep])

    @property
    def extent(self) -> Tensor:
        """(n, 2) width and height; the last pixel belongs to the box."""
        return self.boxes[:, 2:] - self.boxes[:, :2] + 1

    def shifted(self) -> Tensor:
        """(n, 4) boxes, moved by the shifts."""
        return self.boxes + self.shifts * self.extent.repeat(1, 2)

    def at(self, boxes: Tensor) -> _Candidates:
        """The same candidates elsewhere."""
        return replace(self, boxes=boxes)


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
    scale = first_scale
    for level in count():
        if min(height, width) * scale < _CELL_PX:
            return
        size = int(height * scale + 1), int(width * scale + 1)
        for rows in _blocks(size[0]):
            for columns in _blocks(size[1]):
                yield _Tile(photo, level, scale, size, rows, columns)
        scale *= _PYRAMID_FACTOR


def _blocks(extent: int) -> Iterator[slice]:
    """Pieces that overlap so that every cell lies whole in exactly one."""
    start = 0
    while start + _TILE_PX < extent:
        yield slice(start, start + _TILE_PX)
        start += _TILE_PX - _CELL_PX + _STRIDE_PX
    yield slice(start, extent)


def _strips(tiles: list[_Tile]) -> Iterator[list[_Tile]]:
    """Tiles of similar height, to be laid side by side, so that the network runs on a few large inputs."""
    strip: list[_Tile] = []
    width = 0
    for tile in sorted(tiles, key=lambda tile: tile.size, reverse=True):
        if strip and (
            tile.size[0] < 0.8 * strip[0].size[0] or (width + tile.size[1]) * strip[0].size[0] > _STRIP_PX
        ):
            yield strip
            strip, width = [], 0
        strip.append(tile)
        width += tile.size[1]
    if strip:
        yield strip


def _drawn(sampler: AreaSampler, strip: list[_Tile]) -> tuple[NDArray[np.float32], Tensor]:
    """The tiles side by side on black, and the column at which each begins."""
    ends = np.cumsum([_even(tile.size[1]) for tile in strip])
    starts = [0, *ends[:-1].tolist()]
    canvas = np.zeros((_even(strip[0].size[0]), ends[-1], CHANNELS), np.float32)
    for tile, start in zip(strip, starts, strict=True):
        height, width = tile.size
        canvas[:height, start : start + width] = sampler.shrink(
            tile.photo, tile.level_size, rows=tile.rows, columns=tile.columns
        )
    return canvas, torch.tensor(starts)


def _even(extent: int) -> int:
    # The proposal network pools 2 x 2; with even extents no pool covers two tiles.
    return extent + extent % 2


def _filler(strip: list[_Tile], starts: list[int]) -> Iterator[tuple[slice, slice]]:
    """The row and the column that make a tile of odd extent even."""
    for tile, start in zip(strip, starts, strict=True):
        height, width = tile.size
        if height % 2:
            yield slice(height, height + 1), slice(start, start + _even(width))
        if width % 2:
            yield slice(0, _even(height)), slice(start + width, start + width + 1)


def _as_input(pictures: NDArray[np.float32]) -> Tensor:
    """What the sampler drew, (n, height, width, 4), as the networks take it."""
    colours = torch.from_numpy(pictures)[..., :3].permute(0, 3, 1, 2)
    return colours.contiguous(memory_format=torch.channels_last)


def _joined(parts: list[_Candidates]) -> _Candidates:
    none = _Candidates(
        torch.empty(0, dtype=torch.int64), torch.empty(0, 4), torch.empty(0), torch.empty(0, 4)
    )
    columns = zip(
        *((each.photo, each.boxes, each.scores, each.shifts) for each in [none, *parts]), strict=True
    )
    return _Candidates(*(torch.cat(column) for column in columns))


def _nms_within(group: Tensor, candidates: _Candidates, *, iou: float) -> Tensor:
    """Indices that survive non-maximum suppression inside each group, group by group."""
    places = survivors(group.numpy(), candidates.boxes.numpy(), candidates.scores.numpy(), iou=iou)
    return torch.from_numpy(places)


def _squared(boxes: Tensor) -> Tensor:
    """Squares around the same centres, with the longer side."""
    extent = boxes[:, 2:] - boxes[:, :2]
    side = extent.amax(dim=1, keepdim=True)
    first = boxes[:, :2] + (extent - side) / 2
    return torch.cat([first, first + side], 1)


def _distinct_faces(faces: Faces) -> Faces:
    """One photo's faces, best first, without those that overlap a better one by 0.7 of the smaller box."""
    # Scores of good faces round to one. Among equal ones facenet-pytorch takes the last, and so do we.
    faces = faces[faces.scores.argsort(kind="stable")[::-1]]
    first, last = faces.boxes[:, :2], faces.boxes[:, 2:]
    area = (last - first + 1).prod(axis=1)
    overlap = np.minimum(last[:, None], last) - np.maximum(first[:, None], first) + 1
    shared = overlap.clip(min=0).prod(axis=2)
    covered = shared / np.minimum(area[:, None], area) > np.float32(0.7)
    keep: list[int] = []
    for i in range(len(faces)):
        if not covered[i, keep].any():
            keep.append(i)
    return faces[np.array(keep, dtype=np.int64)]
