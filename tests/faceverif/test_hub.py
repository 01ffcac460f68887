"""hub push and pull against a stand-in for the hub, which holds files and checks the calls."""

from __future__ import annotations

import inspect
import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from huggingface_hub import HfApi
from onnx_nets import weights, write_net
from pages import plain

from data_prep.alignment import find_template
from data_prep.errors import InputError
from data_prep.file_hash import file_hash
from faceverif.backbones import build_backbone
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.hub import transfer
from faceverif.hub.transfer import pull, push
from faceverif.models import MODEL_NAME, PreprocessingSpec, load_model, save_model
from faceverif.models.location import SHIPPED
from faceverif.models.onnx_file import OnnxEmbedder

REPO = "anna/face-model"


class Hub:
    """Repositories as folders. Each call must fit the signature of the real client."""

    commit = "0123abcd"

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
        assert asked["revision"] == self.commit
        for name in self.files(asked["repo_id"]):
            if any(fnmatch(name, pattern) for pattern in asked["allow_patterns"]):
                copy = Path(asked["local_dir"]) / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.root / asked["repo_id"] / name, copy)
        (Path(asked["local_dir"]) / ".cache").mkdir(exist_ok=True)
        return str(asked["local_dir"])

    def model_info(self, *given: Any, **named: Any) -> SimpleNamespace:
        asked = self._checked("model_info", *given, **named)
        if not (self.root / asked["repo_id"]).is_dir():
            raise OSError(f"404 Client Error\nno {asked['repo_id']}")
        files = [SimpleNamespace(rfilename=name) for name in self.files(asked["repo_id"])]
        return SimpleNamespace(sha=self.commit, siblings=files)

    def files(self, repo: str) -> list[str]:
        """The names of a repository's files."""
        root = self.root / repo
        return [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]

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
    for line in (
        "# face-model",
        f"faceverif hub pull {REPO} models/pulled",
        "arcface-64",
        "Seed: 7",
        "## Limits",
    ):
        assert line in card
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
    write_net(file, weights())
    other = "0" * 64
    for text in (
        None,
        "# The project in whose repository the file lies\n",
        "---\nlicense: mit\n---\n| file | `other.onnx`: ONNX, 2 MB |\n",
        f"---\nlicense: mit\n---\n| file | `model.onnx`: ONNX, 2 MB |\n| sha256 | `{other}` |\n",
    ):
        if text is not None:
            (file.parent / "README.md").write_text(text)
        with pytest.raises(InputError, match=r"MODEL: must have its card, README\.md, beside it"):
            push(file, REPO, private=False)
    assert not hub.root.exists()
    (file.parent / "README.md").write_text(text.replace(other, file_hash(file)))
    push(file, REPO, private=False)
    assert pull(REPO, tmp_path / "pulled", revision=None) == tmp_path / "pulled" / "model.onnx"


@pytest.mark.parametrize("folder", ["", "onnx/"])
def test_external_data_go_with_their_graph_and_come_back(hub: Hub, tmp_path: Path, folder: str) -> None:
    file = tmp_path / "export" / "net.onnx"
    file.parent.mkdir()
    write_net(file, weights())
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="w[1].bin", size_threshold=100)
    (file.parent / "README.md").write_text("---\nlicense: mit\n---\n")
    push(file, REPO, private=False)
    assert hub.files(REPO) == ["README.md", "net.onnx", "w[1].bin"]
    if folder:
        (hub.root / REPO / folder).mkdir()
        for name in ("net.onnx", "w[1].bin"):
            (hub.root / REPO / name).rename(hub.root / REPO / folder / name)
    (hub.root / REPO / "weights.pth").touch()
    pulled = pull(REPO, tmp_path / "pulled", revision=None)
    assert pulled == tmp_path / "pulled" / f"{folder}net.onnx"
    assert OnnxEmbedder(pulled, "rgb-127.5").sha256 == OnnxEmbedder(file, "rgb-127.5").sha256
    assert not (tmp_path / "pulled" / "weights.pth").exists()

    (hub.root / REPO / folder / "w[1].bin").unlink()
    with pytest.raises(
        InputError, match=r"REPO: must hold a whole model .* whose \S*net\.onnx must have its external data"
    ):
        pull(REPO, tmp_path / "again", revision=None)
    assert not (tmp_path / "again").exists()
    (file.parent / "w[1].bin").unlink()
    with pytest.raises(InputError, match=r"net\.onnx must have its external data file beside it"):
        push(file, "anna/other", private=False)
    assert not (hub.root / "anna/other").exists()


def test_the_card_of_an_export_beside_the_model_is_not_the_models(
    hub: Hub, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = run / "README.md"
    beside.write_text("---\nlicense: mit\n---\n| file | `model.onnx`: ONNX, 8 bits |\n")
    push(run, REPO, private=False)
    card = (hub.root / REPO / "README.md").read_text()
    assert "| file | `model.safetensors`" in card
    assert "is no card of this model" in capsys.readouterr().err
    beside.write_text(card)
    push(run, REPO, private=False)
    assert capsys.readouterr().err == ""
    beside.write_text(card.replace(load_model(run / MODEL_NAME).sha256, "0" * 64))
    push(run, REPO, private=False)
    assert (hub.root / REPO / "README.md").read_text() == card


def test_error_rates_and_thresholds_of_another_model_are_not_shown(
    hub: Hub, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sha256 = load_model(run / MODEL_NAME).sha256
    rate = {"rate": 0.02, "interval": [0, 1]}
    rows = [
        {"group": name, "kind": "group", "false_match": {"rate": share}, "false_non_match": rate}
        for name, share in (("old", 0.03), ("young", 0.01))
    ]
    pairs = {"pairs": 600, "accuracy": 0.9, "accuracy_se": 0.01, "eer": 0.1, "data": "/home/me/lfw-112"}
    for name, facts in {
        "now": {"model_sha256": sha256, "protocol": "LFW", **pairs},
        "groups": {
            "model_sha256": sha256,
            "protocol": "RFW",
            **pairs,
            "groups": [{"column": "age", "target_far": 0.01, "rows": rows}],
        },
        "before": {"model_sha256": "0" * 64, "protocol": "earlier weights", **pairs},
        "sets": {"model_sha256": sha256, "protocol": "IJB-C", "eer": 0.1},
    }.items():
        (run / "verification" / name).mkdir(parents=True)
        (run / "verification" / name / "result.json").write_text(json.dumps(facts))
    push(run, REPO, private=False)
    card = plain((hub.root / REPO / "README.md").read_text())
    assert "| LFW | 600 | 90.00 ± 1.00 % | 10.00 % | lfw-112 |" in card
    assert "earlier weights" not in card
    assert "IJB-C" not in card
    assert "verification/before/result.json, which is of another model" in capsys.readouterr().err
    assert "false match rate 1.00 % (young) to 3.00 % (old), false non-match rate 2.00 % (old)" in card
    assert "not measured apart" not in card

    shutil.copy(SHIPPED / "calibration.json", run)
    with pytest.raises(InputError, match=r"calibration\.json must belong to the model"):
        push(run, "anna/other", private=False)
    assert not (hub.root / "anna/other").exists()


def test_what_cannot_be_pulled_leaves_nothing(hub: Hub, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "models/pulled"
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
        InputError, match=r"REPO: must hold a whole model .*; got anna/face-model, whose model\.safetensors"
    ):
        pull(REPO, out, revision=None)
    assert not out.parent.exists()
    out.mkdir(parents=True)
    (out / "mine").touch()
    with pytest.raises(InputError, match="OUT: must be a new or empty folder"):
        pull(REPO, out, revision=None)
    assert [path.name for path in out.iterdir()] == ["mine"]
