"""Our model files: one flipped bit is refused, files of earlier versions load, no damage is a traceback."""

from __future__ import annotations

import copy
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_faces import write_faces
from small_runs import run_config

from data_prep.errors import InputError
from faceverif.models import MODEL_NAME, load_model
from faceverif.models.face_classifier import CLASSIFIER_NAME, load_face_classifier
from faceverif.models.sealed_tensors import UNSEALED, ModelFormat, refuse_damaged_models
from faceverif.training.loop import train

pytestmark = pytest.mark.usefixtures("small_inputs")

FILES = ModelFormat("faceverif.test", command="faceverif train", run="training run")
TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3), "none": torch.zeros(0)}
ABOUT = {"backbone": {"name": "x"}, "seeds": [1, 2]}


def read(path: Path) -> tuple[Any, Any]:
    with FILES.reading(path) as file:
        return file.about, file.tensors


def test_what_was_written_comes_back_sealed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    FILES.write(path, TENSORS, ABOUT)
    with FILES.reading(path) as file:
        assert file.sealed
        assert file.about == ABOUT | {"format": 2}
        assert file.tensors.keys() == TENSORS.keys()
        assert all(torch.equal(file.tensors[name], tensor) for name, tensor in TENSORS.items())


def test_every_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    FILES.write(path, TENSORS, ABOUT)
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            about, tensors = read(path)
        except InputError:
            refused += 1
        else:  # white space that pads the header
            assert about == ABOUT | {"format": 2}
            assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert refused > len(whole) / 3 - 5


def test_cut_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    FILES.write(path, TENSORS, ABOUT)
    whole = path.read_bytes()
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="whole and of this version" if length else "an empty file"):
            read(path)


def test_a_file_of_a_later_version_and_one_without_its_seal_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for form, said in ((3, "another format"), (2, "the hash differs")):
        save_file(TENSORS, path, metadata={"faceverif.test": json.dumps({"format": form})})
        with pytest.raises(InputError, match=said):
            read(path)


def test_files_follow_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    FILES.write(path, TENSORS, ABOUT)
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- a run's files


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_faces(tmp_path_factory.mktemp("data"), people=3, photos=4).root
    folder = tmp_path_factory.mktemp("run")
    train(
        run_config(data, data={"held_out_per_identity": 1}, training={"epochs": 1, "batch_size": 4}),
        folder,
        resume=False,
    )
    return folder


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    for name in (MODEL_NAME, CLASSIFIER_NAME):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    return tmp_path


def unsealed(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]) -> None:
    """Write a file again as an earlier version did, without a seal, with its content changed."""
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    ((key, description),) = metadata.items()
    about = json.loads(description) | {"format": 1}
    del about["sha256"]
    replaced = change(about, tensors)
    save_file(tensors, path, metadata={key: json.dumps(about if replaced is None else replaced)})


def test_a_run_of_an_earlier_version_loads_and_says_that_it_was_not_checked(copied: Path) -> None:
    unsealed(copied / MODEL_NAME, lambda *_: None)
    unsealed(copied / CLASSIFIER_NAME, lambda *_: None)
    assert load_model(copied / MODEL_NAME).provenance["integrity"] == UNSEALED
    assert load_face_classifier(copied).class_names == ("P00", "P01", "P02")


@pytest.mark.parametrize("name", [MODEL_NAME, CLASSIFIER_NAME])
def test_a_flipped_bit_in_the_weights_of_a_run_is_refused(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-20] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(InputError, match="the hash differs"):
        load_face_classifier(copied)
    with pytest.raises(InputError, match=rf"RUN: must hold a {name} as it was written"):
        refuse_damaged_models(copied)


def test_a_model_file_that_may_not_be_read_is_not_called_damaged(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def refused(path: Path, *how: Any, **more: Any) -> Any:
        if copied in path.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(PermissionError):
        refuse_damaged_models(copied)
    with pytest.raises(PermissionError):
        load_model(copied / MODEL_NAME)


def mutations(about: Any, *, seed: int, count: int) -> Iterator[Any]:
    """The description with one value replaced, or one key removed, at a random place."""
    random = np.random.default_rng(seed)
    foreign: list[Any] = [
        None,
        True,
        -1,
        0,
        10**400,
        1.5,
        float("nan"),
        "",
        "x",
        "\ud800",
        [],
        [1],
        {},
        {"a": 1},
    ]
    for _ in range(count):
        changed = copy.deepcopy(about)
        place, steps = changed, int(random.integers(1, 4))
        for _ in range(steps - 1):
            inner = [value for value in place.values() if isinstance(value, dict) and value]
            place = inner[int(random.integers(len(inner)))] if inner else place
        key = sorted(place)[int(random.integers(len(place)))]
        if random.random() < 0.2:
            del place[key]
        else:
            place[key] = foreign[int(random.integers(len(foreign)))]
        yield changed


@pytest.mark.parametrize("name", [MODEL_NAME, CLASSIFIER_NAME])
def test_no_damaged_description_is_a_traceback(copied: Path, name: str) -> None:
    whole = (copied / name).read_bytes()
    with safe_open(copied / name, framework="pt") as file:
        about = json.loads(*file.metadata().values()) | {"format": 1}
    refused = 0
    for changed in [[], "text", 3, *mutations(about, seed=1, count=5)]:
        (copied / name).write_bytes(whole)
        unsealed(copied / name, lambda *_, changed=changed: changed)
        try:
            load_face_classifier(copied)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused >= 3  # at least those that are no objects


@pytest.mark.parametrize(
    "rows",
    [
        torch.tensor([0, 1, 99]),  # beyond the manifest
        torch.tensor([-1, 1]),
        torch.tensor([0.0, 1.0]),
        torch.tensor([[0], [1]]),
        torch.tensor([3, 3]),
    ],
)
@pytest.mark.parametrize("which", ["photos.trained", "photos.held_out"])
def test_rows_that_are_none_of_the_data_set_are_refused(copied: Path, which: str, rows: torch.Tensor) -> None:
    unsealed(copied / CLASSIFIER_NAME, lambda _, tensors: tensors.update({which: rows}))
    with pytest.raises(InputError, match=r"row numbers|must be rows of its data set"):
        load_face_classifier(copied).images()


def test_model_files_of_a_run_have_the_same_permissions(run: Path) -> None:
    modes = {oct(path.stat().st_mode) for path in run.glob("*") if path.is_file() and path.name != ".lock"}
    if os.name == "posix":
        assert len(modes) == 1, modes
