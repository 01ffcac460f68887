"""The templates by name: how a face becomes a crop, in training, evaluation and inference alike."""

from __future__ import annotations

import math

from data_prep.alignment.base import Template
from data_prep.alignment.box import BoxTemplate
from data_prep.alignment.landmarks import LandmarkTemplate
from data_prep.errors import InputError

# The ArcFace template on 112 x 112 pixels (InsightFace's face_align.py): left eye, right eye, nose, left and
# right mouth corner as they lie in the picture, (x, y).
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
