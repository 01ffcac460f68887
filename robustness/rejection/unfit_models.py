"""What speaks against the models of an experiment, found before the first training and the first attack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from data_prep.errors import InputError
from faceverif.classification.classifier import Classifier
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.data import load_image_sets
from faceverif.images.base import LabelledImages
from faceverif.models.location import MODEL_NAME
from robustness.attacked_model import AttackedModel
from robustness.detectors import build_detector
from robustness.loaded_run import LoadedRun, run_sha256
from robustness.rejection.calibrated_model import fits
from robustness.rejection.closed_set import divided
from robustness.rejection.config import ModelConfig, RejectionConfig


class Prospect(NamedTuple):
    """A training, finished or not, as its detectors and its calibration have to know it.

    Attributes:
        place: of its model among those of the config.
        model: how it is built; its weights do not matter.
        unseen: images of its classes that it was not trained on.
        of_faces: whether it is a face model.
    """

    place: int
    model: AttackedModel
    unseen: LabelledImages
    of_faces: bool


def prospect(
    place: int, run: Path, settings: ClassificationConfig | None, *, load: Callable[[], LoadedRun]
) -> Prospect:
    """What is known of a training by now.

    Args:
        place: of its model among those of the config.
        run: its folder.
        settings: of a training that the experiment makes; None: it has finished.
        load: the finished training.

    Raises:
        InputError: no finished run where none is trained, or settings and images that do not fit together.
    """
    if settings is None or (run / MODEL_NAME).is_file():
        run_sha256(run)
        finished = load()
        return Prospect(place, finished.model, finished.unseen, finished.spec is not None)
    train, unseen = load_image_sets(settings.data, settings.seed)
    with torch.random.fork_rng(devices=[]):
        built = Classifier(settings, shape=train.shape, classes=len(train.class_names))
    return Prospect(place, AttackedModel(built.network, built.objective), unseen, of_faces=False)


def refuse_unfit_models(
    config: RejectionConfig, waiting: Iterable[Prospect], *, others: Iterable[Prospect]
) -> None:
    """Stop where detectors, calibration or pairs ask for what the models or their images do not have.

    Args:
        config: the experiment.
        waiting: trainings that are to be attacked.
        others: finished ones; a detector may fit one of them alone.

    Raises:
        InputError: one for all that is wrong; each part names its key and its model.
    """
    faults: list[InputError] = []
    needless = list(config.detectors)
    for each in waiting:
        faults += _faults(config, each)
        needless = [name for name in needless if not fits(name, each.model)]
    rest = iter(others)
    while needless and (other := next(rest, None)) is not None:
        needless = [name for name in needless if not fits(name, other.model)]
    faults += [
        InputError(
            "detectors",
            "must each fit one of the models",
            got=f"{name}, which fits none",
            fix="Leave it out, or add a model that has what it needs.",
        )
        for name in needless
    ]
    if faults:
        raise _as_one(faults)


def _faults(config: RejectionConfig, each: Prospect) -> Iterator[InputError]:
    model: ModelConfig = config.models[each.place]
    try:
        build_detector(model.detector, each.model)
    except InputError as error:
        got = f"{model.detector} for {model.name}: {error.got}"
        yield InputError(f"models.{each.place}.detector", error.rule, got=got, fix=error.fix)
    if config.attacks:
        try:
            divided(each.unseen, config)
        except InputError as error:
            yield InputError(error.field, error.rule, got=f"{error.got} for {model.name}", fix=error.fix)
    if config.pairs is not None and not each.of_faces:
        yield InputError(
            "pairs",
            "are for face models",
            got=f"{model.name}, an image classifier",
            fix="Give runs by faceverif train.",
        )


def _as_one(faults: list[InputError]) -> InputError:
    """All faults in one line; those of several trainings that break the same rule are reported once."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for fault in faults:
        got = alike.setdefault((fault.field, fault.rule, fault.fix), [])
        got += [str(fault.got)] if str(fault.got) not in got else []
    (field, rule, fix), got = next(iter(alike.items()))
    if len(alike) == 1:
        return InputError(field, rule, got=", ".join(got), fix=fix)
    return InputError(
        ", ".join(dict.fromkeys(field for field, _, _ in alike)),
        "must fit the models and their images",
        got="; ".join(f"{field}: {rule}, got {', '.join(got)}" for (field, rule, _), got in alike.items()),
        fix=" ".join(dict.fromkeys(fix for _, _, fix in alike)),
    )
