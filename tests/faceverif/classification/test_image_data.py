"""Which images a run trains on and is judged by."""

from __future__ import annotations

import errno
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from data_prep.errors import InputError
from faceverif.classification.data import in_turns, load_image_sets, noisy_labels, warning_of_absence
from faceverif.classification.data_section import DataName, ImageDataConfig
from faceverif.classification.evaluation import measure_ten_crops, ten_crops
from faceverif.classification.sources import PIXEL_STATISTICS
from faceverif.config.paths import refuse_missing_paths
from faceverif.heads.softmax import SoftmaxHead
from faceverif.images.labelled import ImageFiles, ImageSet, scaled_centre


def digits(**settings: Any) -> tuple[ImageSet, ImageSet]:
    train, evaluation = load_image_sets(ImageDataConfig(name="digits", **settings), seed=3)
    assert isinstance(train, ImageSet)
    assert isinstance(evaluation, ImageSet)
    return train, evaluation


def write_idx(path: Path, values: np.ndarray[Any, Any]) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def write_mnist(folder: Path, labels: list[int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", np.zeros((len(labels), 28, 28)))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.array(labels))
    return folder


def write_picture(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), colour).save(path, format="PNG")


def test_digits_are_split_in_a_fixed_way() -> None:
    train, test = digits()
    assert (len(train), len(test)) == (1438, 359)
    assert train.shape == (1, 8, 8)
    assert train.images.dtype == torch.uint8
    assert train.images.max() == 255
    assert set(test.labels.tolist()) == set(range(10))


def test_only_the_first_classes_are_left() -> None:
    train, test = digits(classes=3)
    assert train.class_names == ("0", "1", "2")
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == {0, 1, 2}
    with pytest.raises(InputError, match=r"data\.classes: must be at most 10"):
        digits(classes=11)


def test_held_out_images_are_training_images_and_not_trained_on() -> None:
    whole, _ = digits()
    train, held_out = digits(held_out=100)
    assert (len(train), len(held_out)) == (1338, 100)
    assert held_out.labels.bincount().tolist() == [10] * 10
    both = torch.cat((train.images, held_out.images)).flatten(1)
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, whole.images.flatten(1).tolist()))
    with pytest.raises(InputError, match=r"data\.held_out: must be less than"):
        digits(held_out=1438)


def test_a_limit_is_met_evenly_over_the_classes() -> None:
    assert digits(limit=50)[0].labels.bincount().tolist() == [5] * 10
    assert len(digits(limit=50)[1]) == 359


def test_in_turns_every_beginning_is_even() -> None:
    labels = torch.tensor([2, 2, 2, 0, 0, 1])
    order = in_turns(labels, torch.tensor([5, 4, 3, 2, 1, 0]))
    assert labels[order].tolist() == [0, 1, 2, 0, 2, 2]
    assert order.tolist() == [4, 5, 2, 3, 1, 0]


def test_noise_makes_that_share_of_the_labels_wrong() -> None:
    clean, test = digits()
    noisy, same_test = digits(label_noise=0.4)
    assert (noisy.labels != clean.labels).sum() == round(0.4 * 1438)
    assert torch.equal(noisy.images, clean.images)
    assert torch.equal(test.labels, same_test.labels)
    again = noisy_labels(clean.labels, classes=10, share=0.4, seed=3)
    assert torch.equal(again, noisy.labels)
    assert not torch.equal(noisy_labels(clean.labels, classes=10, share=0.4, seed=4), noisy.labels)
    # Every other class with the same chance: 9,000 wrong labels over 9 classes, 5 standard deviations.
    wrong = noisy_labels(torch.zeros(10_000, dtype=torch.int64), classes=10, share=0.9, seed=0).bincount()
    assert wrong[0] == 1000
    assert (wrong[1:] - 1000).abs().max() < 150


def test_idx_files_lie_in_the_folder_or_where_torchvision_puts_them(tmp_path: Path) -> None:
    for path, folder in ((tmp_path / "plain", "plain"), (tmp_path / "tv", "tv/MNIST/raw")):
        write_mnist(tmp_path / folder, [3, 1, 2])
        train, _ = load_image_sets(ImageDataConfig(name="mnist", path=tmp_path / path.name), seed=0)
        assert train.labels.tolist() == [3, 1, 2]
        assert train.shape == (1, 28, 28)


def test_a_class_without_a_training_image_is_named() -> None:
    with pytest.raises(
        InputError, match=r"training image of every class; got none of 4, 5, 6, 7, 8 and 1 more\."
    ):
        load_image_sets(ImageDataConfig(name="digits", limit=4), seed=0)


def test_fer2013_is_judged_on_the_part_that_is_named(tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 48 * 48)
    lines = [f"{label},{pixels},Training" for label in range(7)]
    lines += [f"1,{pixels},PublicTest", f"2,{pixels},PrivateTest", f"2,{pixels},PrivateTest"]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]), encoding="utf-8")
    train, test = load_image_sets(ImageDataConfig(name="fer2013", path=tmp_path), seed=0)
    assert (train.shape, len(train), test.labels.tolist()) == ((1, 48, 48), 7, [2, 2])
    judged = ImageDataConfig(name="fer2013", path=tmp_path, evaluate_on="validation")
    assert load_image_sets(judged, seed=0)[1].labels.tolist() == [1]
    with pytest.raises(ValueError, match="digits has no validation set"):
        ImageDataConfig(name="digits", evaluate_on="validation")


def test_ten_crops_are_the_corners_and_the_centre_and_their_mirror_images() -> None:
    pictures = torch.arange(5 * 7).view(1, 1, 5, 7)
    crops = ten_crops(pictures, 3)
    assert [int(crop[0, 0, 0, 0]) for crop in crops[:5]] == [0, 4, 14, 18, 9]
    assert all(torch.equal(mirrored, crop.flip(3)) for crop, mirrored in zip(crops, crops[5:], strict=False))
    assert len(crops) == 10


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="labels from 0 to 9; got 10"):
        load_image_sets(ImageDataConfig(name="mnist", path=write_mnist(tmp_path, [3, 10])), seed=0)


def test_images_of_two_sizes_are_refused_before_the_training(tmp_path: Path) -> None:
    write_idx(write_mnist(tmp_path, [3, 1]) / "t10k-images-idx3-ubyte", np.zeros((2, 32, 32)))
    with pytest.raises(InputError, match=r"images of one size.*; got 1 x 28 x 28 and 1 x 32 x 32"):
        load_image_sets(ImageDataConfig(name="mnist", path=tmp_path), seed=0)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("mnist", "--set data.download=true fetches it; or give a folder with train-images-idx3-ubyte"),
        ("cifar10", "--set data.download=true fetches it; or give a folder or tar of train/CLASS/PICTURE"),
        ("cifar100", "--set data.download=true fetches it; or give a folder or tar of train/CLASS/PICTURE"),
        ("flowers102", "--set data.download=true fetches it, into flowers-102/"),
        ("imagenet", r"Register at image-net\.org, and put ILSVRC2012_img_train\.tar"),
        ("fer2013", r"Kaggle\), and give fer2013\.csv"),
    ],
)
def test_missing_data_is_one_clear_line(tmp_path: Path, name: Any, where: str) -> None:
    """It says where to get the data and how they lie: for an empty folder, and for none."""
    with pytest.raises(InputError, match=rf"data\.path: must hold {name}.*{where}") as empty:
        load_image_sets(ImageDataConfig(name=name, path=tmp_path), seed=0)
    assert "\n" not in str(empty.value)
    with pytest.raises(InputError, match=rf"path: there is no such file or folder; got .*nowhere.*{where}"):
        refuse_missing_paths(ImageDataConfig(name=name, path=tmp_path / "nowhere"))


def test_a_class_that_a_split_lacks_is_named(tmp_path: Path) -> None:
    for split, names in (("train", "ace"), ("test", "abe")):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / "0.png")
    lacking = r"same classes in every split; got no picture of b in train/; no picture of c in test/ \("
    with pytest.raises(InputError, match=lacking):
        load_image_sets(ImageDataConfig(name="cifar10", path=tmp_path), seed=0)


def test_a_path_is_needed_and_some_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path must be given"):
        ImageDataConfig(name="mnist")
    with pytest.raises(ValueError, match="nobody can fetch imagenet"):
        ImageDataConfig(name="imagenet", path=tmp_path, download=True)


@pytest.mark.parametrize("kept_as", ["folder", "tar", "folder with a tar"])
def test_cifar_comes_from_pictures(tmp_path: Path, kept_as: str) -> None:
    path = tmp_path / "pictures"
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        write_picture(path / place / "0000.png", (200, 100, 50))
    if kept_as != "folder":
        (tmp_path / "cifar10").mkdir()
        with tarfile.open(tmp_path / "cifar10/cifar10.tar.gz", "w:gz") as archive:
            for split in ("train", "test"):
                archive.add(path / split, split)
        (tmp_path / "cifar10/cifar-10-python.tar.gz").touch()  # torchvision's own may lie beside it
        path = tmp_path / ("cifar10/cifar10.tar.gz" if kept_as == "tar" else "cifar10")
    train, _ = load_image_sets(ImageDataConfig(name="cifar10", path=path), seed=0)
    assert train.class_names == ("cat", "dog")
    assert isinstance(train, ImageSet)
    assert train.images[0, :, 0, 0].tolist() == [200, 100, 50]


def test_cifar_as_torchvision_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    monkeypatch.setattr("torchvision.datasets.CIFAR10._check_integrity", lambda self: True)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    pixels = np.zeros((2, 3, 32, 32), dtype=np.uint8)
    pixels[:, 0] = 200
    for part in ("train", "test"):
        content = {"data": pixels.reshape(2, -1), "fine_labels": [1, 0]}
        (folder / part).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "baby"]}))
    train, test = load_image_sets(ImageDataConfig(name="cifar100", path=tmp_path), seed=0)
    assert isinstance(train, ImageSet)
    assert train.images[0, :, 0, 0].tolist() == [200, 0, 0]
    assert (train.labels.tolist(), test.class_names) == ([1, 0], ("apple", "baby"))


def test_flowers_train_on_both_official_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.Flowers102._check_integrity", lambda self: True)
    folder = tmp_path / "flowers-102"
    for number in range(1, 6):
        write_picture(folder / "jpg" / f"image_{number:05d}.jpg", (50 * number, 0, 0))
    savemat(folder / "imagelabels.mat", {"labels": np.array([[1, 2, 1, 2, 2]])})
    savemat(folder / "setid.mat", {"trnid": [[4, 5]], "valid": [[1, 1]], "tstid": [[2, 3]]})
    train, test = load_image_sets(ImageDataConfig(name="flowers102", path=tmp_path), seed=0)
    assert isinstance(train, ImageSet)
    assert train.images[:, 0, 100, 100].tolist() == [200, 250, 50, 50]
    assert train.shape == (3, 224, 224)
    assert (train.labels.tolist(), test.labels.tolist()) == ([1, 1, 0, 0], [1, 0])
    assert len(train.class_names) == 102


def test_imagenet_stays_on_disk(tmp_path: Path) -> None:
    torch.save(({"n01": ("tench", "Tinca"), "n02": ("crane",)}, ["n01"]), tmp_path / "meta.bin")
    for number, place in enumerate(("train/n01", "train/n02", "val/n01", "val/n02")):
        for name in ("x", "y"):
            write_picture(tmp_path / place / f"{name}.JPEG", (10 * number, 0, 0))
    train, test = load_image_sets(ImageDataConfig(name="imagenet", path=tmp_path, held_out=1), seed=0)
    assert isinstance(train, ImageFiles)
    assert (len(train), len(test)) == (3, 1)
    assert train.class_names == ("tench / Tinca", "crane")
    [pixels] = train.read(torch.tensor([0]))
    assert pixels[:, 100, 100].tolist() == [10 * train.labels[0].item(), 0, 0]


@pytest.mark.parametrize(
    ("folders", "meta", "says"),
    [
        (
            ("train/n02", "val/n01", "val/n02"),
            True,
            r"the same classes, to train on and to evaluate; got no picture to train on of tench\. Fetch",
        ),
        (
            ("train/n01", "train/n02", "val/n02"),
            True,
            r"the same classes, .* got no picture to evaluate of tench\. Fetch",
        ),
        (("train/n01", "train/copy", "val/n01"), True, r"train/ must hold a folder for .*; got .*train/copy"),
        (("train/n01", "val/n01"), False, r"must hold imagenet as torchvision keeps it; got .*Register at"),
    ],
)
def test_imagenet_in_other_folders_is_one_clear_line(
    tmp_path: Path, folders: tuple[str, ...], meta: bool, says: str
) -> None:
    """Torchvision counts the folders that are there: without the first one, 0 would be another class."""
    torch.save(({"n01": ("tench",), "n02": ("crane",)}, ["n01"]), tmp_path / "meta.bin")
    if not meta:
        (tmp_path / "meta.bin").write_bytes(b"torn")
    for place in folders:
        write_picture(tmp_path / place / "x.JPEG", (10, 0, 0))
    with pytest.raises(InputError, match=says) as refused:
        load_image_sets(ImageDataConfig(name="imagenet", path=tmp_path), seed=0)
    assert "\n" not in str(refused.value)


def test_files_are_decoded_when_read(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.new("L", (40 + 10 * number, 30), 50 * number).save(path)
    files = ImageFiles(paths, torch.tensor([0, 1, 0]), ("a", "b"), side_px=14, shorter_px=16)
    chosen = files.take(torch.tensor([2, 0]))
    assert chosen.read(torch.tensor([0, 1]))[:, :, 7, 7].tolist() == [[100] * 3, [0] * 3]
    assert chosen.shape == (3, 14, 14)


def test_the_crop_is_the_middle() -> None:
    pixels = np.zeros((8, 24, 3), dtype=np.uint8)
    pixels[:, 8:16] = 255
    assert scaled_centre(Image.fromarray(pixels), 7, shorter_px=8).min() == 255


def of_claimed_size(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds nothing."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_damaged_picture_is_named_in_a_large_set(tmp_path: Path) -> None:
    """Whatever the decoder raises, also where its message has no path or it is no OSError."""
    whole, damaged = tmp_path / "whole.png", tmp_path / "damaged.png"
    Image.effect_noise((40, 40), 50).convert("RGB").save(whole)
    files = ImageFiles([whole, damaged], torch.tensor([0, 1]), ("a", "b"), side_px=14, shorter_px=16)
    contents = {
        "cannot identify image file": b"no picture",
        "truncated": whole.read_bytes()[:500],
        "exceeds limit of": of_claimed_size(20_000, 20_000),
        "No such file": None,
    }
    for said, content in contents.items():
        damaged.unlink(missing_ok=True)
        if content is not None:
            damaged.write_bytes(content)
        with pytest.raises(
            InputError, match=rf"^data\.path: .*; got {damaged} \([^/]*{said}[^/]*\)\. Replace"
        ):
            files.read(torch.tensor([0, 1]))


def test_a_picture_that_the_system_does_not_open_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(Image, "open", too_many)
    files = ImageFiles([tmp_path / "whole.png"], torch.tensor([0]), ("a",), side_px=14, shorter_px=16)
    with pytest.raises(OSError, match="Too many open files"):
        files.read(torch.tensor([0]))


@pytest.mark.parametrize(
    ("name", "opener"),
    [("imagenet", "torchvision.datasets.ImageNet"), ("mnist", "data_prep.sources.idx.gzip.open")],
)
def test_a_set_that_the_system_does_not_give_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: DataName, opener: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    for part in ("images-idx3", "labels-idx1"):
        (tmp_path / f"train-{part}-ubyte.gz").write_bytes(b"\x1f\x8b")
    monkeypatch.setattr(opener, refused)
    with pytest.raises(PermissionError):
        load_image_sets(ImageDataConfig(name=name, path=tmp_path), seed=0)


def test_hashes_know_pixels_and_labels() -> None:
    train, _ = digits()
    other = digits(label_noise=0.1)[0]
    assert train.sha256() != other.sha256()
    assert train.sha256() == digits()[0].sha256()


@pytest.mark.real_data
def test_statistics_are_those_of_the_pixels(shared: Path) -> None:
    places: dict[DataName, Path | None] = {"mnist": shared / "data" / "mnist", "digits": None}
    for name, path in places.items():
        train, _ = load_image_sets(ImageDataConfig(name=name, path=path), seed=0)
        assert isinstance(train, ImageSet)
        pixels = train.images.double() / 255
        assert PIXEL_STATISTICS[name].mean[0] == pytest.approx(pixels.mean().item(), abs=2e-3)
        assert PIXEL_STATISTICS[name].std[0] == pytest.approx(pixels.std().item(), abs=2e-3)


def test_errors_over_ten_crops(tmp_path: Path) -> None:
    """A network that sees how bright an image is tells black from white in any crop."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 32), (255 * (number % 2),) * 3).save(path)
    network: Any = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    network.register_parameter("there", torch.nn.Parameter(torch.zeros(1)))  # tells the device
    head = SoftmaxHead(classes=2, embedding_dim=3, probe=False)
    for name, parameter in head.named_parameters():
        torch.nn.init.zeros_(parameter)
        if name == "weight":
            parameter.data[0], parameter.data[1] = -1.0, 1.0
        else:
            parameter.data[0] = 1.0
    labels = torch.tensor([0, 1, 0, 0])
    files = ImageFiles(paths, labels, ("dark", "bright"), side_px=14, shorter_px=16)
    assert measure_ten_crops(network, head, files) == {"ten_crop_error": 0.25}


def test_ten_crops_see_the_picture_that_one_crop_is_the_middle_of(tmp_path: Path) -> None:
    """Krizhevsky et al. (2012): of a 256 px picture one crop is the middle; the corners reach its border."""
    framed = np.zeros((1024, 1600, 3), np.uint8)
    framed[64:-64, 352:-352] = 255  # a frame of 64 px around the central square: 16 px at 256
    Image.fromarray(framed).save(tmp_path / "framed.png")
    files = ImageFiles([tmp_path / "framed.png"], torch.tensor([0]), ("a",), side_px=224, shorter_px=256)
    seen: list[torch.Tensor] = []

    class Looking(torch.nn.Linear):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels)
            return super().forward(pixels.mean(dim=(2, 3)))

    network: Any = Looking(3, 2)
    measure_ten_crops(network, SoftmaxHead(classes=2, embedding_dim=2), files)
    [one] = files.read(torch.tensor([0])).float() / 255
    first, *_, centre = (crop[0] for crop in seen[:5])
    torch.testing.assert_close(centre, one)
    dark = (first[0] < 0.5).sum(dim=1)
    assert dark.tolist() == [224] * 16 + [16] * 208


def test_classes_without_a_training_image_are_reported() -> None:
    train, _ = digits()
    assert warning_of_absence(train) == ""
    few = train.take((train.labels > 1).nonzero().squeeze(1))
    assert warning_of_absence(few).startswith("there is no training image of 0, 1; ")
