"""Fine-tuning: frozen layers stay, the backbone learns at its own rate, imported models start runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import published_networks as published
import pytest
import torch
from small_runs import mobile_run_config as run_config
from small_runs import tensors, write_first_run

from data_prep.errors import InputError
from faceverif.config.run import RunConfig
from faceverif.models import MODEL_NAME, load_model
from faceverif.models.face_classifier import load_face_classifier
from faceverif.models.importing import ImportSettings, import_model
from faceverif.models.importing.layouts import recognise
from faceverif.training.loop import prepare, train
from faceverif.training.stop import StopRequest

pytestmark = pytest.mark.usefixtures("small_inputs")

FROZEN = {"freeze": ["trunk.0", "trunk.4"], "ema_decay": None, "epochs": 1}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_first_run(tmp_path_factory.mktemp("first"))


def refining(root: Path, *, training: dict[str, Any], **sections: Any) -> RunConfig:
    return run_config(root / "others", training={"start_from": str(root / "run")} | training, **sections)


def changed(one: Path, other: Path) -> set[str]:
    before, after = (load_model(run / MODEL_NAME).backbone.state_dict() for run in (one, other))
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_frozen_layers_keep_weights_and_batch_statistics(first: Path, tmp_path: Path) -> None:
    train(refining(first, training=FROZEN), tmp_path / "run")
    names = changed(first / "run", tmp_path / "run")
    assert not [name for name in names if name.startswith(("trunk.0.", "trunk.4."))]
    assert {"trunk.2.0.weight", "trunk.2.1.running_mean", "embed.4.weight"} <= names


def test_a_frozen_backbone_leaves_the_head_to_learn(first: Path, tmp_path: Path) -> None:
    train(refining(first, training=FROZEN | {"freeze": ["trunk", "embed"]}), tmp_path / "run")
    assert changed(first / "run", tmp_path / "run") == set()


def test_a_resumed_run_keeps_what_is_frozen_and_equals_an_uninterrupted_one(
    first: Path, tmp_path: Path
) -> None:
    config = refining(first, training=FROZEN | {"epochs": 2}, optimizer={"backbone_rate": 0.1})
    train(config, tmp_path / "whole")
    begun = prepare(config, tmp_path / "run")
    begun.begin()
    stop = StopRequest()
    stop.made = True
    with pytest.raises(KeyboardInterrupt):
        begun.fit(stop)
    train(config, tmp_path / "run")
    assert changed(tmp_path / "whole", tmp_path / "run") == set()
    with pytest.raises(InputError, match=r"other settings; got optimizer\.backbone_rate .* training\.freeze"):
        train(refining(first, training=FROZEN | {"epochs": 2, "freeze": ["trunk.0"]}), tmp_path / "run")


def test_the_backbone_learns_at_its_own_rate(first: Path, tmp_path: Path) -> None:
    optimizer = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.0}
    moves = []
    for rate in (1.0, 0.25):
        config = refining(first, training={"clip_norm": None}, optimizer=optimizer | {"backbone_rate": rate})
        training = prepare(config, tmp_path / "run")
        learner = training.learner
        before = {name: tensor.clone() for name, tensor in tensors(learner.state()).items()}
        learner.compute_gradients(next(training.batches()), step=0)
        learner.update(step=0)
        after = tensors(learner.state())
        moves.append({name: after[name] - before[name] for name in before if after[name].is_floating_point()})
    full, slow = moves
    for name in ("/backbone/trunk.2.0.weight", "/backbone/embed.4.weight"):
        torch.testing.assert_close(slow[name], full[name] / 4, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(slow["/objective/head.weight"], full["/objective/head.weight"])


def test_an_imported_model_is_refined_with_a_new_head_for_new_people(first: Path, tmp_path: Path) -> None:
    state = published.mobile_weights(side=2, dim=24)
    torch.save(state, tmp_path / "net.pth")
    import_model(tmp_path / "net.pth", tmp_path / "imported", settings=ImportSettings())
    found = recognise(state)
    assert found is not None
    training = FROZEN | {"start_from": str(tmp_path / "imported"), "freeze": ["trunk"]}
    sections = {"backbone": dict(found.config), "optimizer": {"backbone_rate": 0.5}}
    train(run_config(first / "others", **sections, training=training), tmp_path / "run")
    names = changed(tmp_path / "imported", tmp_path / "run")
    assert names
    assert all(name.startswith("embed") for name in names)
    assert load_face_classifier(tmp_path / "run").class_names == tuple(
        f"P{person:02d}" for person in range(6)
    )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"training": {"freeze": ["trunk.77"]}},
            r"training\.freeze: must name layers .* trunk\.77",
        ),
        ({"training": {"freeze": [""]}}, r"training\.freeze: "),
        (
            {"training": {"freeze": ["trunk"], "start_from": None}},
            r"training\.freeze: needs training\.start_from",
        ),
        ({"training": {}, "optimizer": {"backbone_rate": 0}}, r"optimizer\.backbone_rate: "),
    ],
)
def test_bad_values_are_refused(first: Path, tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(refining(first, **sections), tmp_path / "run")
