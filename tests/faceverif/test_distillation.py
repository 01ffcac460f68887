"""A student learns a teacher's embeddings, similarities and features; what does not fit is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from small_faces import write_faces
from small_runs import mobile_run_config as run_config
from small_runs import settings
from torch import Tensor

from data_prep.errors import InputError
from faceverif.classification.config import ClassificationConfig
from faceverif.config.reading import validate_config
from faceverif.heads.softmax import SoftmaxHead
from faceverif.models import MODEL_NAME, Embedder, load_model
from faceverif.penalties import EmbeddedBatch, Lesson
from faceverif.penalties.distill import Distill, cosine_gap, feature_gap, similarity_gap
from faceverif.training import dry_run
from faceverif.training.adversarial import AdversarialModel, NoisyModel, changed_pixels
from faceverif.training.data import TrainingPhotos
from faceverif.training.dry_run import rehearse
from faceverif.training.loop import TrainingRun, prepare, train
from faceverif.training.teachers import stored
from faceverif.training.teachers.base import TeacherOutput

pytestmark = pytest.mark.usefixtures("small_inputs")

DISTILL = {"name": "distill", "weight": 1.0, "pairwise": 1.0, "hints": 2.0}
PROBE = {"name": "softmax", "probe": True}
HINTS = {"trunk.4": "trunk.4", "trunk.20": "trunk.20"}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch_of(embeddings: Tensor) -> EmbeddedBatch:
    head, labels = SoftmaxHead(classes=2, embedding_dim=3), torch.zeros(len(embeddings)).long()
    return EmbeddedBatch(embeddings, labels, head(embeddings, labels), head)


class TestGaps:
    """The formulas, against plain loops."""

    def test_the_cosine_gap_is_its_formula(self) -> None:
        ours, theirs = drawn(5, 3), drawn(5, 3, seed=1)
        wanted = [1 - float(a @ b) / float(a.norm() * b.norm()) for a, b in zip(ours, theirs, strict=True)]
        torch.testing.assert_close(cosine_gap(ours, theirs), torch.tensor(wanted, dtype=torch.float64))

    def test_the_similarity_gap_is_its_formula_for_embeddings_of_two_lengths(self) -> None:
        ours, theirs = drawn(4, 3), drawn(4, 7, seed=1)

        def cosine(rows: Tensor, one: int, other: int) -> float:
            return float(torch.cosine_similarity(rows[one], rows[other], dim=0))

        wanted = [
            sum((cosine(ours, i, j) - cosine(theirs, i, j)) ** 2 for j in range(4) if j != i) / 3
            for i in range(4)
        ]
        torch.testing.assert_close(similarity_gap(ours, theirs), torch.tensor(wanted, dtype=torch.float64))
        assert similarity_gap(ours[:1], theirs[:1]).item() == 0

    def test_a_rotation_of_the_embeddings_changes_no_similarity(self) -> None:
        ours = drawn(6, 4)
        rotation = torch.linalg.qr(drawn(4, 4, seed=2)).Q
        assert similarity_gap(ours @ rotation, ours).max() < 1e-12

    def test_the_feature_gap_counts_in_shares_of_the_variance(self) -> None:
        theirs = drawn(64, 3, 4, 4).float()
        mean = torch.full_like(theirs, theirs.mean().item())
        assert feature_gap(mean, theirs).mean().item() == pytest.approx(1, rel=0.01)
        torch.testing.assert_close(feature_gap(100 * mean, 100 * theirs), feature_gap(mean, theirs))
        assert feature_gap(theirs, theirs).max() == 0

    def test_the_penalty_is_their_weighted_sum(self) -> None:
        ours, theirs, head = (
            drawn(5, 3).float(),
            drawn(5, 3, seed=1).float(),
            SoftmaxHead(classes=2, embedding_dim=3),
        )
        features = (drawn(5, 2, 2).float(), drawn(5, 2, 2, seed=3).float())
        labels = torch.zeros(5).long()
        batch = EmbeddedBatch(ours, labels, head(ours, labels), head, Lesson(theirs, (features, features)))
        wanted = cosine_gap(ours, theirs) + 3 * similarity_gap(ours, theirs) + 2 * feature_gap(*features)
        torch.testing.assert_close(Distill(pairwise=3, hints=2)(batch), wanted)

    def test_mixed_precision_leaves_similarities_their_digits(self) -> None:
        """It rounds what a network is called with, so the teacher's embeddings come in bfloat16."""
        ours = drawn(8, 3).bfloat16()
        features = drawn(8, 2, 2).bfloat16()
        half = batch_of(ours.float())._replace(lesson=Lesson(ours, ((features, features),)))
        whole = half._replace(lesson=Lesson(ours.float(), ((features, features.float()),)))
        penalty = Distill(pairwise=1, hints=1)
        assert torch.equal(penalty(half), penalty(whole))
        assert penalty(half).abs().max() < 1e-6

    def test_without_a_teacher_there_is_nothing_to_imitate(self) -> None:
        ours, head, labels = (
            drawn(5, 3).float(),
            SoftmaxHead(classes=2, embedding_dim=3),
            torch.zeros(5).long(),
        )
        with pytest.raises(InputError, match=r"penalties\.distill: needs a teacher"):
            Distill(pairwise=1, hints=1)(EmbeddedBatch(ours, labels, head(ours, labels), head))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of data and of a finished run."""
    root = tmp_path_factory.mktemp("teacher")
    write_faces(root / "data", people=4, photos=5)
    train(run_config(root / "data", training={"epochs": 1}), root / "run")
    return root


def taught(root: Path, *, views: str = "stored", **sections: Any) -> dict[str, Any]:
    """Sections of a run that imitates the run in that folder."""
    wanted = {"model": str(root / "run"), "views": views} | sections.pop("teacher", {})
    return {"head": PROBE, "penalties": [DISTILL], "teacher": wanted} | sections


def begun(root: Path, run: Path, **sections: Any) -> TrainingRun:
    return prepare(run_config(root / "data", **taught(root, **sections)), run)


def test_stored_embeddings_are_the_teachers_own_mirrored_where_the_student_sees_the_mirror_image(
    teacher: Path, tmp_path: Path
) -> None:
    training = begun(teacher, tmp_path / "run")
    imitated = training.learner.teacher
    assert imitated is not None
    imitated.begin()
    photos, mirrored = torch.tensor([3, 7, 3]), torch.tensor([False, True, True])
    crops = training.photos.dataset.crops.read(training.photos.rows[[3, 7, 3]])
    crops[1:] = crops[1:, :, ::-1]
    wanted = torch.from_numpy(load_model(teacher / "run" / MODEL_NAME).embed(crops))
    found = imitated.output(torch.zeros(3, 3, 32, 32), photos, mirrored).embeddings
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_stored_embeddings_are_computed_once_per_teacher_and_data(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun(teacher, tmp_path / "run").learner.teacher
    assert first is not None
    first.begin()
    again, other = (
        begun(teacher, tmp_path / "run", **sections).learner.teacher
        for sections in ({}, {"data": {"min_photos_per_identity": 5, "held_out_per_identity": None}})
    )
    assert again is not None
    assert other is not None
    monkeypatch.setattr(stored, "_of_both_sides", lambda *_: pytest.fail("computed"))
    again.begin()
    shared = {"teacher": {"folder": str(tmp_path / "run" / "teacher")}}
    elsewhere = begun(teacher, tmp_path / "second", **shared).learner.teacher
    assert elsewhere is not None
    elsewhere.begin()
    [file] = (tmp_path / "run" / "teacher").iterdir()
    file.write_bytes(file.read_bytes()[:-9])  # damaged: made again, not trusted
    with pytest.raises(pytest.fail.Exception, match="computed"):
        again.begin()


def test_an_interrupted_teacher_continues_with_the_photos_that_are_left(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, embed, asked = begun(teacher, tmp_path / "run"), stored._of_both_sides, list[int]()
    imitated, photos = training.learner.teacher, len(training.photos)
    assert isinstance(imitated, stored.StoredTeacher)

    def of_both_sides(embedder: Embedder, photos: TrainingPhotos, rows: Any) -> Any:
        if len(asked) == 3:
            asked.append(0)
            raise KeyboardInterrupt
        asked.append(len(rows))
        return embed(embedder, photos, rows)

    monkeypatch.setattr(stored, "_BATCH", 4)
    monkeypatch.setattr(stored, "_PORTION", 8)
    monkeypatch.setattr(stored, "_of_both_sides", of_both_sides)
    with pytest.raises(KeyboardInterrupt):
        imitated.begin()
    assert asked == [4, 4, 4, 0]  # the first portion is whole
    assert imitated.rehearse(sampled=2).photos == photos - 8
    imitated.begin()
    assert sum(asked[5:]) == photos - 8
    assert [path.name for path in (tmp_path / "run" / "teacher").iterdir()] == [imitated.path.name]
    whole = embed(imitated.embedder, training.photos, training.photos.rows)
    for side in (0, 1):
        found = imitated.output(torch.zeros(1), torch.arange(photos), torch.full((photos,), side)).embeddings
        torch.testing.assert_close(found, torch.from_numpy(whole[side]))

    opened = Path.open

    def too_many(path: Path, *how: Any, **more: Any) -> Any:
        if path == imitated.path:
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(Path, "open", too_many)
    with pytest.raises(OSError, match="Too many open files"):
        imitated.begin()  # the file is whole, and must not be made again


def test_the_live_teacher_sees_the_students_pixels(teacher: Path, tmp_path: Path) -> None:
    learner = begun(teacher, tmp_path / "run", views="live", teacher={"layers": HINTS}).learner
    pixels = torch.rand(3, 3, 32, 32)
    own = load_model(teacher / "run" / MODEL_NAME).backbone.eval()
    assert learner.teacher is not None
    output = learner.teacher.output(pixels, torch.zeros(3).long(), torch.zeros(3).bool())
    with torch.no_grad():
        torch.testing.assert_close(output.embeddings, own(pixels))
        features = own.get_submodule("trunk")[:5](pixels * own.pixel_gain + own.pixel_offset)
    torch.testing.assert_close(output.features["trunk.4"], features)


@pytest.mark.parametrize("guided", [False, True])
def test_a_guided_layer_learns_from_its_own_hint_alone(teacher: Path, tmp_path: Path, guided: bool) -> None:
    sections = {"teacher": {"layers": HINTS, "guided": guided}}
    learner = begun(teacher, tmp_path / "run", views="live", **sections).learner
    network, pixels = learner.network, torch.rand(4, 3, 32, 32)
    assert learner.teacher is not None
    output = learner.teacher.output(pixels, torch.zeros(4).long(), torch.zeros(4).bool())
    [penalty] = network.objective.penalties
    penalty.hints = 0.0  # the embedding's own loss is left
    network(pixels, torch.tensor([0, 1, 2, 3]), output).loss.backward()
    reaches = network.backbone.get_parameter("trunk.0.0.weight").grad.abs().max() > 0
    assert reaches == (not guided)
    assert network.backbone.get_parameter("embed.4.weight").grad.abs().max() > 0


def test_a_folder_that_cannot_be_written_is_refused_before_the_teacher_is_asked(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imitated = begun(teacher, tmp_path / "run").learner.teacher
    assert imitated is not None
    monkeypatch.setattr(stored, "_of_both_sides", lambda *_: pytest.fail("computed"))
    monkeypatch.setattr(os, "access", lambda *_: False)  # for root, no rights are missing
    with pytest.raises(InputError, match=r"teacher\.folder: must be in a place where you may write"):
        imitated.begin()


@pytest.mark.parametrize("views", ["stored", "live"])
def test_a_student_comes_closer_to_its_teacher(teacher: Path, tmp_path: Path, views: str) -> None:
    hints = {"layers": HINTS} if views == "live" else {}
    calm = {"augmentation": {"flip": 0.5, "shift_px": 0, "rotation_deg": 0, "saturation": 0, "erase": 0}}
    sections = taught(teacher, views=views, teacher=hints, **calm, backbone={"dropout": 0.0})
    more = {
        "training": {"epochs": 8, "ema_decay": None},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
    }
    train(run_config(teacher / "data", **sections, **more), tmp_path / "run")
    crops = begun(teacher, tmp_path / "other").photos.dataset.crops.read(np.arange(20))

    def closeness(run: Path) -> float:
        ours, theirs = (load_model(each / MODEL_NAME).embed(crops) for each in (run, teacher / "run"))
        return float(torch.cosine_similarity(torch.from_numpy(ours), torch.from_numpy(theirs)).mean())

    assert closeness(tmp_path / "run") > 0.5
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())["teacher"]
    assert provenance["sha256"] == load_model(teacher / "run" / MODEL_NAME).sha256


def test_a_student_under_noise_learns_what_its_teacher_says_of_the_clean_photos(
    teacher: Path, tmp_path: Path
) -> None:
    noise = {"teacher": {"layers": HINTS}, "training": {"noise": 0.2}}
    training = begun(teacher, tmp_path / "run", views="live", **noise)
    assert np.isfinite(training.learner.compute_gradients(next(training.batches()), step=0).loss)

    imitated, network = training.learner.teacher, training.learner.network.eval()
    pixels, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    assert imitated is not None
    clean = imitated.output(pixels, torch.zeros(4).long(), torch.zeros(4).bool())
    torch.manual_seed(1)
    loss = NoisyModel(network, 0.2)(pixels, labels, 0.0, clean).loss
    torch.manual_seed(1)
    noisy = pixels + 0.2 * torch.randn(4, 3, 32, 32)
    assert loss == network(noisy, labels, clean).loss
    assert loss != network(pixels, labels, clean).loss


@pytest.mark.parametrize("attack", ["fgsm_rs", "pgd", "trades"])
def test_a_student_under_attack_learns_what_its_teacher_says_of_the_clean_photos(
    teacher: Path, tmp_path: Path, attack: str
) -> None:
    adversarial = {"attack": attack, "epsilon": 0.05, "steps": 1}
    training = begun(teacher, tmp_path / "run", training={"adversarial": adversarial})
    assert training.learner.teacher is not None
    training.learner.teacher.begin()
    assert np.isfinite(training.learner.compute_gradients(next(training.batches()), step=0).loss)

    network, config = training.learner.network.eval(), training.config.training.adversarial
    pixels, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    assert config is not None
    outputs = [TeacherOutput(drawn(4, 16, seed=seed), {}) for seed in (1, 2)]

    def loss(output: TeacherOutput) -> Tensor:
        torch.manual_seed(1)
        return AdversarialModel(network, config)(pixels, labels, 1.0, output).loss

    torch.manual_seed(1)
    seen = pixels if attack == "trades" else changed_pixels(network, pixels, labels, config=config)
    by_teacher = [network(seen, labels, each).loss for each in outputs]
    torch.testing.assert_close(loss(outputs[0]) - loss(outputs[1]), by_teacher[0] - by_teacher[1])
    assert by_teacher[0] != by_teacher[1]


def test_distillation_stands_beside_any_head(teacher: Path, tmp_path: Path) -> None:
    sections = taught(teacher, head={"name": "arcface", "scale": 16}, training={"epochs": 1})
    train(run_config(teacher / "data", **sections), tmp_path / "run")
    assert (tmp_path / "run" / MODEL_NAME).is_file()


def test_a_rehearsal_asks_the_teacher_once_and_leaves_nothing_behind(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run asks it before the first step, or never; so the steps that are measured do not either."""
    embed, asked = stored._of_both_sides, list[int]()

    def of_both_sides(embedder: Embedder, photos: TrainingPhotos, rows: Any) -> Any:
        asked.append(len(rows))
        return embed(embedder, photos, rows)

    monkeypatch.setattr(stored, "_of_both_sides", of_both_sides)
    monkeypatch.setattr(dry_run, "_SAMPLED_PHOTOS", 3)
    config = run_config(teacher / "data", **taught(teacher))
    assert "teacher   20 photos to embed first: " in rehearse(config, tmp_path / "run").text()
    assert asked == [3]
    assert not (tmp_path / "run").exists()
    imitated = prepare(config, tmp_path / "run").learner.teacher
    assert imitated is not None
    imitated.begin()
    del asked[:]
    assert "teacher   all is stored, 0 MB in " in rehearse(config, tmp_path / "run").text()
    assert not asked


class TestOnnxTeacher:
    """An .onnx file gives its layers too, whatever its batch."""

    @pytest.mark.parametrize("batch", [1, 2, "batch"])
    def test_embeddings_and_layers_are_those_of_the_graph(
        self, teacher: Path, tmp_path: Path, batch: int | str
    ) -> None:
        sections = {
            "backbone": {"embedding_dim": 3, "input_px": 112},
            "teacher": onnx_teacher(tmp_path, batch),
        }
        learner = begun(teacher, tmp_path / "run", views="live", **sections).learner
        assert learner.teacher is not None
        pixels = torch.rand(5, 3, 112, 112)
        output = learner.teacher.output(pixels, torch.zeros(5).long(), torch.zeros(5).bool())
        scaled = (pixels * 255 - 127.5) / 127.5
        scaled = scaled.flip(1) * torch.tensor([1.0, 2, 3]).view(1, 3, 1, 1)
        torch.testing.assert_close(output.embeddings, scaled.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)

    def test_a_graph_that_takes_bytes_is_given_the_nearest_ones(self, teacher: Path, tmp_path: Path) -> None:
        sections = {
            "backbone": {"embedding_dim": 3, "input_px": 112},
            "teacher": onnx_teacher(tmp_path, "batch", takes=TensorProto.UINT8, preprocess="rgb-raw"),
        }
        learner = begun(teacher, tmp_path / "run", views="live", **sections).learner
        assert learner.teacher is not None
        grey = torch.arange(256.0)
        pixels = ((grey - 0.4).clamp_min(0) / 255).view(-1, 1, 1, 1).expand(-1, 3, 112, 112)
        output = learner.teacher.output(pixels, torch.zeros(256).long(), torch.zeros(256).bool())
        torch.testing.assert_close(output.embeddings[:, 0], grey)

    def test_its_values_can_be_hints_of_the_same_shape_only(self, teacher: Path, tmp_path: Path) -> None:
        sections = {"backbone": {"embedding_dim": 3, "input_px": 112}}
        section = onnx_teacher(tmp_path, 1) | {"layers": {"trunk.4": "scaled"}}
        rule = r"teacher\.layers\.trunk\.4: must have the shape of the teacher's scaled, 3 x 112 x 112"
        with pytest.raises(InputError, match=rule):
            begun(teacher, tmp_path / "run", views="live", **sections, teacher=section)
        section["layers"] = {"trunk.4": "nowhere"}
        with pytest.raises(InputError, match=r"teacher\.layers: must name values in the graph .* nowhere"):
            begun(teacher, tmp_path / "run", views="live", **sections, teacher=section)


def onnx_teacher(
    folder: Path, batch: int | str, *, takes: int = TensorProto.FLOAT, preprocess: str = "bgr-127.5"
) -> dict[str, Any]:
    """The channels' means, times (1, 2, 3); usually of BGR pixels in [-1, 1]."""
    given = helper.make_tensor_value_info("photo", takes, [batch, 3, 112, 112])
    result = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.array([1, 2, 3], np.float32).reshape(1, 3, 1, 1), "weight")
    nodes = [
        helper.make_node("Cast", ["photo"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "weight"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled"], ["embedding"], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "means", [given], [result], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "teacher.onnx")
    return {"model": str(folder / "teacher.onnx"), "preprocess": preprocess}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"penalties": []}, r"head\.probe: leaves the backbone nothing to learn from"),
        ({"penalties": [], "head": {"name": "softmax"}}, r"teacher: needs the distill penalty"),
        ({"teacher": None}, r"teacher: must be named for the distill penalty"),
        ({"teacher": {"layers": HINTS}}, r"teacher\.views: must be live for hints"),
        ({"teacher": {"views": "live", "folder": "runs/teacher"}}, r"teacher\.folder: must be left out"),
        ({"teacher": {"views": "live", "guided": True}}, r"teacher\.guided: needs layers with hints"),
        (
            {
                "teacher": {"views": "live", "layers": HINTS},
                "training": {"adversarial": {"attack": "trades", "epsilon": 0.05}},
            },
            r"teacher\.layers: must be left out beside training\.adversarial with trades",
        ),
        ({"teacher": {"views": "live", "layers": {"trunk.99": "trunk.4"}}}, r"teacher\.layers: .* trunk\.99"),
        ({"teacher": {"views": "live", "layers": {"trunk.4": "trunk.99"}}}, r"teacher\.layers: .* trunk\.99"),
        ({"backbone": {"embedding_dim": 8}}, r"backbone\.embedding_dim: must be the teacher's, 16"),
        ({"teacher": {"views": "live"}, "backbone": {"input_px": 64}}, r"teacher\.views: live: .* 32 px"),
        ({"teacher": {"preprocess": "rgb-255"}}, r"teacher\.preprocess: "),
    ],
)
def test_what_does_not_fit_is_refused(
    teacher: Path, tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    named = sections.get("teacher", {})
    wanted = taught(
        teacher, teacher=named or {}, **{key: sections[key] for key in sections if key != "teacher"}
    )
    if named is None:
        del wanted["teacher"]
    with pytest.raises(InputError, match=message):
        prepare(run_config(teacher / "data", **wanted), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_with_other_crops_is_refused(teacher: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "small", people=4, photos=5, template="arcface-64")
    with pytest.raises(InputError, match=r"teacher\.model: must take the crops .* --template arcface-112"):
        prepare(run_config(tmp_path / "small", **taught(teacher)), tmp_path / "run")


def test_a_damaged_teacher_is_named_as_the_config_names_it(teacher: Path, tmp_path: Path) -> None:
    shutil.copytree(teacher / "run", tmp_path / "copy")
    (tmp_path / "copy" / MODEL_NAME).write_bytes(b"no model")
    with pytest.raises(InputError, match=r"^teacher\.model: "):
        begun(teacher, tmp_path / "run", teacher={"model": str(tmp_path / "copy")})


def test_images_have_no_teacher() -> None:
    plain = {
        "data": {"name": "digits"},
        "network": {"name": "lenet5"},
        "head": {"name": "softmax"},
        "penalties": [DISTILL],
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 1},
    }
    with pytest.raises(InputError, match=r"penalties\.0\.name: .* only `faceverif train` knows teachers"):
        validate_config(ClassificationConfig, plain, source="test")
    assert "teacher" not in settings(Path())
