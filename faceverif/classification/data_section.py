"""The section `data` of a classification run: which images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceverif.config.paths import MustExist
from faceverif.config.section import Change, Count, Section

DataName = Literal[
    "mnist", "fashion_mnist", "cifar10", "cifar100", "flowers102", "imagenet", "fer2013", "digits"
]
_NOT_FETCHED = ("digits", "imagenet", "fer2013")
_FETCHED = "Where there is a network, --set data.download=true fetches it"
_IDX_FILES = f"{_FETCHED}; or give a folder with train-images-idx3-ubyte and the other three idx files."
_PICTURES = f"{_FETCHED}; or give a folder or tar of train/CLASS/PICTURE and test/CLASS/PICTURE."
_WHERE_TO_GET = {
    "mnist": _IDX_FILES,
    "fashion_mnist": _IDX_FILES,
    "cifar10": _PICTURES,
    "cifar100": _PICTURES,
    "flowers102": f"{_FETCHED}, into flowers-102/ below the path.",
    "imagenet": "Register at image-net.org, and put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
    "ILSVRC2012_devkit_t12.tar.gz into the folder.",
    "fer2013": "Download FER2013 (the challenge of 2013 on Kaggle), and give fer2013.csv or its folder.",
}


class ImageDataConfig(Section):
    """Which images, and what is done to the set before training.

    Attributes:
        name: the data set; digits are scikit-learn's 8 x 8 ones, which come with it.
        path: MNIST: a folder of the four idx files; CIFAR: a folder or tar of train/CLASS/PICTURE and
            test/CLASS/PICTURE, or a folder with such a tar; FER2013: fer2013.csv or its folder; any but these
            and digits: the `root` of torchvision's data set.
        download: let torchvision fetch what is missing into `path`.
        evaluate_on: the test set, or of FER2013 the validation set (its PublicTest).
        classes: number of classes to use, the first ones (W-Softmax, Table 5); null: all.
        label_noise: share of the training images that get another class, any with the same chance, before
            training (GSC, Table 2); what is evaluated keeps its labels.
        held_out: number of training images, evenly over the classes, that are kept out of training and
            evaluated instead of the test set, so that choices do not see it.
        limit: number of images to train on, evenly over the classes; null: all.
    """

    name: DataName
    path: Annotated[
        Annotated[Path, MustExist(unless="download", advice="where_to_get")] | None, Change.FREE
    ] = None
    download: Annotated[bool, Change.FREE] = False
    evaluate_on: Literal["test", "validation"] = "test"
    classes: Annotated[int, Field(ge=2)] | None = None
    label_noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    held_out: Annotated[int, Field(ge=0)] = 0
    limit: Count | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> ImageDataConfig:
        if self.name != "digits" and self.path is None:
            raise ValueError("path must be given; only digits come without files")
        if self.evaluate_on != "test" and self.name != "fer2013":
            raise ValueError(f"evaluate_on must be test: {self.name} has no validation set")
        if self.download and self.name in _NOT_FETCHED:
            raise ValueError(f"download must be false: nobody can fetch {self.name}")
        return self

    @property
    def where_to_get(self) -> str:
        """How to come by the data set, and how its folder looks; empty for what needs no files."""
        return _WHERE_TO_GET.get(self.name, "")
