"""Where each data set comes from, and what is known of it before a file is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.own_files import read_guarded
from data_prep.sources.fer2013 import CLASS_NAMES as EXPRESSIONS
from data_prep.sources.fer2013 import read_fer2013
from data_prep.sources.idx import has_idx_files, read_idx_images
from data_prep.sources.picture_tar import Pictures, pictures_in, read_pictures
from faceverif.classification.data_section import ImageDataConfig
from faceverif.images.labelled import ImageFiles, Images, ImageSet, read_scaled_centre

_DIGITS = tuple(str(digit) for digit in range(10))
_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Of large pictures the middle of this side, after the shorter side is scaled to the second number.
_LARGE_SIDE_PX, _LARGE_SHORTER_PX = 224, 256
_IDX, _PICTURES = " as four idx files, or", " as a tar or folder of train/CLASS/PICTURE and test/..., or"
_OTHER_LAYOUTS = {"mnist": _IDX, "fashion_mnist": _IDX, "cifar10": _PICTURES, "cifar100": _PICTURES}
_DIGITS_TESTED = 0.2


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation of the training pixels in [0, 1], a number a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


_IMAGENET_PIXELS = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# Flowers-102 are photos like ImageNet's, and its networks are used to those numbers.
PIXEL_STATISTICS = {
    "mnist": PixelStatistics((0.1307,), (0.3081,)),
    "fashion_mnist": PixelStatistics((0.2860,), (0.3530,)),
    "cifar10": PixelStatistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": PixelStatistics((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "flowers102": _IMAGENET_PIXELS,
    "imagenet": _IMAGENET_PIXELS,
    # Pixels lie in [0, 1], and their own mean and spread are not published: half and a quarter are near.
    "fer2013": PixelStatistics((0.5,), (0.25,)),
    "digits": PixelStatistics((0.3053,), (0.3760,)),
}


def read_images(config: ImageDataConfig) -> tuple[Images, Images]:
    """Training and test set as published, with all their classes.

    Raises:
        InputError: the files are missing or damaged.
    """
    if config.name == "digits":
        return _read_digits()
    path = config.path
    assert path is not None  # the config makes sure
    if config.name == "fer2013":
        parts = read_fer2013(path)
        evaluated = parts["PrivateTest" if config.evaluate_on == "test" else "PublicTest"]
        train, evaluation = (
            _image_set(images[:, None], labels, EXPRESSIONS)
            for images, labels in (parts["Training"], evaluated)
        )
        return train, evaluation
    if config.name in ("mnist", "fashion_mnist") and has_idx_files(path):
        names = _DIGITS if config.name == "mnist" else _CLOTHES
        return _of_idx(path, "train", names), _of_idx(path, "t10k", names)
    if config.name in ("cifar10", "cifar100") and (pictures := pictures_in(path)):
        splits = read_pictures(pictures)
        return _of_pictures(splits["train"]), _of_pictures(splits["test"])
    return _through_torchvision(config, path)


def _of_idx(folder: Path, part: Any, class_names: tuple[str, ...]) -> ImageSet:
    images, labels = read_idx_images(folder, part)
    return _image_set(images[:, None], labels, class_names)


def _of_pictures(pictures: Pictures) -> ImageSet:
    return _image_set(pictures.images.transpose(0, 3, 1, 2), pictures.labels, pictures.class_names)


def _read_digits() -> tuple[ImageSet, ImageSet]:
    """The last fifth is the test set: people other than those who wrote the rest."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[:, None] * (255 / 16)).astype(np.uint8)
    whole = _image_set(images, digits.target, _DIGITS)
    begin = len(whole) - round(_DIGITS_TESTED * len(whole))
    return whole.take(torch.arange(begin)), whole.take(torch.arange(begin, len(whole)))


def _image_set(images: NDArray[np.uint8], labels: Any, class_names: tuple[str, ...]) -> ImageSet:
    labels = torch.from_numpy(np.asarray(labels, dtype=np.int64).copy())
    if len(labels) == 0 or int(labels.max()) >= len(class_names):
        highest = int(labels.max()) if len(labels) else "no image"
        raise InputError(
            "data.path",
            f"must hold images with labels from 0 to {len(class_names) - 1}",
            got=highest,
            fix="Check data.name and data.path.",
        )
    return ImageSet(torch.from_numpy(np.ascontiguousarray(images)), labels, class_names)


def _through_torchvision(config: ImageDataConfig, root: Path) -> tuple[Images, Images]:
    readers: dict[str, Callable[[Path, bool, bool], Images]] = {
        "mnist": _torchvision_mnist("MNIST", _DIGITS),
        "fashion_mnist": _torchvision_mnist("FashionMNIST", _CLOTHES),
        "cifar10": _torchvision_cifar("CIFAR10"),
        "cifar100": _torchvision_cifar("CIFAR100"),
        "flowers102": _torchvision_flowers,
        "imagenet": _torchvision_imagenet,
    }
    read = readers[config.name]
    rule = f"must hold {config.name}{_OTHER_LAYOUTS.get(config.name, '')} as torchvision keeps it"
    # Missing files, wrong checksums and failed downloads: torchvision says which in the first line. What has
    # no checksum, such as MNIST's unpacked files and ImageNet's meta.bin, may raise anything.
    with read_guarded("data.path", rule, got=root, fix=f"Check the path. {config.where_to_get}"):
        return read(root, True, config.download), read(root, False, config.download)


def _torchvision_mnist(kind: str, class_names: tuple[str, ...]) -> Callable[[Path, bool, bool], Images]:
    def read(root: Path, train: bool, download: bool) -> Images:
        from torchvision import datasets

        found = getattr(datasets, kind)(root, train=train, download=download)
        return _image_set(found.data.numpy()[:, None], found.targets, class_names)

    return read


def _torchvision_cifar(kind: str) -> Callable[[Path, bool, bool], Images]:
    def read(root: Path, train: bool, download: bool) -> Images:
        from torchvision import datasets

        found = getattr(datasets, kind)(root, train=train, download=download)
        return _image_set(found.data.transpose(0, 3, 1, 2), found.targets, tuple(found.classes))

    return read


def _torchvision_flowers(root: Path, train: bool, download: bool) -> Images:
    """Training is on the official training and validation images, 2,040, as the papers do."""
    from torchvision import datasets

    splits = ("train", "val") if train else ("test",)
    found = [datasets.Flowers102(root, split=split, download=download) for split in splits]
    # Read here, not through torchvision, whose errors do not name the file.
    paths = [path for found_split in found for path in found_split._image_files]
    labels = [label for found_split in found for label in found_split._labels]
    images = [read_scaled_centre(path, _LARGE_SIDE_PX, shorter_px=_LARGE_SHORTER_PX) for path in paths]
    names = tuple(getattr(found[0], "classes", map(str, range(102))))
    return ImageSet(torch.stack(images), torch.tensor(labels), names)


def _torchvision_imagenet(root: Path, train: bool, download: bool) -> Images:
    """Far beyond memory, so its files are decoded batch by batch."""
    from torchvision import datasets

    split = "train" if train else "val"
    try:
        found = datasets.ImageNet(root, split=split)
    except KeyError as error:  # a folder whose name meta.bin does not know
        raise InputError(
            "data.path",
            f"{split}/ must hold a folder for each class of ImageNet, and no other",
            got=str(root / split / error.args[0]),
            fix="Remove it, or rename it to the class's number, such as n01440764.",
        ) from error
    paths, labels = zip(*found.samples, strict=True)
    names = tuple(" / ".join(synonyms) for synonyms in found.classes)
    return ImageFiles(
        tuple(map(Path, paths)),
        torch.tensor(labels),
        names,
        side_px=_LARGE_SIDE_PX,
        shorter_px=_LARGE_SHORTER_PX,
    )
