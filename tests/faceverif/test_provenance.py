"""What alignment and training knew stands in a verification result, also when it is made later."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_faces import pattern_embedder, write_faces, write_pairs
from small_runs import run_config

from data_prep.dataset.manifest import AlignedDataset
from faceverif import provenance
from faceverif.models import MODEL_NAME, load_model
from faceverif.provenance import describe_software, git_commit, result_versions
from faceverif.training.loop import train
from faceverif.verification.options import VerificationOptions
from faceverif.verification.runner import verify

pytestmark = pytest.mark.usefixtures("small_inputs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, the data that it saw, and other photos to verify on."""
    root = tmp_path_factory.mktemp("provenance")
    write_faces(root / "seen", people=4, photos=5)
    write_faces(root / "other")
    entry = {"name": "own", "data": str(root / "other"), "protocol": str(write_pairs(root / "pairs.csv"))}
    config = run_config(root / "seen", training={"epochs": 1}, verification=[entry])
    train(config, root / "run", resume=False)
    return root


def verified_later(folder: Path) -> Path:
    model = load_model(folder / "run" / MODEL_NAME)
    out = folder / "later"
    verify(model, folder / "other", folder / "pairs.csv", out=out, options=VerificationOptions(flip=True))
    return out


@pytest.mark.parametrize("when", ["in training", "later"])
def test_a_result_names_both_data_sets_the_config_the_seed_and_the_code(folder: Path, when: str) -> None:
    out = folder / "run/verification/own" if when == "in training" else verified_later(folder)
    result = json.loads((out / "result.json").read_text())
    seen, other = (AlignedDataset.load(folder / name) for name in ("seen", "other"))
    assert result["data_sha256"] == other.sha256
    assert result["training"]["data"]["manifest_sha256"] == seen.sha256
    for facts, dataset in ((result, other), (result["training"]["data"], seen)):
        for fact in ("template", "template_sha256", "policy", "colour_order", "min_face_px"):
            assert facts[fact] == getattr(dataset.header, fact)
    assert result["data_versions"] == other.header.versions
    assert result["training"]["data"]["versions"] == seen.header.versions
    config = (folder / "run/config.yaml").read_bytes()
    assert result["training"]["config_sha256"] == hashlib.sha256(config).hexdigest()
    assert result["training"]["seed"] == 7
    assert result["training"]["git_commit"] == result["git_commit"] == git_commit()
    assert result["training"]["versions"]["faceverif"] == result["versions"]["faceverif"]
    provenance = json.loads((folder / "run/provenance.json").read_text())
    assert provenance["machine"]["processor"]
    assert seen.sha256 in (out / "report.html").read_text()


def test_the_model_of_somebody_else_has_no_training(folder: Path, tmp_path: Path) -> None:
    model = pattern_embedder()
    verify(
        model, folder / "other", folder / "pairs.csv", out=tmp_path, options=VerificationOptions(flip=True)
    )
    assert json.loads((tmp_path / "result.json").read_text())["training"] is None
    assert "elsewhere" in (tmp_path / "report.html").read_text()


def test_onnxruntime_for_gpus_stands_in_a_result_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime asks that only one of its packages is installed: the plain one may be missing."""
    (tmp_path / "onnxruntime_gpu-1.99.dist-info").mkdir()
    described = "Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.99\n"
    (tmp_path / "onnxruntime_gpu-1.99.dist-info/METADATA").write_text(described)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert {"python", "onnxruntime-gpu"} == set(result_versions())
    assert set(describe_software()["versions"]) == {"python"}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_commit_is_that_of_the_code_and_not_of_the_project_that_installed_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    def commit_of(package: str) -> str | None:
        """As the module there tells it; of the file `provenance.py` alone."""
        place = tmp_path / package / "provenance.py"
        place.parent.mkdir(parents=True)
        shutil.copyfile(str(provenance.__file__), place)
        spec = importlib.util.spec_from_file_location("copied", place)
        assert spec is not None
        assert spec.loader is not None
        copied = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(copied)
        before = copied.git_commit()
        git("add", ".")
        git("commit", "--quiet", "-m", "next")
        copied.git_commit.cache_clear()
        assert before is None  # nobody has committed it yet
        return copied.git_commit()

    git("init", "--quiet")
    (tmp_path / ".gitignore").write_text(".venv\n")
    assert commit_of(".venv/lib/faceverif") is None
    assert commit_of("vendored/faceverif") is None
    assert commit_of("faceverif") == git("rev-parse", "HEAD")


def test_the_command_can_be_pasted_into_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["faceverif", "train", "my run.yaml", "--set", "penalties=[{name: gsc, top_c: 3}]"]
    monkeypatch.setattr(sys, "argv", words)
    assert shlex.split(describe_software()["command"]) == words
