"""Idx files: read right, and refused when they are not whole."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from field_formats import accepted, spliced
from hypothesis import strategies as st
from numpy.typing import NDArray
from traced_memory import memory_below

from data_prep.errors import InputError
from data_prep.sources.idx import has_idx_files, read_idx, read_idx_images

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(values: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_values_come_back_in_row_major_order(tmp_path: Path, zipped: bool) -> None:
    content = gzip.compress(idx(IMAGES)) if zipped else idx(IMAGES)
    assert np.array_equal(read_idx(write(tmp_path / "file", content), dimensions=3), IMAGES)


DAMAGED = {
    "empty": b"",
    "cut off in the header": idx(IMAGES)[:9],
    "cut off in the values": idx(IMAGES)[:-1],
    "bytes left over": idx(IMAGES) + b"\0",
    "another type": b"\0\0\x0d" + idx(IMAGES)[3:],
    "other dimensions": idx(IMAGES[0]),
    "cut off gzip": gzip.compress(idx(IMAGES))[:-12],
    "spoilt gzip": gzip.compress(idx(IMAGES))[:12] + b"\xff" * 30,
    "a web page": b"<html>404 not found</html>",
    "claims 4 GiB": struct.pack(">HBB3I", 0, 8, 3, 2**16, 2**8, 2**8),
    "claims more than any memory": struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3),
    "claims 4 GiB, gzipped": gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**16, 2**8, 2**8) + bytes(100)),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "file", content)
    with memory_below(2_000_000), pytest.raises(InputError, match=r"data\.path: must hold whole idx files"):
        read_idx(path, dimensions=3)


@pytest.mark.parametrize("zipped", [False, True])
def test_cut_anywhere(tmp_path: Path, zipped: bool) -> None:
    whole = gzip.compress(idx(IMAGES)) if zipped else idx(IMAGES)
    for length in range(len(whole)):
        with pytest.raises(InputError, match="must hold whole idx files"):
            read_idx(write(tmp_path / "file", whole[:length]), dimensions=3)


def test_other_bytes_are_values_or_refused(tmp_path: Path) -> None:
    def read(content: bytes) -> bool:
        try:
            values = read_idx(write(tmp_path / "file", content), dimensions=2)
        except InputError:
            return False
        assert idx(values) == content  # whatever is accepted is what the bytes say, to the last one
        return True

    contents = st.one_of(st.binary(max_size=80), spliced(idx(IMAGES[0])))
    assert accepted(read, contents, examples=150) > 10


@pytest.mark.parametrize("name", ["raw/train-{}-idx{}-ubyte", "train-{}.idx{}-ubyte"])
def test_the_files_are_found_as_torchvision_and_kaggle_lay_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "raw").mkdir()
    write(tmp_path / name.format("images", 3), idx(IMAGES))
    write(tmp_path / name.format("labels", 1), idx(np.zeros(len(IMAGES), np.uint8)))
    assert has_idx_files(tmp_path)
    assert len(read_idx_images(tmp_path, "train")[1]) == len(IMAGES)


def test_a_part_needs_both_files_and_equal_counts(tmp_path: Path) -> None:
    assert not has_idx_files(tmp_path)
    write(tmp_path / "train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES)))
    assert has_idx_files(tmp_path)
    with pytest.raises(InputError, match="train-labels-idx1-ubyte"):
        read_idx_images(tmp_path, "train")
    write(tmp_path / "train-labels-idx1-ubyte", idx(np.array([7, 1, 3], dtype=np.uint8)))
    with pytest.raises(InputError, match="2 images and 3 labels"):
        read_idx_images(tmp_path, "train")
    write(tmp_path / "train-labels-idx1-ubyte", idx(np.array([7, 1], dtype=np.uint8)))
    images, labels = read_idx_images(tmp_path, "train")
    assert images.shape == (2, 3, 4)
    assert labels.tolist() == [7, 1]


@pytest.mark.real_data
def test_mnist_is_mnist(shared: Path) -> None:
    images, labels = read_idx_images(shared / "data" / "mnist", "t10k")
    assert images.shape == (10_000, 28, 28)
    assert labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
