"""A face -> a crop in a template: one function for training, evaluation and inference."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.errors import InputError

# The ArcFace template on 112 x 112 pixels (METHODS, Alignment): left eye, right eye, nose, left and right
# mouth corner as they lie in the picture, (x, y).
ARCFACE_112 = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)

# Networks see the middle of a crop. L-GM's 120 of 128 pixels, the common 112 of 128 and the demo's 96 of 112
# leave the face whole; 64 of 112 would show a third of it.
SMALLEST_CUT = 5 / 6
_WARP_SIDE = 2**15 - 1  # from here on OpenCV before version 5 refuses to warp a picture


@dataclass(frozen=True)
class Template(ABC):
    """How a square crop is cut from a photo.

    Attributes:
        name: how configs and manifests call it.
        crop_px: side of the crop.
    """

    name: str
    crop_px: int

    @property
    @abstractmethod
    def geometry(self) -> str:
        """All that decides the crop, in words or numbers."""

    @property
    def sha256(self) -> str:
        """Hash of the geometry, which data sets and checkpoints carry so that a mismatch is refused."""
        return hashlib.sha256(f"{self.crop_px} {self.geometry}".encode()).hexdigest()

    @abstractmethod
    def cut(
        self, photo: NDArray[np.uint8], *, box: NDArray[np.floating], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """The crop of a face.

        Args:
            photo: (height, width, 3) RGB.
            box: (4,) left, top, right, bottom of the face, in photo pixels.
            landmarks: (5, 2) of the face in photo pixels, (x, y).

        Returns:
            (crop_px, crop_px, 3) RGB.
        """

    @abstractmethod
    def in_crop(
        self,
        points: NDArray[np.floating],
        *,
        box: NDArray[np.floating],
        landmarks: NDArray[np.floating],
        photo_size: tuple[int, int],
    ) -> NDArray[np.float64]:
        """Where points of a photo lie in the crop that `cut` makes of a face.

        Args:
            points: (n, 2) in photo pixels, (x, y).
            box, landmarks: of the face, as for `cut`.
            photo_size: height and width of the photo.

        Returns:
            (n, 2) in crop pixels, (x, y).
        """


@dataclass(frozen=True)
class LandmarkTemplate(Template):
    """The five landmarks land in fixed places.

    Attributes:
        landmarks: five (x, y) in crop pixels: left eye, right eye, nose, left mouth, right mouth.
    """

    landmarks: tuple[tuple[float, float], ...]

    @property
    def geometry(self) -> str:
        """The places of the landmarks."""
        return " ".join(f"{x:.4f},{y:.4f}" for x, y in self.landmarks)

    def cut(
        self, photo: NDArray[np.uint8], *, box: NDArray[np.floating], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Warp the face; see `align_face`."""
        return align_face(photo, landmarks, self)

    def in_crop(
        self,
        points: NDArray[np.floating],
        *,
        box: NDArray[np.floating],
        landmarks: NDArray[np.floating],
        photo_size: tuple[int, int],
    ) -> NDArray[np.float64]:
        """By the transform that warps the face."""
        matrix = similarity_transform(landmarks, np.array(self.landmarks))
        return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


@dataclass(frozen=True)
class BoxTemplate(Template):
    """The box of the detector with a margin: clipped to the photo, stretched to a square, not rotated.

    Attributes:
        margin_px: on both sides together, in crop pixels.
    """

    margin_px: int

    @property
    def geometry(self) -> str:
        """The margin and the rule."""
        return f"box with a margin of {self.margin_px} px, clipped to the photo, resized without rotation"

    def cut(
        self, photo: NDArray[np.uint8], *, box: NDArray[np.floating], landmarks: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Cut the box out, whole pixels of the photo, and resize them; see `crop_box`."""
        return crop_box(photo, box, self)

    def in_crop(
        self,
        points: NDArray[np.floating],
        *,
        box: NDArray[np.floating],
        landmarks: NDArray[np.floating],
        photo_size: tuple[int, int],
    ) -> NDArray[np.float64]:
        """By the corner and the size of what is cut out."""
        left, top, right, bottom = _cut_out(box, self, height=photo_size[0], width=photo_size[1])
        scale = self.crop_px / np.array([right - left, bottom - top])
        return np.asarray((points - [left, top] + 0.5) * scale - 0.5)


def _scaled(name: str, crop_px: int) -> LandmarkTemplate:
    # Pixel centres lie at half-integers, so (p + 0.5) scales, not p.
    scale = crop_px / 112
    points = tuple(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in ARCFACE_112)
    return LandmarkTemplate(name, crop_px, points)


TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        _scaled("arcface-64", 64),  # a third of the work: training on a CPU
        LandmarkTemplate("arcface-112", 112, ARCFACE_112),
        _scaled("arcface-128", 128),  # L-GM: random 120 x 120 crops of 128 x 128
        _scaled("arcface-160", 160),  # W-Softmax
        # facenet-pytorch, MTCNN(image_size=160, margin=14) in its examples/lfw_evaluate.ipynb
        BoxTemplate("facenet-160", 160, margin_px=14),
    )
}


def find_template(name: str) -> Template:
    """The template of that name.

    Raises:
        InputError: no template has this name.
    """
    if name not in TEMPLATES:
        raise InputError(
            "template",
            "must be a known alignment template",
            got=name,
            fix=f"Use one of: {', '.join(TEMPLATES)}.",
        )
    return TEMPLATES[name]


def refuse_unfit_input(template: Template, *, input_px: int) -> None:
    """Refuse a network's input that is larger than the crops, or too small a part of their middle.

    Args:
        template: of the crops.
        input_px: side of the square that the network takes from the middle of each crop.

    Raises:
        InputError: it does not fit.
    """
    if input_px > template.crop_px:
        raise InputError(
            "backbone.input_px",
            f"must be at most the side of the crops, {template.crop_px}",
            got=input_px,
            fix="Align the photos with a larger --template, or take a smaller input.",
        )
    if input_px < SMALLEST_CUT * template.crop_px:
        smallest = math.ceil(SMALLEST_CUT * template.crop_px)
        raise InputError(
            "backbone.input_px",
            f"must be at least {smallest} for {template.name} crops: a network sees the middle of a crop, "
            "and less of it cuts the face off",
            got=input_px,
            fix=_fit_for_cut(template, input_px=input_px),
        )


def _fit_for_cut(template: Template, *, input_px: int) -> str:
    fits = (each.name for each in TEMPLATES.values() if SMALLEST_CUT <= input_px / each.crop_px <= 1)
    name = next(fits, None)
    setting = f"backbone.input_px={template.crop_px}"
    return f"Align the photos with --template {name}, or set {setting}." if name else f"Set {setting}."


def similarity_transform(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Least-squares rotation, scale and shift from source to target points, without reflection.

    Umeyama (1991), Eqs. 40-43.

    Args:
        source: (points, 2) in (x, y).
        target: (points, 2).

    Returns:
        (2, 3) affine matrix for `warp`.

    Raises:
        ValueError: all source points coincide, so no scale exists.
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_centred, target_centred = source - source_mean, target - target_mean
    variance = (source_centred**2).sum() / len(source)
    if variance == 0:
        raise ValueError("similarity_transform: the source points coincide, so no scale exists")
    u, singular, vt = np.linalg.svd(target_centred.T @ source_centred / len(source))
    keep = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(keep) @ vt
    scale = (singular * keep).sum() / variance
    linear = scale * rotation
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


def align_face(
    photo: NDArray[np.uint8], landmarks: NDArray[np.floating], template: LandmarkTemplate
) -> NDArray[np.uint8]:
    """Warp a face so that its landmarks meet the template's.

    Args:
        photo: (height, width, 3) RGB.
        landmarks: (5, 2) in photo pixels, (x, y).
        template: where they go.

    Returns:
        (crop_px, crop_px, 3) RGB; black where the crop leaves the photo.
    """
    matrix = similarity_transform(landmarks, np.array(template.landmarks))
    size = (template.crop_px, template.crop_px)
    # INTER_AREA does not exist for warps; a face much larger than the crop is first halved until bilinear
    # interpolation no longer skips pixels.
    shrink = 1.0 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    while shrink >= 2.0 and max(photo.shape[:2]) >= 2:
        height, width = photo.shape[:2]
        half_height, half_width = max(1, height // 2), max(1, width // 2)
        half = cv2.resize(photo, (half_width, half_height), interpolation=cv2.INTER_AREA)
        photo = np.asarray(half, dtype=np.uint8)
        grow_x, grow_y = width / half_width, height / half_height
        # p_full = (p_half + 0.5) * grow - 0.5
        matrix = matrix @ np.array(
            [[grow_x, 0, 0.5 * grow_x - 0.5], [0, grow_y, 0.5 * grow_y - 0.5], [0, 0, 1]]
        )
        shrink /= 2.0
    if max(photo.shape[:2]) >= _WARP_SIDE:
        photo, matrix = _around_crop(photo, matrix, template.crop_px)
    crop = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(crop, dtype=np.uint8)


def _around_crop(
    photo: NDArray[np.uint8], matrix: NDArray[np.float64], crop_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The pixels of a photo that a crop is made of, and the transform from there; see `align_face`.

    Other photos are warped whole: from a part of them the last bit of a crop may differ.
    """
    height, width = photo.shape[:2]
    corners = np.array([[x, y] for x in (-1, crop_px) for y in (-1, crop_px)], np.float64)
    there = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
    # One pixel at least, so that a crop beyond the photo is black.
    left, top = np.clip(np.floor(there.min(axis=0)) - 1, 0, [width - 1, height - 1]).astype(int)
    right, bottom = np.clip(np.ceil(there.max(axis=0)) + 2, [left + 1, top + 1], [width, height]).astype(int)
    shifted = matrix[:, 2] + matrix[:, :2] @ [left, top]
    part = np.ascontiguousarray(photo[top:bottom, left:right])
    return part, np.column_stack([matrix[:, :2], shifted])


def crop_box(photo: NDArray[np.uint8], box: NDArray[np.floating], template: BoxTemplate) -> NDArray[np.uint8]:
    """The box of a face with the template's margin, as facenet-pytorch cuts it (`extract_face`).

    Args:
        photo: (height, width, 3) RGB.
        box: (4,) left, top, right, bottom, in photo pixels; it may leave the photo.
        template: side and margin.

    Returns:
        (crop_px, crop_px, 3) RGB.
    """
    left, top, right, bottom = _cut_out(box, template, height=photo.shape[0], width=photo.shape[1])
    face = Image.fromarray(photo[top:bottom, left:right])
    side = (template.crop_px, template.crop_px)
    return np.asarray(face.resize(side, Image.Resampling.BILINEAR), dtype=np.uint8)


def _cut_out(
    box: NDArray[np.floating], template: BoxTemplate, *, height: int, width: int
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that `crop_box` takes from a photo of that size."""
    left, top, right, bottom = map(float, box)
    share = template.margin_px / (template.crop_px - template.margin_px) / 2
    margin_x, margin_y = share * (right - left), share * (bottom - top)
    # Cut to whole pixels, at least one: a box at the photo's edge may lie outside of it.
    x, y = int(min(max(left - margin_x, 0), width - 1)), int(min(max(top - margin_y, 0), height - 1))
    x_end, y_end = int(min(right + margin_x, width)), int(min(bottom + margin_y, height))
    return x, y, max(x_end, x + 1), max(y_end, y + 1)


def centre_crop(photo: NDArray[np.uint8], template: Template) -> NDArray[np.uint8]:
    """The fallback for a photo without a detected face: its central square, resized to the template."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photo[top : top + side, left : left + side]
    flag = cv2.INTER_AREA if side > template.crop_px else cv2.INTER_LINEAR
    crop = cv2.resize(square, (template.crop_px, template.crop_px), interpolation=flag)
    return np.asarray(crop, dtype=np.uint8)
