"""W-Softmax's second minimum: ruled out by the last layers, logged, and warned of."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from classification.test_classifier_training import config as image_config
from small_runs import run_config

from faceverif.backbones import build_backbone
from faceverif.backbones.last_layers import last_layers
from faceverif.classification.metrics import all_negative
from faceverif.classification.training import train_classifier
from faceverif.config.heads import WSoftmaxConfig
from faceverif.config.objective import ObjectiveConfig
from faceverif.heads.wsoftmax import WSoftmaxHead
from faceverif.training.logs.interval import Interval
from faceverif.training.wsoftmax_warnings import OppositeEmbeddings

DIM = 8
W_SOFTMAX = ObjectiveConfig(head=WSoftmaxConfig(name="wsoftmax", alpha=1.0))
SMALL: dict[str, Any] = {
    "data": {"name": "digits", "limit": 40},
    "network": {"name": "lsoftmax_net", "variant": "mnist", "embedding_dim": 4},
    "criterion": {"name": "cross_entropy"},
    "penalties": [],
    "training": {"epochs": 1, "batch_size": 20},
}


@pytest.mark.parametrize(("kind", "possible"), [("prelu_norm", False), ("prelu_offset_norm", True)])
def test_without_an_offset_no_batch_is_opposite_to_a_weight(kind: Any, possible: bool) -> None:
    """The products of a batch with any weight add up to zero, so the least opposite class is not negative."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(*last_layers(kind, DIM))
    if possible:
        layers[-1].bias.data.fill_(-5.0)
    head = WSoftmaxHead(classes=6, embedding_dim=DIM, alpha=1.0)
    head.weight.data.abs_()  # the weights of one octant: some embeddings are opposite to all
    embeddings = layers(torch.randn(64, DIM) - 3.0)
    sums = head.logits(embeddings).sum(dim=0)
    share = all_negative(head.logits(embeddings))
    assert share == 1 if possible else 0 < share < 1
    assert (sums.abs() < 1e-3).all() != possible


def test_what_stands_behind_the_embedding() -> None:
    names = {
        kind: [type(layer).__name__ for layer in last_layers(kind, DIM)]
        for kind in ("none", "prelu_norm", "prelu_affine_norm", "prelu_offset_norm", "norm_relu")
    }
    assert names == {
        "none": [],
        "prelu_norm": ["PReLU", "BatchNorm1d"],
        "prelu_affine_norm": ["PReLU", "BatchNorm1d"],
        "prelu_offset_norm": ["PReLU", "BatchNorm1d"],
        "norm_relu": ["BatchNorm1d", "ReLU"],
    }
    learnt = {
        kind: [name for name, p in last_layers(kind, DIM)[-1].named_parameters() if p.requires_grad]
        for kind in ("prelu_norm", "prelu_affine_norm", "prelu_offset_norm")
    }
    assert learnt == {
        "prelu_norm": [],
        "prelu_affine_norm": ["weight", "bias"],
        "prelu_offset_norm": ["bias"],
    }


def test_share_of_negative_logits() -> None:
    assert all_negative(torch.tensor([[-1.0, -2.0], [-1.0, 0.0], [3.0, -1.0], [-0.1, -0.1]])) == 0.5


@pytest.mark.parametrize(
    ("head", "normed", "centred", "warned"),
    [
        ({"name": "wsoftmax", "alpha": 1.0}, False, False, ["on a raw embedding: "]),
        ({"name": "wsoftmax", "alpha": 1.0}, True, False, ["behind a batch normalisation with an offset: "]),
        ({"name": "wsoftmax", "alpha": 0.0}, False, False, []),  # the weight-normalised softmax
        ({"name": "wsoftmax", "alpha": 1.0}, True, True, []),
        ({"name": "softmax"}, False, False, []),
    ],
)
def test_an_embedding_that_is_not_centred_is_warned_of(
    head: dict[str, Any], normed: bool, centred: bool, warned: list[str]
) -> None:
    config = ObjectiveConfig.model_validate({"head": head})
    warnings = OppositeEmbeddings(config, normed=normed, centred=centred).warnings
    assert len(warnings) == len(warned)
    assert all(
        text.startswith(f"warning: W-Softmax {part}") for text, part in zip(warnings, warned, strict=True)
    )


def test_too_many_opposite_samples_are_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch = OppositeEmbeddings(W_SOFTMAX, normed=True, centred=True)
    for share in (0.0, 0.01, 0.02, 0.5):
        assert watch.logged({"loss": 1.0, "all_negative": share}) == {"loss": 1.0, "all_negative": share}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 2.0 % of the samples have negative products with all class weights")
    assert "without offset" not in line  # it has none
    open_minimum = OppositeEmbeddings(W_SOFTMAX, normed=True, centred=False)
    open_minimum.logged({"loss": 1.0, "all_negative": 0.5})
    assert "Batch normalisation without offset" in capsys.readouterr().err
    densities = ObjectiveConfig.model_validate({"head": {"name": "lgm", "alpha": 1}})
    lgm = OppositeEmbeddings(densities, normed=True, centred=True)
    assert lgm.logged({"loss": 1.0, "all_negative": 1.0}) == {"loss": 1.0}
    assert not capsys.readouterr().err


def test_it_is_logged_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = image_config(**SMALL, head={"name": "wsoftmax", "alpha": 1.0})
    train_classifier(settings, tmp_path)
    assert "warning: W-Softmax on a raw embedding" in capsys.readouterr().err
    with (tmp_path / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["all_negative"]) <= 1
    assert '"all_negative": ' in (tmp_path / "result.json").read_text()


PLAIN_NET = {"name": "sphereface", "depth": 20}
IMAGE_NET = {"name": "lsoftmax_net", "variant": "mnist", "embedding_dim": DIM}
LAST_LAYERS = ["none", "prelu_norm", "prelu_affine_norm", "prelu_offset_norm", "norm_relu"]
BACKBONES: list[dict[str, Any]] = [
    {"name": "iresnet", "depth": 18, "width": 8},
    {"name": "iresnet", "depth": 18, "width": 8, "last_norm": "affine"},
    {"name": "mobilefacenet"},
    {"name": "inception_resnet_v1", "input_px": 80},
    {"name": "vit"},
    {"name": "lgm_resnet"},
    *({**PLAIN_NET, "last_layers": kind} for kind in LAST_LAYERS),
]


@pytest.mark.parametrize("section", BACKBONES, ids=lambda section: "-".join(map(str, section.values())))
def test_backbones_know_how_their_embedding_ends(section: dict[str, Any]) -> None:
    """As the network that is built of the section does."""
    config = run_config(Path("data"), backbone={"embedding_dim": DIM, "input_px": 32, **section}).backbone
    last = [each for each in build_backbone(config).modules() if not list(each.children())][-2:]
    norms = [each for each in last if isinstance(each, torch.nn.BatchNorm1d)]
    assert config.normed_embedding == bool(norms)
    assert config.centred_embedding == (norms == last[-1:] and norms[0].bias is None)
    assert config.fewest_photos == (2 if norms else 1)


@pytest.mark.parametrize("kind", LAST_LAYERS)
def test_image_networks_know_how_their_embedding_ends(kind: str) -> None:
    network = image_config(network={**IMAGE_NET, "last_layers": kind}).network
    assert network.normed_embedding == (kind != "none")
    assert network.centred_embedding == (kind == "prelu_norm")


def test_checkpoints_and_runs_of_earlier_versions() -> None:
    sums = {"steps": 2, "loss": 3.0, "accuracy": 1.0, "gradient_norm": 4.0}
    assert Interval.of(sums).means() == {
        "loss": 1.5,
        "accuracy": 0.5,
        "all_negative": 0.0,
        "gradient_norm": 2.0,
    }
    old = ObjectiveConfig.model_validate({"head": {"name": "wsoftmax", "alpha": 1.0, "only_raises": False}})
    assert old.head == WSoftmaxConfig(name="wsoftmax", alpha=1.0)
