"""Workers notice other code, other storage and other runs; what they have done stays."""

from __future__ import annotations

import pickle
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from data_prep.atomic import unfinished
from data_prep.dataset.manifest import JOURNAL_NAME, MANIFEST_NAME
from data_prep.errors import InputError
from data_prep.own_names import SHARED_MARK
from data_prep.prepare import align_folder as prepare
from data_prep.prepare import parts
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings, Row, Task
from data_prep.prepare.workers import AlignJob
from data_prep.sources.folder import list_photos
from data_prep.work import on_ray
from data_prep.work.carried import DONE, READY, STOPPED, Order, RemoteWorker, packed_error
from data_prep.work.code import code_identity, differences
from data_prep.work.here import ThisProcess
from data_prep.work.job import Job, WorkStopped
from data_prep.work.on_ray import RayCluster
from data_prep.work.ray_driver import RayRequest, _Crew, _fitting, _worker_class
from data_prep.work.storage import Storage

_SETTINGS = AlignSettings(min_face_px=40)
_HERE = ThisProcess(as_worker=True)


@dataclass(frozen=True)
class Sizes(Job[str, int]):
    """The sizes of files in a folder."""

    folder: Path
    out: Path | None = None

    @property
    def reads(self) -> tuple[Path, ...]:
        return (self.folder,)

    @property
    def writes(self) -> Path | None:
        return self.out

    def start(self) -> Callable[[str], int]:
        return lambda name: (self.folder / name).stat().st_size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/three").write_bytes(b"abc")
    return tmp_path / "in"


# --- storage


def test_storage_that_vanishes_costs_no_photo(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, away, out = tmp_path / "photos", tmp_path / "unmounted", tmp_path / "out"
    shutil.copytree(people, source)
    monkeypatch.setattr(prepare, "_PHOTOS_PER_TASK", 4)
    read, left = type(list_photos(source).photos[0]).read, iter(range(6))

    def read_until_it_vanishes(photo: Any) -> bytes:
        if next(left, None) is None and source.exists():
            source.rename(away)
        return read(photo)

    with monkeypatch.context() as patch:
        patch.setattr(type(list_photos(source).photos[0]), "read", read_until_it_vanishes)
        with pytest.raises(WorkStopped, match=f"storage: must stay there .*got {source}, which is gone"):
            align_folder(source, out, settings=_SETTINGS, engine=_HERE)
    assert len((out / JOURNAL_NAME).read_bytes().splitlines()) == 1 + 4
    away.rename(source)
    summary = align_folder(source, out, settings=_SETTINGS, engine=_HERE)
    assert (summary.photos, summary.aligned, summary.done_now, summary.failures) == (12, 12, 8, {})


def test_a_node_must_see_the_same_storage(folder: Path, tmp_path: Path) -> None:
    job = Sizes(folder, out=tmp_path)
    with Storage.shown(job) as storage:
        storage.enter("n1")
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        with pytest.raises(WorkStopped, match="nowhere, which node n1 does not see"):
            replace(storage, contents={tmp_path / "nowhere": "3 bytes"}).enter("n1")
        (copy / "four").touch()
        other = {copy: storage.contents[folder]}
        with pytest.raises(WorkStopped, match="copy, which node n1 sees otherwise"):
            replace(storage, contents=other).enter("n1")
        (mark,) = tmp_path.glob(f"{SHARED_MARK}*")
        mark.unlink()  # as on a node where the folder to write is another disk
        with pytest.raises(WorkStopped, match=rf"got {tmp_path}, which node n1 does not see"):
            storage.enter("n1")


def test_the_mark_of_a_killed_run_is_removed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / f"{SHARED_MARK}old").touch()
    with Storage.shown(Sizes(folder, out=tmp_path)):
        assert len(list(tmp_path.glob(f"{SHARED_MARK}*"))) == 1
    assert not list(tmp_path.glob(f"{SHARED_MARK}*"))


# --- parts of the journal


class Counting:
    """An aligner that counts the shards that it is given."""

    def __init__(self, out: Path) -> None:
        self.align, self.shards = AlignJob(out, _SETTINGS).start(), 0

    def __call__(self, photos: Task) -> list[Row]:
        self.shards += 1
        return self.align(photos)


@pytest.fixture
def begun(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Task]]:
    """A data set of which nothing is aligned yet, and its shards."""

    def stop(*_: object, **__: object) -> None:
        parts.parts_folder(
            tmp_path / "out"
        ).mkdir()  # as workers on other machines do before their first photo
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "_PHOTOS_PER_TASK", 4)
    monkeypatch.setattr(prepare, "_run", stop)
    with pytest.raises(KeyboardInterrupt):
        align_folder(people, tmp_path / "out", settings=_SETTINGS)
    monkeypatch.undo()
    monkeypatch.setattr(prepare, "_PHOTOS_PER_TASK", 4)
    photos = list(list_photos(people).photos)
    return tmp_path / "out", [photos[start : start + 4] for start in range(0, 12, 4)]


def test_what_workers_kept_is_taken_in_by_the_next_run(
    people: Path, begun: tuple[Path, list[Task]], tmp_path: Path
) -> None:
    out, shards = begun
    align = Counting(out)
    assert parts.kept_rows(out, shards[1], align) == parts.kept_rows(out, shards[1], align)
    assert align.shards == 1, "a shard that is kept is not done again"
    parts.kept_rows(out, shards[0], align)
    part = parts.part_of(out, (photo.key for photo in shards[0]))
    part.write_bytes(part.read_bytes()[:-20])  # a damaged one is
    assert align_folder(people, out, settings=_SETTINGS, engine=_HERE).done_now == 8
    assert not parts.parts_folder(out).exists()
    align_folder(people, tmp_path / "whole", settings=_SETTINGS, engine=_HERE)
    assert (out / MANIFEST_NAME).read_bytes() == (tmp_path / "whole" / MANIFEST_NAME).read_bytes()


def test_a_shard_that_another_run_writes_is_left_to_it(begun: tuple[Path, list[Task]]) -> None:
    out, shards = begun
    align = Counting(out)
    with (
        unfinished(parts.part_of(out, (photo.key for photo in shards[0])), folder=False),
        pytest.raises(InputError, match=r"OUT: must not be in use; got .*another `faceverif align` is wr"),
    ):
        parts.kept_rows(out, shards[0], align, busy_s=0)
    assert align.shards == 0


# --- what workers say


def test_errors_arrive_as_they_were_raised(folder: Path) -> None:
    with Storage.shown(Sizes(folder)) as storage:
        worker = RemoteWorker("n1")
        assert worker.begin(pickle.dumps(Order(Sizes(folder), storage, None))) == (READY, "n1")
    kind, content = worker.do(pickle.dumps("three"))
    assert (kind, pickle.loads(content)) == (DONE, 3)
    kind, content = worker.do(pickle.dumps("four"))
    assert kind == STOPPED
    assert isinstance(pickle.loads(content), FileNotFoundError)
    stopped = WorkStopped("field", "rule", got=folder, fix="Fix it.")
    for error in (stopped, InputError("field", "rule", got=3, fix="Fix it.")):
        again = pickle.loads(packed_error(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert "ZeroDivisionError: by zero" in str(pickle.loads(packed_error(ZeroDivisionError("by zero"))))


def test_other_code_is_named() -> None:
    here = code_identity()
    assert differences(here, dict(here)) == ""
    assert differences(here, here | {"torch": "1.0"}) == f"torch 1.0 instead of {here['torch']}"
    assert differences(here, {}).startswith(f"faceverif none instead of {here['faceverif']}")
    assert ", code " in here["faceverif"]


def test_a_node_with_other_code_is_refused() -> None:
    there = code_identity() | {"faceverif": "0.0.1, code 0"}
    kind, content = _worker_class()().enter(there, b"")
    pipe = PretendedPipe()
    pipe.recv = lambda: (kind, content)  # type: ignore[attr-defined]
    with pytest.raises(WorkStopped, match=r"same code and packages; got node .* instead of 0\.0\.1, code 0"):
        list(on_ray._Driver(pipe).results([]))  # type: ignore[arg-type]


# --- a cluster, without Ray


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:1", r"--on ray: the cluster must answer; got 127\.0\.0\.1:1 \(.*refused"),
        ("ray://host:10001", "RAY_ADDRESS: must be HOST:PORT of a head node, auto or local; got ray://host"),
        ("127.0.0.1:99999", "--on ray: the cluster must answer"),
        ("nobody", "RAY_ADDRESS: must be HOST:PORT"),
    ],
)
def test_an_address_that_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, address: str, says: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=says), RayCluster().workers(Sizes(folder), shards=1):
        pass


def test_a_cluster_that_does_not_answer_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_ANSWER_S", 0.1)
    monkeypatch.setattr(on_ray, "_LEAVE_S", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")
        with (
            pytest.raises(WorkStopped, match="the cluster must answer; got no answer"),
            RayCluster().workers(Sizes(folder), shards=1),
        ):
            pass


def test_a_device_that_ray_does_not_give() -> None:
    with pytest.raises(InputError, match="--device: must be auto, cpu or cuda with --on ray; got cuda:1"):
        RayCluster(device="cuda:1")


@pytest.mark.parametrize(
    ("resources", "workers", "gpu", "expected"),
    [
        ({"CPU": 8.0}, 0, None, (8, {"num_cpus": 1})),
        ({"CPU": 8.0}, 3, False, (3, {"num_cpus": 1})),
        ({"CPU": 8.0, "GPU": 2.0}, 0, False, (8, {"num_cpus": 1})),
        ({"CPU": 64.0, "GPU": 2.0}, 0, None, (8, {"num_cpus": 1, "num_gpus": 0.25})),
        ({"CPU": 64.0, "GPU": 2.0}, 2, True, (2, {"num_cpus": 1, "num_gpus": 1})),
        ({"CPU": 64.0, "GPU": 2.0}, 3, True, (3, {"num_cpus": 1, "num_gpus": 0.5})),
    ],
)
def test_how_many_workers_fit(
    resources: dict[str, float], workers: int, gpu: bool | None, expected: tuple[int, dict[str, float]]
) -> None:
    assert _fitting(resources, request_of(workers=workers, gpu=gpu)) == expected


def test_no_gpu_and_no_core() -> None:
    with pytest.raises(WorkStopped, match="--device: must be auto or cpu: the cluster has no GPU"):
        _fitting({"CPU": 4.0}, request_of(gpu=True))
    with pytest.raises(WorkStopped, match="the cluster must have a free core"):
        _fitting({}, request_of())


def request_of(*, workers: int = 0, gpu: bool | None = False, patience_s: float = 0) -> RayRequest:
    return RayRequest({}, b"", workers, 100, gpu, patience_s)


class RayDied(Exception):
    """What the pretended Ray raises for an actor that is dead."""


class Reference:
    """What a call will give: here, what it was given."""

    def __init__(self, given: Any) -> None:
        self.given = given


class PretendedRay:
    """Ray with workers that start and die as a script says: one word for each call."""

    def __init__(self, *script: str) -> None:
        self._script = iter(script)
        self.exceptions = type("exceptions", (), {"RayError": RayDied})

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}

    def remote(self, _: type) -> Any:
        method = type("Method", (), {"remote": staticmethod(lambda *given: Reference(given[-1]))})
        actor = type("Actor", (), {"enter": method, "do": method})
        return type("Class", (), {"options": staticmethod(lambda **_: type("C", (), {"remote": actor}))})

    def wait(self, references: list[Any], *, timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> tuple[str, Any]:
        word = next(self._script)
        if word == "dies":
            raise RayDied("OOM")
        return word, reference.given


class PretendedPipe:
    """What the process that asked sends, and what it gets."""

    def __init__(self, *shards: bytes) -> None:
        self._shards: Iterator[bytes] = iter(shards)
        self.got: list[Any] = []

    def poll(self) -> bool:
        return False

    def send(self, message: tuple[str, Any]) -> None:
        self.got.append(message)

    def recv_bytes(self) -> bytes:
        return next(self._shards, b"")


def worked(*script: str) -> list[Any]:
    pipe = PretendedPipe(b"one", b"two")
    _Crew(PretendedRay(*script), request_of()).work(pipe)  # type: ignore[arg-type]
    return [message for message in pipe.got if message[0] != "next"]


def test_only_the_shard_of_a_dead_worker_is_repeated() -> None:
    assert worked(READY, DONE, "dies", READY, DONE) == [(DONE, b"one"), ("lost", True), (DONE, b"two")]
    assert worked("dies", READY, DONE, DONE) == [("lost", False), (DONE, b"one"), (DONE, b"two")]


def test_a_shard_that_kills_its_workers_ends_the_run() -> None:
    with pytest.raises(WorkStopped, match=r"got 3 dead workers on one shard \(OOM\)"):
        worked(READY, "dies", READY, "dies", READY, "dies")


def test_a_cluster_without_a_free_core_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PretendedRay, "wait", lambda *_, **__: ([], []))
    with pytest.raises(WorkStopped, match="must have a free core; got no worker within 0 s"):
        worked()
