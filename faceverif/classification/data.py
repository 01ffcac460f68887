"""What a run trains on and what it is judged by."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data_prep.errors import InputError, few
from faceverif.classification.data_section import ImageDataConfig
from faceverif.classification.sources import read_images
from faceverif.images.labelled import Images

# One stream of random numbers for each use, so that one setting leaves the other's choice as it was.
_HELD_OUT, _LABEL_NOISE = 1, 2


def load_image_sets(config: ImageDataConfig, seed: int) -> tuple[Images, Images]:
    """Training images, and those that are evaluated: the test set, or what was held out.

    In this order: other classes are dropped, images are held out, the training set is limited, its labels
    get noise.

    Args:
        config: which images.
        seed: of the run; it chooses what is held out and which labels are wrong.

    Raises:
        InputError: the files are missing or damaged, or the settings leave nothing.
    """
    train, evaluation = read_images(config)
    _refuse_other_size(train, evaluation)
    _refuse_other_classes(train, evaluation)
    if config.classes is not None:
        train, evaluation = (_first_classes(images, config.classes) for images in (train, evaluation))
    published = train
    if config.held_out:
        train, evaluation = _hold_out(train, config.held_out, seed=seed)
    if config.limit is not None:
        train = train.take(in_turns(train.labels, torch.arange(len(train)))[: config.limit])
    _refuse_lost_classes(published, train)
    labels = noisy_labels(train.labels, classes=len(train.class_names), share=config.label_noise, seed=seed)
    return replace(train, labels=labels), evaluation


def _refuse_other_size(train: Images, evaluation: Images) -> None:
    if train.shape != evaluation.shape:
        sizes = (" x ".join(map(str, images.shape)) for images in (train, evaluation))
        raise InputError(
            "data.path",
            "must hold images of one size, to train on and to evaluate",
            got=" and ".join(sizes),
            fix="Take the files from one place.",
        )


def _refuse_other_classes(train: Images, evaluation: Images) -> None:
    """Folders that lack some classes count the others anew: a label would mean two things."""
    trained, evaluated = Counter(train.class_names), Counter(evaluation.class_names)
    lacking = {"to train on": evaluated - trained, "to evaluate": trained - evaluated}
    if texts := [f"no picture {purpose} of {few(sorted(lost))}" for purpose, lost in lacking.items() if lost]:
        raise InputError(
            "data.path",
            "must hold the same classes, to train on and to evaluate",
            got="; ".join(texts),
            fix="Fetch what is missing, or remove the folders of these classes.",
        )


def _first_classes(images: Images, classes: int) -> Images:
    if classes > len(images.class_names):
        raise InputError(
            "data.classes",
            f"must be at most {len(images.class_names)}, which the data set has",
            got=classes,
            fix="Lower it, or leave it out for all.",
        )
    kept = images.take((images.labels < classes).nonzero().squeeze(1))
    return replace(kept, class_names=images.class_names[:classes])


def _refuse_lost_classes(published: Images, train: Images) -> None:
    present = set(published.labels.tolist())
    if lost := [name for label, name in absent_classes(train) if label in present]:
        raise InputError(
            "data",
            "limit and held_out must leave a training image of every class",
            got=f"none of {few(lost)}",
            fix="Raise data.limit or lower data.held_out.",
        )


def absent_classes(images: Images) -> list[tuple[int, str]]:
    """The classes without an image, as label and name."""
    present = set(images.labels.tolist())
    return [(label, name) for label, name in enumerate(images.class_names) if label not in present]


def warning_of_absence(train: Images) -> str:
    """What a training set lacks of the classes that its data set has; empty where it lacks none."""
    names = [name for _, name in absent_classes(train)]
    return f"there is no training image of {few(names)}; what is evaluated may hold some" if names else ""


def _hold_out(train: Images, count: int, *, seed: int) -> tuple[Images, Images]:
    if count >= len(train):
        raise InputError(
            "data.held_out",
            f"must be less than the number of training images, {len(train):,}",
            got=count,
            fix="Lower it.",
        )
    shuffled = np.random.default_rng([seed, _HELD_OUT]).permutation(len(train))
    order = in_turns(train.labels, torch.from_numpy(shuffled))
    # Sorted, so that what is left keeps the data set's order.
    return train.take(order[count:].sort().values), train.take(order[:count].sort().values)


def in_turns(labels: Tensor, order: Tensor) -> Tensor:
    """The images so ordered that each class has its turn: the first of every class, the second of every ...

    Any beginning of it then holds the classes evenly.

    Args:
        labels: (N,) int64.
        order: (N,) a permutation; within a class it stays.

    Returns:
        (N,) a permutation.
    """
    by_class = order[labels[order].argsort(stable=True)]
    counts = labels.bincount()
    begins = counts.cumsum(0) - counts
    turn = torch.arange(len(labels)) - begins[labels[by_class]]
    return by_class[turn.argsort(stable=True)]


def noisy_labels(labels: Tensor, *, classes: int, share: float, seed: int) -> Tensor:
    """Labels of which a share is wrong: symmetric noise, every other class with the same chance.

    Args:
        labels: (N,) int64 in [0, classes).
        classes: how many there are, >= 2.
        share: of the labels, in [0, 1); rounded to whole labels.
        seed: of the run.
    """
    generator = np.random.default_rng([seed, _LABEL_NOISE])
    wrong = torch.from_numpy(generator.permutation(len(labels))[: round(share * len(labels))])
    away = torch.from_numpy(generator.integers(1, classes, len(wrong)))
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + away) % classes
    return noisy
