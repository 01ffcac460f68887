"""Two processes train an image classifier as one does; batches that cannot be divided are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data_prep.errors import InputError
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.training import train_classifier
from faceverif.config.reading import validate_config
from faceverif.config.yaml_text import yaml_text
from faceverif.training.fabric import launch_fabric

# Without batch normalisation and SNR, which see a share alone, the division of a batch changes no step.
COMMON: dict[str, Any] = {
    "data": {"name": "digits", "limit": 100},
    "network": {"name": "strided_conv", "embedding_dim": 8, "width": 4},
    "head": {"name": "softmax"},
    "optimizer": {"name": "sgd", "learning_rate": 0.05},
    "schedule": {"name": "cosine"},
    "augmentation": {"flip": 0.5, "crop_padding_px": 1},
    "training": {"epochs": 2, "batch_size": 50},
}


@pytest.mark.slow
def test_two_processes_train_the_classifier_that_one_trains(tmp_path: Path) -> None:
    path, together, alone = tmp_path / "toy.yaml", tmp_path / "together", tmp_path / "alone"
    path.write_text(yaml_text(COMMON), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*torchrun, "--", "faceverif", "classify", str(path), "--run", str(together)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    train_classifier(validate_config(ClassificationConfig, COMMON, source="test"), alone)
    many, one = (load_file(run / "model.safetensors") for run in (together, alone))
    for name, tensor in one.items():
        torch.testing.assert_close(many[name], tensor, rtol=1e-4, atol=1e-5)
    assert json.loads((together / "provenance.json").read_text())["machine"]["processes"] == 2
    rows = [(run / "metrics.csv").read_text().splitlines() for run in (together, alone)]
    assert len(rows[0]) == len(rows[1]) == 3
    assert done.stderr.count("strided_conv (") == 1  # one process speaks


@pytest.mark.parametrize(("processes", "advice"), [(3, "48 does"), (40, "80 does")])
def test_a_batch_that_cannot_be_divided_is_refused(
    monkeypatch: pytest.MonkeyPatch, processes: int, advice: str
) -> None:
    wanted = validate_config(ClassificationConfig, COMMON, source="test")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    rule = rf"training\.batch_size: must divide into {processes} processes of 2 or more .*{advice}; got 50"
    with pytest.raises(InputError, match=rule):
        launch_fabric(wanted)
