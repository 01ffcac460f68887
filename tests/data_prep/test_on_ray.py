"""A real Ray cluster of two nodes on this machine, one of which dies halfway."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from data_prep.check import Look, check
from data_prep.dataset.manifest import MANIFEST_NAME, AlignedDataset
from data_prep.own_names import SHARED_MARK
from data_prep.prepare import align_folder as prepare
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings, Row, Task
from data_prep.prepare.workers import AlignJob
from data_prep.work.here import ThisProcess
from data_prep.work.on_ray import RayCluster

pytestmark = pytest.mark.slow
_SETTINGS = AlignSettings(min_face_px=40)
_STORE_BYTES = 80_000_000


@dataclass(frozen=True)
class DyingJob(AlignJob):
    """An alignment that notes its shards, and halts in its second one on a node that will die.

    The other node waits for that after its second shard; it may be much faster.
    """

    notes: Path = Path()
    victim: str = ""

    def start(self) -> Callable[[Task], list[Row]]:
        import ray

        align, done = super().start(), []
        halted, here = self.notes.parent / "halted", ray.get_runtime_context().get_node_id()

        def work(photos: Task) -> list[Row]:
            with self.notes.open("a") as file:
                file.write(f"{photos[0].key}\n")
            if here == self.victim and done:
                halted.touch()
                time.sleep(600)
            if len(done) == 2:
                wait_for(halted)
            done.append(photos)
            return align(photos)

        return work


def wait_for(path: Path) -> None:
    """At most five minutes, enough for a node on a crowded machine: a test fails then, and does not hang."""
    end = time.monotonic() + 300
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, Any]]:
    """Two nodes with one core each; the second is the one to lose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_enable_metrics_collection", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the job of this module
        made, second = started()
        patch.setenv("RAY_ADDRESS", made.address)
        yield made, second
        made.shutdown()


def started() -> tuple[Any, Any]:
    """The cluster and its second node. Ray gives a node half a minute, which a busy machine may exceed."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    for _ in range(3):
        try:
            made = Cluster(initialize_head=True, head_node_args=node)
            return made, made.add_node(**node)
        except Exception as error:
            if "timed out" not in str(error):
                raise
    pytest.skip("Ray's nodes did not start within its own limit: the machine has too much to do")


def test_a_node_that_dies_costs_its_shard_only(
    cluster: tuple[Any, Any],
    people: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, second = cluster
    out, whole, notes = tmp_path / "out", tmp_path / "whole", tmp_path / "notes"
    monkeypatch.setattr(prepare, "_PHOTOS_PER_TASK", 1)
    align_folder(people, whole, settings=_SETTINGS, engine=ThisProcess(as_worker=True))
    monkeypatch.setattr(
        prepare, "AlignJob", lambda *given: DyingJob(*given, notes=notes, victim=second.node_id)
    )

    def kill_when_it_halts() -> None:
        wait_for(tmp_path / "halted")
        made.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_when_it_halts, daemon=True)
    killer.start()
    align_folder(people, out, settings=_SETTINGS, engine=RayCluster(device="cpu"))
    killer.join()
    assert (out / MANIFEST_NAME).read_bytes() == (whole / MANIFEST_NAME).read_bytes()
    for crop in AlignedDataset.load(whole).table["crop"].to_pylist():
        assert (out / crop).read_bytes() == (whole / crop).read_bytes()
    begun = notes.read_text().splitlines()
    assert (len(begun), len(set(begun))) == (13, 12), "one shard is done twice: the one that was halted"
    said = capsys.readouterr()
    assert "ray: nodes 2, workers 2" in said.err
    assert "ray: a worker died; its shard is done again" in said.err
    assert said.out == ""
    assert not (out / "parts").exists()
    assert not list(out.glob(f"{SHARED_MARK}*"))


def test_a_check_finds_the_same(cluster: tuple[Any, Any], people: Path, tmp_path: Path) -> None:
    shutil.copytree(people, tmp_path / "photos")
    broken = sorted((tmp_path / "photos").rglob("*.jpg"))[::5]
    for path in broken:
        path.write_bytes(path.read_bytes()[:1000])
    here = check(tmp_path / "photos", Look(every=True))
    there = check(tmp_path / "photos", Look(every=True, engine=RayCluster()))
    assert len(broken) == 3
    assert (there.facts, there.problems, there.named) == (here.facts, here.problems, here.named)
    assert sum(map(len, here.named.values())) == 3
