"""hub push and pull against a stand-in for the hub, which holds files and checks the calls."""

from __future__ import annotations

import inspect
import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi

from data_prep.alignment import find_template
from data_prep.errors import InputError
from faceverif.backbones import build_backbone
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.hub import transfer
from faceverif.hub.transfer import pull, push
from faceverif.models import MODEL_NAME, PreprocessingSpec, load_model, save_model
from faceverif.models.location import SHIPPED

REPO = "anna/face-model"


class Hub:
    """Repositories as folders. Each call must fit the signature of the real client."""

    def __init__(self, root: Path) -> None:
        self.root, self.private = root, {}

    def __call__(self) -> Hub:
        return self

    def create_repo(self, *given: Any, **named: Any) -> None:
        asked = self._checked("create_repo", *given, **named)
        (self.root / asked["repo_id"]).mkdir(parents=True, exist_ok=asked["exist_ok"])
        self.private.setdefault(asked["repo_id"], asked["private"])

    def upload_folder(self, *given: Any, **named: Any) -> SimpleNamespace:
        asked = self._checked("upload_folder", *given, **named)
        shutil.copytree(asked["folder_path"], self.root / asked["repo_id"], dirs_exist_ok=True)
        return SimpleNamespace(commit_url=f"hub/{asked['repo_id']}/commit/1")

    def snapshot_download(self, *given: Any, **named: Any) -> str:
        asked = self._checked("snapshot_download", *given, **named)
        if not (self.root / asked["repo_id"]).is_dir():
            raise OSError(f"404 Client Error\nno {asked['repo_id']}")
        for file in (self.root / asked["repo_id"]).iterdir():
            if any(fnmatch(file.name, pattern) for pattern in asked["allow_patterns"]):
                shutil.copy(file, asked["local_dir"])
        (Path(asked["local_dir"]) / ".cache").mkdir()
        return str(asked["local_dir"])

    @staticmethod
    def _checked(method: str, *given: Any, **named: Any) -> dict[str, Any]:
        return inspect.signature(getattr(HfApi, method)).bind(None, *given, **named).arguments


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    stand_in = Hub(tmp_path / "hub")
    monkeypatch.setattr(transfer, "HfApi", stand_in)
    return stand_in


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    config = MobileFaceNetConfig(name="mobilefacenet", embedding_dim=16, input_px=64)
    torch.manual_seed(0)
    save_model(
        folder / MODEL_NAME,
        build_backbone(config),
        backbone_config=config.model_dump(),
        spec=PreprocessingSpec.of(find_template("arcface-64"), input_px=64),
        provenance={"seed": 7},
    )
    (folder / "metrics.csv").write_text("secret")
    return folder


def test_what_is_pushed_is_what_is_pulled(hub: Hub, run: Path, tmp_path: Path) -> None:
    assert push(run, REPO, private=True) == f"hub/{REPO}/commit/1"
    assert {path.name for path in (hub.root / REPO).iterdir()} == {MODEL_NAME, "README.md"}
    assert hub.private == {REPO: True}
    out = tmp_path / "pulled"
    assert pull(REPO, out, revision=None) == out
    assert {path.name for path in out.iterdir()} == {MODEL_NAME, "README.md"}
    assert load_model(out / MODEL_NAME).sha256 == load_model(run / MODEL_NAME).sha256


def test_a_folder_without_a_card_gets_one_from_its_files(hub: Hub, run: Path) -> None:
    push(run, REPO, private=False)
    card = (hub.root / REPO / "README.md").read_text()
    assert card.startswith("---\nlicense: unknown\n")
    for told in (
        "# face-model",
        f"faceverif hub pull {REPO} models/pulled",
        "arcface-64",
        "Seed: 7",
        "## Limits",
    ):
        assert told in card
    assert load_model(run / MODEL_NAME).sha256 in card
    assert not (run / "README.md").exists()


def test_a_card_that_lies_there_is_taken_and_so_are_the_thresholds(hub: Hub, tmp_path: Path) -> None:
    push(SHIPPED, REPO, private=False)
    for name in ("README.md", "calibration.json"):
        assert (hub.root / REPO / name).read_bytes() == (SHIPPED / name).read_bytes()
    pull(REPO, tmp_path / "pulled", revision="main")
    assert (tmp_path / "pulled" / "calibration.json").is_file()


def test_an_onnx_file_goes_with_its_card_and_comes_back_as_a_file(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "export" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(b"graph")
    with pytest.raises(InputError, match=r"MODEL: must have a README\.md beside it"):
        push(file, REPO, private=False)
    assert not hub.root.exists()
    (file.parent / "README.md").write_text("card")
    push(file, REPO, private=False)
    assert pull(REPO, tmp_path / "pulled", revision=None) == tmp_path / "pulled" / "model.onnx"


def test_what_cannot_be_pulled_leaves_nothing(hub: Hub, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "pulled"
    with pytest.raises(
        InputError, match=r"lets you use; got anna/none \(404 Client Error\)\. .*hf auth login"
    ):
        pull("anna/none", out, revision=None)
    (hub.root / "anna/empty").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"must hold a model\.safetensors or one \.onnx file; got anna/empty"
    ):
        pull("anna/empty", out, revision=None)
    push(run, REPO, private=False)
    damaged = bytearray((hub.root / REPO / MODEL_NAME).read_bytes())
    damaged[-1] ^= 1
    (hub.root / REPO / MODEL_NAME).write_bytes(damaged)
    with pytest.raises(
        InputError, match=r"REPO: must hold a whole model .*; got anna/face-model with another"
    ):
        pull(REPO, out, revision=None)
    assert not out.exists()
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(InputError, match="OUT: must be a new or empty folder"):
        pull(REPO, out, revision=None)
    assert [path.name for path in out.iterdir()] == ["mine"]
