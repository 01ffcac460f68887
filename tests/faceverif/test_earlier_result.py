"""A result is replaced only by one of the same model, photos and list, whichever command wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.errors import InputError
from data_prep.protocols.identification import load_lists
from faceverif.identification.runner import rank
from faceverif.models import TorchEmbedder
from faceverif.verification.embedding_file import embed_to_file
from faceverif.verification.options import VerificationOptions
from faceverif.verification.runner import verify
from faceverif.verification.suite import verify_suite

OPTIONS = VerificationOptions(flip=False)


def model(name: str, *, scale: float = 1) -> TorchEmbedder:
    """A model of that name, and with other weights where the scale is another."""
    embedder = pattern_embedder()
    with torch.no_grad():
        embedder.backbone.scale.weight.mul_(scale)  # type: ignore[union-attr, operator]
    return TorchEmbedder(embedder.backbone, embedder.spec, name=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Verified by `verify` in `own`, by a suite in `suite`; embedded in `e.parquet`."""
    root = tmp_path_factory.mktemp("earlier")
    write_faces(root / "aligned/masks")
    write_faces(root / "aligned/other", people=13)
    (root / "lists").mkdir()
    write_pairs(root / "lists/masks.csv")
    write_pairs(root / "fewer.csv", people=11)
    for name, photo in (("gallery", 1), ("probes", 2)):
        (root / f"{name}.csv").write_text(f"photo,identity\nP00/P00_000{photo},P00\n")
    own(root)
    in_a_suite(root)
    embedded(root)
    return root


def own(
    root: Path, *, of: str = "a", scale: float = 1, data: str = "masks", pairs: str = "lists/masks.csv"
) -> None:
    embedder = model(of, scale=scale)
    verify(embedder, root / "aligned" / data, root / pairs, out=root / "own", options=OPTIONS)


def in_a_suite(root: Path, *, of: str = "a", scale: float = 1) -> None:
    embedder = model(of, scale=scale)
    verify_suite(embedder, root / "lists", [root / "aligned"], out=root / "suite", options=OPTIONS)


def searched(root: Path, *, of: str = "a") -> None:
    lists = load_lists(root / "gallery.csv", root / "probes.csv")
    rank(model(of), root / "aligned/masks", lists, out=root / "own", flip=False)


def embedded(
    root: Path, *, of: str = "a", scale: float = 1, data: str = "masks", out: str = "e.parquet"
) -> None:
    embed_to_file(model(of, scale=scale), root / "aligned" / data, root / out, flip=False)


@pytest.mark.parametrize(
    ("again", "says"),
    [
        (lambda root: own(root, of="b", scale=2), "own, with one of the model a, not b. Name another"),
        (lambda root: own(root, data="other"), "the data set .*masks, not .*other"),
        (lambda root: own(root, pairs="fewer.csv"), r"the list masks \(.{12}\), not fewer \(.{12}\)"),
        (lambda root: in_a_suite(root, of="b", scale=2), "suite/masks, with one of the model a, not b"),
        (searched, "the list masks"),
        (lambda root: embedded(root, of="b", scale=2), "e.parquet, with one of the model a, not b. Name ano"),
        (lambda root: embedded(root, data="other"), "e.parquet, with one of the data set .*masks, not .*oth"),
    ],
)
def test_a_result_of_another_question_is_kept(folder: Path, again: Callable[[Path], None], says: str) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = files()
    with pytest.raises(InputError, match=f"^--out: must not hold another result; got .*{says}"):
        again(folder)
    assert files() == before


@pytest.mark.parametrize(("of", "scale"), [("a", 2), ("moved", 1)], ids=["trained longer", "moved"])
def test_the_same_model_replaces_its_result(folder: Path, of: str, scale: float) -> None:
    own(folder, of=of, scale=scale)
    assert json.loads((folder / "own/result.json").read_text())["model"] == of
    own(folder)  # either way back


@pytest.mark.parametrize(("of", "scale"), [("a", 2), ("moved", 1)], ids=["trained longer", "moved"])
def test_the_same_model_replaces_its_embeddings(folder: Path, of: str, scale: float) -> None:
    embedded(folder, of=of, scale=scale)
    about = json.loads(pq.read_schema(folder / "e.parquet").metadata[b"faceverif.embeddings"])
    assert about["model"] == of
    embedded(folder)  # either way back


def test_a_file_without_embeddings_is_kept(folder: Path) -> None:
    pq.write_table(pa.table({"mine": [1]}), folder / "mine.parquet")
    (folder / "notes.parquet").write_text("mine")
    for name, says in (("mine", "with one of another command"), ("notes", "but embeddings; got")):
        before = (folder / f"{name}.parquet").read_bytes()
        with pytest.raises(InputError, match=f"^--out: must not hold an.*{says}.*remove this one"):
            embedded(folder, out=f"{name}.parquet")
        assert (folder / f"{name}.parquet").read_bytes() == before


def test_embeddings_of_an_earlier_version_are_called_that(folder: Path) -> None:
    about = {"model": "a", "model_sha256": "0" * 64, "data_sha256": "1" * 64, "flip": "none"}
    table = pa.table({"photo": ["a.jpg"]}, metadata={"faceverif.embeddings": json.dumps(about)})
    pq.write_table(table, folder / "before.parquet")
    with pytest.raises(InputError, match=r"before\.parquet, with one of an earlier version\. Name another"):
        embedded(folder, out="before.parquet")


def test_another_commands_result_is_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"metrics": {}}')
    with pytest.raises(InputError, match="with one of another command"):
        verify(
            model("a"), folder / "aligned/masks", folder / "lists/masks.csv", out=tmp_path, options=OPTIONS
        )
