"""Training from packed crops: the batches and the provenance of a folder, and nothing is copied."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from field_formats import write_rec
from small_faces import write_faces
from small_runs import run_config

from data_prep.dataset import already_aligned
from data_prep.dataset.export import export_webdataset
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.errors import InputError
from faceverif.training.data import Batch, load_training_photos, read_batches
from faceverif.training.order import RemainingBatches
from faceverif.training.provenance import describe_photos

pytestmark = pytest.mark.usefixtures("small_inputs")


@pytest.mark.parametrize("workers", [0, 1])
def test_shards_and_records_give_the_batches_of_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(already_aligned.Sample, "form", lambda self: already_aligned.FORMS[1])
    folder = write_faces(tmp_path / "folder", people=3, photos=4)
    export_webdataset(folder, tmp_path / "shards", shard_mb=0.1)
    write_rec(tmp_path / "records", [(int(photo[1:3]), content) for photo, content in encoded(folder)])
    read = {name: batches_of(tmp_path / name, workers=workers) for name in ("folder", "shards", "records")}
    for pack in ("shards", "records"):
        for ours, theirs in zip(read[pack], read["folder"], strict=True):
            assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    path = tmp_path / "records/train.rec"
    path.write_bytes(path.read_bytes()[:-2000])
    (tmp_path / "records/train.idx").unlink()
    with pytest.raises(InputError, match=str(path)):
        batches_of(path, workers=workers)


def encoded(dataset: AlignedDataset) -> list[tuple[str, bytes]]:
    return list(zip(dataset.column("photo"), dataset.crops.contents(range(len(dataset))), strict=True))


def batches_of(path: Path, *, workers: int) -> list[Batch]:
    photos = load_training_photos(run_config(path).data, input_px=32, seed=0)
    order = RemainingBatches(len(photos), batch_size=4, steps=(0, 4), seed=1, share=(0, 1))
    return list(read_batches(photos, order, workers=workers, pin=False))


def test_a_run_on_shards_says_where_its_crops_come_from(tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "folder", people=3, photos=4, status={"P01/P01_0002": Status.NO_FACE})
    export_webdataset(folder, tmp_path / "shards", shard_mb=500)
    photos = load_training_photos(run_config(tmp_path / "shards").data, input_px=32, seed=0)
    own = describe_photos(load_training_photos(run_config(tmp_path / "folder").data, input_px=32, seed=0))
    described = describe_photos(photos)
    assert described["manifest_sha256"] == photos.dataset.sha256 != own["manifest_sha256"]
    assert described["colour_order"] == "rgb"
    differing = {key for key in own if own[key] != described[key]}
    assert differing == {"path", "manifest_sha256", "left_out"}
