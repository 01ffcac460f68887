"""Crops in a storage: the same data as on a disk, by range from an S3 server; and every way it can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from field_formats import picture, write_aligned, write_rec, write_tar
from s3_server import S3Server, served

from data_prep import storage
from data_prep.check import check
from data_prep.dataset import already_aligned
from data_prep.dataset.export import export_webdataset
from data_prep.dataset.manifest import AlignedDataset
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.sources import shard_index
from data_prep.storage import address_of
from faceverif.config.paths import require_path
from faceverif.config.run import DataConfig
from faceverif.training.data import load_training_photos

CROPS = {
    f"P{person}/{photo}.jpg": picture(9 * person + photo, side=112)
    for person in range(3)
    for photo in range(4)
}


@pytest.fixture(autouse=True)
def _own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(already_aligned.Sample, "form", lambda self: already_aligned.FORMS[1])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    (tmp_path / "buckets" / "faces").mkdir(parents=True)
    with served(tmp_path / "buckets") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setattr(storage, "_ATTEMPTS", 1)
        storage._file_system.cache_clear()
        yield running
        storage._file_system.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> AlignedDataset:
    return write_aligned(tmp_path / "aligned", CROPS)


def uploaded(folder: AlignedDataset, bucket: Path, *, shard_mb: float = 0.03) -> Path:
    export_webdataset(folder, bucket / "shards", shard_mb=shard_mb)
    return Path("s3://faces/shards")


def contents(dataset: AlignedDataset) -> dict[str, tuple[str, bytes]]:
    found = dataset.crops.contents(range(len(dataset)))
    keys, people = (dataset.column(name).tolist() for name in ("photo", "identity"))
    return dict(zip(keys, zip(people, found, strict=True), strict=True))


def write_parquet(path: Path, *, rows: int = 12, **columns: pa.Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [{"bytes": content, "path": None} for content in CROPS.values()][:rows]
    table = pa.table({"image": pictures, "label": pa.array([row // 4 for row in range(rows)]), **columns})
    pq.write_table(table, path, row_group_size=5)
    return path


def name_classes(path: Path, names: list[str]) -> None:
    """As `datasets` does it."""
    features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pq.read_table(path).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, row_group_size=5)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_aligned(path)
    return str(caught.value)


def test_shards_in_a_bucket_are_the_data_of_their_folder_and_no_shard_is_read_whole(
    tmp_path: Path, server: S3Server, folder: AlignedDataset
) -> None:
    address = uploaded(folder, server.root / "faces")
    stored = load_aligned(address)
    assert contents(stored) == contents(folder)
    assert stored.header == folder.header
    assert len({file.path for file in stored.crops.files}) > 1
    server.longest = 0
    assert list(stored.crops.contents([7, 2])) == [list(CROPS.values())[row] for row in (7, 2)]
    assert server.longest == max(len(list(CROPS.values())[row]) for row in (7, 2))
    # The same under its own name from every machine, and another name after any change of a label.
    assert stored.sha256 == load_aligned(address).sha256
    photos = load_training_photos(DataConfig(path=address), input_px=112, seed=0)
    assert photos.identities == ("P0", "P1", "P2")
    assert photos.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_shard_is_indexed_once_and_again_when_it_has_changed(
    tmp_path: Path, server: S3Server, folder: AlignedDataset
) -> None:
    address = uploaded(folder, server.root / "faces", shard_mb=1)
    first = load_aligned(address)
    server.longest = 0
    assert contents(load_aligned(address)) == contents(first)
    assert server.longest < 10_000, "the shard was read again"
    (shard,) = (server.root / "faces/shards").glob("*.tar")
    content = shard.read_bytes()
    place = content.index(b"\xff\xd8\xff")
    shard.write_bytes(content[: place + 500] + b"?" + content[place + 501 :])
    broken = [row for row, crop in enumerate(first.crops.decoded(range(12))) if crop is None]
    assert len(broken) == 1, "no checksum was compared"
    shard.write_bytes(content + bytes(10240))
    with pytest.raises(InputError, match=r"shard-000000\.tar, which has changed since it was") as caught:
        raise first.crops.unreadable(broken[0])
    assert "\n" not in str(caught.value)
    shard.unlink()
    assert "there is nothing at this address; got s3://faces/shards" in str(first.crops.unreadable(0))


@pytest.mark.parametrize("trouble", ["no bucket", "no object", "no rights", "no server"])
def test_a_storage_that_refuses_is_one_line(
    server: S3Server, folder: AlignedDataset, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = uploaded(folder, server.root / "faces")
    crops = load_aligned(address).crops
    if trouble == "no rights":
        server.refuses = 403
    if trouble == "no server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        storage._file_system.cache_clear()
    where = {"no bucket": "s3://other/shards", "no object": "s3://faces/none"}.get(trouble, str(address))
    said = {
        "no bucket": "there is n",
        "no object": "there is nothing at this address",
        "no rights": "access denied",
        "no server": "no connection",
    }[trouble]
    for ask in (
        lambda: load_aligned(Path(where)),
        lambda: require_path(Path(where), field="x", made_by="faceverif align"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            ask()
        assert "\n" not in str(caught.value)
    if trouble in ("no rights", "no server"):
        assert list(crops.decoded([0, 1])) == [None, None]
        assert said in str(crops.unreadable(0))


def test_rows_of_parquet_files_are_read_by_row_group(tmp_path: Path, server: S3Server) -> None:
    path = write_parquet(tmp_path / "buckets/faces/rows/train-0.parquet")
    name_classes(path, ["Ann", "Bo", "Cy"])
    name_classes(write_parquet(path.with_name("train-1.parquet")), ["Di", "Bo", "Ed"])
    stored = load_aligned(Path("s3://faces/rows"))
    assert list(stored.crops.contents([13, 0, 23])) == [list(CROPS.values())[row] for row in (1, 0, 11)]
    assert (
        stored.column("identity").tolist()
        == ["Ann"] * 4 + ["Bo"] * 4 + ["Cy"] * 4 + ["Di"] * 4 + ["Bo"] * 4 + ["Ed"] * 4
    )
    server.longest = 0
    assert np.array_equal(stored.crops.read([3]), stored.crops.read([15]))
    assert server.longest < path.stat().st_size / 2
    local = load_aligned(tmp_path / "buckets/faces/rows")
    assert (local.sha256, contents(local)) == (stored.sha256, contents(stored))
    path.write_bytes(path.read_bytes() + b"?")
    assert list(stored.crops.decoded([0])) == [None]
    assert "changed since it was indexed" in str(stored.crops.unreadable(0))


def test_hashes_of_shards_that_were_exchanged_meanwhile_are_refused(
    folder: AlignedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_webdataset(folder, tmp_path / "shards", shard_mb=0.03)
    monkeypatch.setattr(shard_index, "_MOST_WITH_DETAILS", 1)
    stored = load_aligned(Path(f"file://{tmp_path}/shards"))
    assert "sha256" not in stored.table.column_names
    assert stored.column("sha256").tolist() == folder.column("sha256").tolist()
    first = tmp_path / "shards/shard-000000.tar"
    shutil.copy(first, first.with_name("shard-000009.tar"))
    first.unlink()
    with pytest.raises(InputError, match="must stay as it is while it is in use"):
        stored.column("sha256")


def test_a_check_reads_parquet_files_of_crops(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows/train-0.parquet")
    for source in (path, path.parent):
        report = check(source)
        assert (report.kind, report.problems) == ("crops in Parquet files", [])
        assert "12 photos of 3 identities: 12 aligned, 0 no_face, 0 failed" in report.facts
    pictures = pq.read_table(path)["image"].to_pylist()
    pictures[7] = {"bytes": b"no picture", "path": None}
    path = write_parquet(path, image=pa.array(pictures))
    assert check(path).problems == ["1 crop that cannot be read as 112 x 112: train-0/000000007"]


def test_an_empty_identity_in_a_parquet_file_is_nobody(tmp_path: Path) -> None:
    names = ["", " ", None, "-1", "7", "Ann", "An\nn", "n" * 201, "Ann", "B", "B", "B"]
    write_parquet(tmp_path / "rows/1.parquet", identity=pa.array(names, pa.string()))
    write_parquet(tmp_path / "rows/2.parquet", identity=pa.nulls(12, pa.string()))
    found = load_aligned(tmp_path / "rows")
    named = [*[None] * 4, "7", "Ann", None, None, "Ann", "B", "B", "B"]
    assert found.column("identity").tolist() == named + [None] * 12
    assert found.column("reason").tolist() == [None] * 6 + ["damaged_label"] * 2 + [None] * 16
    assert found.people(np.flatnonzero(found.has_identity()))[0].tolist() == ["7", "Ann", "B"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": ["a"] * 12}, "got the columns image (string)"),
        ({"label": [0.5] * 12}, "label (double)"),
        ({"photo": ["a"] * 12}, "got a photo twice"),
        ({"photo": [None, *"bcdefghijkl"]}, "got a row whose photo has no name"),
        ({"photo": ["", *"bcdefghijkl"]}, "got a row whose photo has no name"),
        ({"photo": ["../a", *"bcdefghijkl"]}, "must stay inside its folder; got '../a'"),
    ],
)
def test_other_columns_are_named(tmp_path: Path, columns: dict[str, list[object]], said: str) -> None:
    path = write_parquet(
        tmp_path / "rows.parquet", **{name: pa.array(each) for name, each in columns.items()}
    )
    assert said in refused(path)
    if "photo" not in columns:
        assert "image (the picture's bytes, or a struct with bytes) and identity or label" in refused(path)


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_of_every_type_names_the_people(tmp_path: Path, kind: pa.DataType) -> None:
    path = write_parquet(tmp_path / "rows.parquet", identity=pa.array(["Ann", "Bo"] * 6).cast(kind))
    assert load_aligned(path).column("identity").tolist() == ["Ann", "Bo"] * 6


def test_a_label_may_be_any_whole_number(tmp_path: Path) -> None:
    labels = pa.array([2**63 + 1] * 6 + [7] * 6, pa.uint64())
    found = load_aligned(write_parquet(tmp_path / "rows.parquet", label=labels))
    assert found.column("identity").tolist() == ["9223372036854775809"] * 6 + ["000007"] * 6


@pytest.mark.parametrize("other", ["text", "column", "classes", "more classes"])
def test_files_that_name_the_people_in_two_ways_are_refused(tmp_path: Path, other: str) -> None:
    one, two = (write_parquet(tmp_path / f"rows/{number}.parquet") for number in (1, 2))
    people = [f"{row // 4}" for row in range(12)]
    if other == "text":
        write_parquet(two, label=pa.array(people))
    if other == "column":
        write_parquet(two, identity=pa.array(people))
    if other == "classes":
        name_classes(two, ["Ann", "Bo", "Cy"])
    if other == "more classes":  # the second file has a number without a name
        name_classes(one, ["Ann", "Bo", "Cy"])
        write_parquet(two, label=pa.array([3] * 12))
        name_classes(two, ["Ann", "Bo", "Cy"])
    said = refused(tmp_path / "rows")
    assert "name the people alike; got image.bytes, label (number" in said
    assert "1.parquet and image.bytes, " in said


def test_a_damaged_parquet_file_is_no_trouble_of_its_storage(tmp_path: Path, server: S3Server) -> None:
    path = write_parquet(server.root / "faces/rows/1.parquet")
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    torn = {
        "half": whole[: len(whole) // 2],
        "nothing": b"",
        "thrift": whole[:footer] + bytes([whole[footer] ^ 255]) + whole[footer + 1 :],
    }
    for content in torn.values():
        path.write_bytes(content)
        for place in (path, Path("s3://faces/rows")):
            assert "must be a whole Parquet file; got" in refused(place)


def test_photos_in_a_parquet_file_are_not_sent_to_align(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(already_aligned.Sample, "form", lambda self: None)
    said = refused(write_parquet(tmp_path / "rows.parquet"))
    assert "write the pictures as files, in a folder per person" in said
    assert "COPY-OF" not in said


def test_what_is_no_pack_in_a_storage_is_sent_to_export(tmp_path: Path, folder: AlignedDataset) -> None:
    assert "faceverif data export ALIGNED SHARDS, and upload" in refused(Path(f"file://{folder.root}"))
    write_rec(tmp_path / "pack", [(0, CROPS["P0/0.jpg"])])
    assert "train.idx, train.rec at" in refused(Path(f"file://{tmp_path}/pack"))
    write_tar(tmp_path / "torn/a.tar", {"1.jpg": CROPS["P0/0.jpg"], "1.cls": b"0"})
    torn = tmp_path / "torn/a.tar"
    torn.write_bytes(torn.read_bytes().rstrip(b"\0"))
    assert "must be a whole tar" in refused(Path(f"file://{tmp_path}/torn"))


def test_addresses_are_distinguished_from_paths() -> None:
    assert address_of(Path("s3://bucket/a/b.tar")) == "s3://bucket/a/b.tar"
    assert address_of(Path("file:///data/a")) == "file:///data/a"
    assert [address_of(Path(path)) for path in ("c:/data", "data/s3:/x", "/s3:", "s3")] == [None] * 4
    assert "nosuchscheme" in refused(Path("nosuchscheme://a/b"))
    with pytest.raises(InputError, match="must lie on this machine"):
        require_path(Path("s3://bucket/run"), field="--model", made_by="faceverif train")
