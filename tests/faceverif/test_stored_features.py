"""Training behind a frozen layer from stored features equals training with that part frozen."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import mobile_run_config as run_config
from small_runs import tensors, write_first_run
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.config.run import RunConfig
from faceverif.heads.moments import ClassMoments
from faceverif.models import MODEL_NAME, load_model
from faceverif.training.dry_run import rehearse
from faceverif.training.frozen import stored_features
from faceverif.training.frozen.part import FrozenPart
from faceverif.training.frozen.split import split_at
from faceverif.training.frozen.stored_features import StoredFeatures
from faceverif.training.loop import TrainingRun, prepare, train
from faceverif.training.stop import StopRequest
from faceverif.verification.embeddings import EmbeddedPhotos

pytestmark = pytest.mark.usefixtures("small_inputs")

LAYER = "trunk.18"
BEFORE = [f"trunk.{number}" for number in range(19)]
PLAIN = {"shift_px": 0, "rotation_deg": 0, "saturation": 0, "erase": 0}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_first_run(tmp_path_factory.mktemp("first"))


def refining(root: Path, *, flip: float = 0.5, **training: Any) -> RunConfig:
    section = {"start_from": str(root / "run"), "epochs": 2} | training
    return run_config(root / "others", augmentation=PLAIN | {"flip": flip}, training=section)


def storing(root: Path, folder: Path, **settings: Any) -> RunConfig:
    return refining(root, stored_features={"layer": LAYER, "folder": str(folder)}, **settings)


def begun(config: RunConfig, run: Path) -> TrainingRun:
    training = prepare(config, run)
    training.begin()
    return training


def fitted(config: RunConfig, run: Path) -> dict[str, Tensor]:
    """The weights of the backbone after the last step, without what a run writes at its end."""
    training = begun(config, run)
    training.fit(StopRequest())
    return dict(training.learner.network.backbone.state_dict())


def test_it_equals_a_run_whose_part_is_frozen(first: Path, tmp_path: Path) -> None:
    start = load_model(first / "run" / MODEL_NAME).backbone.state_dict()
    frozen = fitted(refining(first, flip=0.0, freeze=BEFORE), tmp_path / "frozen")
    ours = fitted(storing(first, tmp_path / "features", flip=0.0), tmp_path / "run")
    moved = {name for name in start if not torch.equal(start[name], ours[name])}
    assert {"embed.4.weight", "trunk.19.1.running_mean"} <= moved
    assert not [name for name in moved if any(name.startswith(f"{layer}.") for layer in BEFORE)]
    for name in ("embed.4.weight", "embed.0.weight", "trunk.19.0.weight"):
        apart, way = ours[name] - frozen[name], frozen[name] - start[name]
        assert apart.norm() < 0.05 * way.norm(), name  # rounding, which batch statistics enlarge


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_step_sees_the_crop_or_its_mirror_image(flip: float, first: Path, tmp_path: Path) -> None:
    frozen = prepare(refining(first, flip=flip, freeze=BEFORE), tmp_path / "frozen")
    ours = prepare(storing(first, tmp_path / "features", flip=flip), tmp_path / "run")
    ((pixels, labels, *_),) = frozen.learner.parts(next(frozen.batches()), step=0)
    ((seen, ours_labels, *_),) = ours.learner.parts(next(ours.batches()), step=0)
    with torch.no_grad():
        wanted = split_at(frozen.learner.network.backbone.eval(), LAYER).before(pixels)
    torch.testing.assert_close(seen, wanted, atol=1e-3 * wanted.abs().max().item(), rtol=0)
    assert torch.equal(labels, ours_labels)


def test_a_resumed_run_equals_an_uninterrupted_one(first: Path, tmp_path: Path) -> None:
    config = storing(first, tmp_path / "features", start_centres="class_means")
    whole = fitted(config, tmp_path / "whole")
    stop = StopRequest()
    stop.made = True
    with pytest.raises(KeyboardInterrupt):
        begun(config, tmp_path / "run").fit(stop)
    ours = fitted(config, tmp_path / "run")
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


def test_the_exported_model_is_whole(first: Path, tmp_path: Path) -> None:
    train(storing(first, tmp_path / "features", epochs=1), tmp_path / "run")
    exported, start = (load_model(run / MODEL_NAME).backbone for run in (tmp_path / "run", first / "run"))
    assert torch.equal(exported.get_parameter("trunk.0.0.weight"), start.get_parameter("trunk.0.0.weight"))
    assert not torch.equal(exported.get_parameter("embed.4.weight"), start.get_parameter("embed.4.weight"))


def test_runs_share_what_is_stored_and_a_damaged_file_is_made_again(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = storing(first, tmp_path / "features")
    begun(config, tmp_path / "one")
    (file,) = (tmp_path / "features").glob("*/*.npy")
    stored = file.read_bytes()
    file.write_bytes(stored[: len(stored) // 2])
    begun(config, tmp_path / "two")
    assert file.read_bytes() == stored
    monkeypatch.setattr(StoredFeatures, "_computed", None)
    training = begun(config.model_copy(update={"seed": 8}), tmp_path / "three")
    batch = next(training.batches())
    assert batch.crops.shape[:2] == (8, 2)


@contextmanager
def few_more_files(most: int) -> Iterator[None]:
    """A block in which this many files may be opened, besides those that are open already."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    now = max(int(name) for name in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (now + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_files_than_a_process_may_open_are_written_and_read(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file holds 512 photos, so a large data set has thousands; here it holds one."""
    monkeypatch.setattr(stored_features, "_PORTION", 1)
    config = storing(first, tmp_path / "features")
    training = prepare(config, tmp_path / "run")
    dataset, rows = training.photos.dataset, training.photos.rows

    def stored() -> StoredFeatures:
        part = FrozenPart.of(config, training.learner.network.backbone, training.spec)
        assert part is not None
        return part.features(dataset)

    with few_more_files(8):
        features = stored()
        features.fill(rows)
        assert len(list((tmp_path / "features").glob("*/*.npy"))) == len(rows) > 10
        views, again = features.views(rows), stored()
        assert not len(again.missing(rows))

    def too_many(path: Path, **_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            stored()  # the files are whole, and must not be computed again
    monkeypatch.setattr(StoredFeatures, "_computed", None)
    assert torch.equal(again.views(rows[::-1].copy()), views.flip(0))
    next(features.path.glob("*.npy")).unlink()
    with pytest.raises(
        InputError, match=r"must keep its files while a run reads them; got .*, which is gone"
    ):
        again.views(rows)


def test_other_weights_and_other_photos_have_features_of_their_own(first: Path, tmp_path: Path) -> None:
    begun(storing(first, tmp_path / "features"), tmp_path / "one")
    config = storing(first, tmp_path / "features")
    begun(
        config.model_copy(update={"data": config.data.model_copy(update={"path": first / "data"})}),
        tmp_path / "two",
    )
    training = prepare(config, tmp_path / "three")
    with torch.no_grad():
        training.learner.network.backbone.get_parameter("trunk.0.0.weight").mul_(2)
    training.begin()
    assert len(list((tmp_path / "features").iterdir())) == 3


def test_embeddings_and_centres_are_those_of_the_whole_network(first: Path, tmp_path: Path) -> None:
    config = storing(first, tmp_path / "features", start_centres="class_means")
    training = begun(config, tmp_path / "run")
    photos, embedder = training.photos, training.embedder()
    assert training.frozen is not None
    for flip in (True, False):
        ours = training.frozen.embedded(embedder, photos.dataset, flip=flip).of(photos.rows)
        whole = EmbeddedPhotos(embedder, photos.dataset, flip=flip).of(photos.rows)
        np.testing.assert_allclose(ours, whole, atol=1e-5)
    model = load_model(first / "run" / MODEL_NAME)
    moments = photos.class_moments(EmbeddedPhotos(model, photos.dataset, flip=False))
    centres = training.learner.network.objective.head.centres()
    torch.testing.assert_close(centres, nn.functional.normalize(moments.means).float(), atol=1e-5, rtol=0)
    assert isinstance(moments, ClassMoments)


def test_centres_start_at_the_class_means_without_stored_features_too(first: Path, tmp_path: Path) -> None:
    training = prepare(refining(first, start_centres="class_means"), tmp_path / "run")
    photos = training.photos
    model = load_model(first / "run" / MODEL_NAME)
    moments = photos.class_moments(EmbeddedPhotos(model, photos.dataset, flip=False))
    centres = training.learner.network.objective.head.centres()
    torch.testing.assert_close(centres, nn.functional.normalize(moments.means).float())


def test_a_rehearsal_names_what_is_missing_and_writes_nothing(first: Path, tmp_path: Path) -> None:
    config = storing(first, tmp_path / "features")
    before = sorted(tmp_path.rglob("*"))
    assert "features  24 photos to compute first" in rehearse(config, tmp_path / "run").text()
    assert sorted(tmp_path.rglob("*")) == before
    begun(config, tmp_path / "run")
    assert "features  all are stored" in rehearse(config, tmp_path / "run").text()


class Around(nn.Module):
    """A residual sum: the second layer is gone around, the sum is not."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.sum, self.end = (nn.Linear(3, 3) for _ in range(4))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.one(pixels)
        return self.end(self.sum(x + self.two(x)))


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.one(pixels) if pixels.sum() > 0 else pixels


@pytest.mark.parametrize("layer", ["one", "sum", "end"])
def test_both_parts_together_are_the_network(layer: str) -> None:
    network, x = Around(), torch.rand(2, 3)
    split = split_at(network, layer)
    assert torch.equal(split.behind(split.before(x)), network(x))
    split.behind(split.before(x)).sum().backward()
    assert network.end.weight.grad is not None


@pytest.mark.parametrize(
    ("network", "layer", "message"),
    [
        (Around(), "two", "through which the whole network goes, once; got two, .* goes around"),
        (Around(), "three", "must name layers of the network; got three"),
        (Deciding(), "one", "got a network whose way depends on the photos"),
        (nn.Sequential(nn.ModuleList([nn.Linear(3, 3)])), "0.0", "whose way depends"),
    ],
)
def test_a_layer_at_which_nothing_can_be_cut_is_refused(network: nn.Module, layer: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"training\.stored_features\.layer: .*{message}"):
        split_at(network, layer)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"start_from": None}}, r"training\.stored_features: needs training\.start_from"),
        ({"augmentation": {"zoom": 0.1}}, r"augmentation\.zoom: must be left out beside .*stored_features"),
        ({"training": {"noise": 0.1}}, r"training\.noise: must be left out"),
        (
            {"training": {"stored_features": None, "start_from": None, "start_centres": "class_means"}},
            r"training\.start_centres: class_means needs training\.start_from",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(first: Path, sections: dict[str, Any], message: str) -> None:
    config = storing(first, Path("features"))
    settings = {"training": config.training, "augmentation": config.augmentation}
    merged = {
        key: section.model_dump(mode="json", exclude_unset=True) | sections.get(key, {})
        for key, section in settings.items()
    }
    with pytest.raises(InputError, match=message):
        run_config(first / "others", **merged)


def test_all_tensors_of_a_step_are_those_behind_the_layer(first: Path, tmp_path: Path) -> None:
    training = begun(storing(first, tmp_path / "features"), tmp_path / "run")
    learner = training.learner
    before = {name: tensor.clone() for name, tensor in tensors(learner.state()).items()}
    learner.compute_gradients(next(training.batches()), step=0)
    learner.update(step=0)
    after = tensors(learner.state())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "/objective/head.weight" in moved
    frozen = {name for name in before if name.startswith(tuple(f"/backbone/{layer}." for layer in BEFORE))}
    assert frozen
    assert not frozen & moved
