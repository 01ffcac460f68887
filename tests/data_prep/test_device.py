"""The device of a process: which names there are, and what is said of one that is not here."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from data_prep import device
from data_prep.device import choose_device, chosen_name, computing_device, find_device
from data_prep.errors import InputError


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    choose_device("auto")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "CPU", "cuda:-1", "cpu "])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="must be auto, cpu, cuda, cuda:N or mps"):
        find_device(name)


def test_a_device_that_is_not_here_names_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=rf"must be a device of this machine; got {name}.*There is cpu"):
            choose_device(name)
    assert chosen_name() == "auto"


@pytest.mark.usefixtures("two_gpus")
def test_gpus_have_numbers() -> None:
    torch.backends.cudnn.allow_tf32 = True
    assert [str(find_device(name)) for name in ("auto", "cuda", "cuda:1", "cpu")] == [
        "cuda:0",
        "cuda:0",
        "cuda:1",
        "cpu",
    ]
    assert not torch.backends.cudnn.allow_tf32
    with pytest.raises(InputError, match=r"got cuda:2.*There is cpu, cuda, cuda:1"):
        find_device("cuda:2")


def test_auto_is_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert computing_device() == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_the_choice_is_the_processs() -> None:
    choose_device("cuda:1")
    assert (chosen_name(), str(computing_device())) == ("cuda:1", "cuda:1")
    assert str(device.find_device("cpu")) == "cpu"


def test_a_worker_of_one_core_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_cores", None)
    assert device.cores() == (os.cpu_count() or 1)
    device.use_cores(1)
    assert device.cores() == 1
