"""Workers that share nothing with this process but the disk embed as it does, and killed work continues."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_faces import pattern_embedder, write_faces

from data_prep.dataset.manifest import AlignedDataset
from data_prep.work.carried import DONE, READY, Order, RemoteWorker
from data_prep.work.job import Engine, Job, WorkStopped
from data_prep.work.storage import Storage
from faceverif.models import Embedder, load_embedder
from faceverif.models.location import SHIPPED
from faceverif.verification import embedding_file, embedding_parts, embeddings
from faceverif.verification.embedding_file import embed_to_file
from faceverif.verification.embedding_parts import EmbedCrops, embed_in_portions


class Elsewhere(Engine):
    """A worker that gets everything pickled, as one on another machine does; it dies after some shards."""

    outlasts = True

    def __init__(self, *, dies_after: int = 99) -> None:
        self.left, self.done = dies_after, 0

    @contextmanager
    def workers(
        self, job: Job[Any, Any], *, shards: int
    ) -> Iterator[Callable[[Iterable[Any]], Iterator[Any]]]:
        with Storage.shown(job) as storage:
            worker = RemoteWorker("n1")
            kind, content = worker.begin(pickle.dumps(Order(job, storage, None)))
            if kind != READY:
                raise pickle.loads(content)
            yield lambda shards: (self._result(worker, shard) for shard in shards)

    def _result(self, worker: RemoteWorker, shard: Any) -> Any:
        if self.done == self.left:
            raise WorkStopped("--on ray", "must answer", got="nothing", fix="Run it again.")
        kind, content = worker.do(pickle.dumps(shard))
        assert kind == DONE, pickle.loads(content)
        self.done += 1
        return pickle.loads(content)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder(SHIPPED)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AlignedDataset:
    """Ten crops, which are three portions."""
    monkeypatch.setattr(embedding_parts, "_PORTION", 4)
    return write_faces(tmp_path / "data", people=5, photos=2)


def test_killed_and_continued_elsewhere_the_file_is_that_of_one_machine(
    embedder: Embedder, data: AlignedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    for module in (embeddings, embedding_file, embedding_parts):
        monkeypatch.setattr(module, "BATCH", 4)  # of both, for the last bits
    embed_to_file(embedder, data.root, here, flip=True)
    with pytest.raises(WorkStopped):
        embed_to_file(embedder, data.root, there, flip=True, engine=Elsewhere(dies_after=1))
    assert not there.exists()
    kept = tmp_path / "there.parquet.portions"
    assert sorted(path.name for path in kept.iterdir()) == ["00000000.safetensors", "about.json"]
    second = Elsewhere()
    embed_to_file(embedder, data.root, there, flip=True, engine=second)
    assert second.done == 2
    assert not kept.exists()
    assert pq.read_table(there).equals(pq.read_table(here))
    assert about(there) == about(here)


def about(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"faceverif.embeddings"])
    return found


def test_portions_of_other_settings_are_not_mixed_in(
    embedder: Embedder, data: AlignedDataset, tmp_path: Path
) -> None:
    out = tmp_path / "e.parquet"
    with pytest.raises(WorkStopped):
        embed_to_file(embedder, data.root, out, flip=True, engine=Elsewhere(dies_after=2))
    second = Elsewhere()
    embed_to_file(embedder, data.root, out, flip=False, engine=second)
    assert second.done == 3
    assert about(out)["flip"] == "none"


def test_work_that_is_refused_leaves_no_folder(
    embedder: Embedder, data: AlignedDataset, tmp_path: Path
) -> None:
    folder, rows = tmp_path / "out" / "embeddings" / "train", data.with_crop()
    (tmp_path / "out").mkdir()
    with pytest.raises(WorkStopped):
        embed_in_portions(embedder, data, rows, flip=False, folder=folder, engine=Elsewhere(dies_after=0))
    assert not list((tmp_path / "out").iterdir())


def test_a_node_with_another_model_is_refused(
    embedder: Embedder, data: AlignedDataset, tmp_path: Path
) -> None:
    job = EmbedCrops(embedder, flip=False, data=data.root, folder=tmp_path)
    job._sha256 = "of another file"
    with pytest.raises(
        WorkStopped, match="--model: every node must see the same file; got another content of"
    ):
        pickle.loads(pickle.dumps(job)).start()
    unnamed = EmbedCrops(pattern_embedder(), flip=False, data=data.root, folder=tmp_path)
    with pytest.raises(ValueError, match="was not loaded from a file"):
        pickle.loads(pickle.dumps(unnamed)).start()
