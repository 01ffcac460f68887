"""An export gives the model's embeddings, says what it takes, and is kept only if it was checked."""

from __future__ import annotations

import re
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx_nets import SIDE as ONNX_SIDE
from onnx_nets import weights, write_net
from PIL import Image
from pydantic import TypeAdapter
from small_faces import face, write_faces, write_pairs
from torch import Tensor, nn
from torch.nn.utils import parametrize

import faceverif
from data_prep.alignment import find_template
from data_prep.errors import InputError
from faceverif.backbones import BACKBONES, build_backbone
from faceverif.cli import main
from faceverif.config.backbones import BackboneConfig
from faceverif.config.reading import read_yaml
from faceverif.exporting import check_crops, checks, export
from faceverif.exporting.export import Exported, export_model
from faceverif.exporting.onnx_model import as_onnx
from faceverif.exporting.program import traced
from faceverif.exporting.request import CARD_NAME, ENDINGS, ExportRequest, Precision, Target
from faceverif.models import MODEL_NAME, PreprocessingSpec, load_model, save_model
from faceverif.models.importing.onnx_layers import differentiable
from faceverif.models.location import SHIPPED
from faceverif.models.onnx_file import OnnxEmbedder

SIDE, CROP = 56, "arcface-64"
SMALL: dict[str, dict[str, Any]] = {
    "mobilefacenet": {"input_px": 32},
    "iresnet": {"depth": 18, "width": 8, "input_px": 32},
    "sphereface": {"depth": 20, "input_px": 32},
    "lgm_resnet": {"input_px": 32},
    "lsoftmax_face": {"input_px": 32},
    "inception_resnet_v1": {"input_px": 80},
    "vit": {"size": "tiny", "drop_path": 0.0, "input_px": 32},
}
KINDS: list[tuple[Target, Precision]] = [
    ("onnx", "float32"),
    ("onnx", "half"),
    ("onnx", "int8"),
    ("torch-export", "float32"),
    ("torch-export", "half"),
]


def network(name: str, **shape: Any) -> tuple[BackboneConfig, nn.Module]:
    """A backbone whose normalisations have seen data, so that people get different embeddings."""
    torch.manual_seed(0)
    config = TypeAdapter(BackboneConfig).validate_python({"name": name, "embedding_dim": 16} | shape)
    backbone = build_backbone(config).train()
    with torch.no_grad():
        for _ in range(3):
            backbone(torch.rand(16, 3, config.input_px, config.input_px))
    return config, backbone.eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with its model."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    config, backbone = network("iresnet", depth=18, width=8, input_px=SIDE)
    provenance = {
        "data": {"path": "/home/me/faces", "photos": 9, "identities": 3, "exclusions": None},
        "seed": 4,
        "command": "faceverif train --run /home/me/run",
        "start_from": {"run": "/home/me/first", "model_sha256": "0" * 64},
    }
    save_model(
        folder / MODEL_NAME,
        backbone,
        backbone_config=config.model_dump(mode="json"),
        spec=PreprocessingSpec.of(find_template(CROP), input_px=SIDE),
        provenance=provenance,
    )
    return folder


@pytest.fixture(scope="module")
def traced_once(run: Path) -> tuple[torch.export.ExportedProgram, bytes]:
    program = traced(load_model(run / MODEL_NAME).backbone, input_px=SIDE)
    return program, as_onnx(program, input_px=SIDE).SerializeToString()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """PyTorch's exporters take seconds, so these tests share what they made. And fewer crops."""
    monkeypatch.setattr(check_crops, "COMPARED", 80)
    monkeypatch.setattr(check_crops, "_NEEDED", 160)
    if "traced_once" in request.fixturenames:
        program, graph = request.getfixturevalue("traced_once")

        def shared(network: nn.Module, input_px: int) -> torch.export.ExportedProgram:
            halved = any(map(parametrize.is_parametrized, network.modules()))
            return traced(network, input_px=input_px) if halved else program

        monkeypatch.setattr(export, "traced", shared)
        monkeypatch.setattr(export, "as_onnx", lambda program, input_px: onnx.ModelProto.FromString(graph))


@pytest.fixture
def kept(run: Path, traced_once: object, tmp_path: Path) -> Any:
    def make(target: Target = "onnx", precision: Precision = "float32", **more: Any) -> Exported:
        return export_model(
            ExportRequest(run, target, tmp_path / "out" / f"m{ENDINGS[target]}", precision, **more)
        )

    return make


def people(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.stack([face(person, 1, side=64) for person in range(count)])


def imported_graph(folder: Path) -> tuple[int, nn.Module]:
    """The backbone of an imported ONNX file."""
    write_net(folder / "net.onnx", weights())
    return ONNX_SIDE, differentiable(folder / "net.onnx", "rgb-127.5").embedder.backbone


def without_repeats(backbone: nn.Module) -> nn.Module:
    """The first of equal blocks in a row: every kind of layer is left, and an export takes a fraction."""
    for module in list(backbone.modules()):
        if isinstance(module, nn.Sequential):
            layers = [repr(layer) for layer in module]
            for place in reversed(range(1, len(layers))):
                if layers[place] == layers[place - 1]:
                    del module[place]
    return backbone


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_can_be_exported(name: str, tmp_path: Path) -> None:
    if name == "onnx":
        side, backbone = imported_graph(tmp_path)
    else:
        config, backbone = network(name, **SMALL[name])
        side, backbone = config.input_px, without_repeats(backbone)
    program = traced(backbone, input_px=side)
    onnx.save(as_onnx(program, input_px=side), tmp_path / "m.onnx")
    torch.export.save(program, tmp_path / "m.pt2")
    again = torch.export.load(tmp_path / "m.pt2").module()
    session = OnnxEmbedder(tmp_path / "m.onnx", "rgb-255")
    for count in (1, 7):
        crops = np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            wanted = backbone(pixels).numpy()
            for got in (session.embed(crops), again(pixels).numpy()):
                np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(("target", "precision"), KINDS)
def test_an_export_gives_the_models_embeddings(
    target: Target, precision: Precision, kept: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = kept(target, precision)
    assert exported.cosines.lowest >= checks.LOWEST_COSINE[precision]
    assert exported.embedding_dim == 16
    folder = exported.request.out.parent
    assert {path.name for path in folder.iterdir()} == {exported.request.out.name, CARD_NAME}
    size = exported.request.out.stat().st_size
    assert exported.file_bytes == size
    if (target, precision) == ("onnx", "half"):
        assert size < 0.75 * (run / MODEL_NAME).stat().st_size
    crops = people(5)
    wanted = load_model(run / MODEL_NAME).embed(crops)
    if target == "onnx":
        model = faceverif.load(exported.request.out)
        assert (model.template, model.embedder.spec.input_px) == (CROP, SIDE)
        got = model.embedder.embed(crops)
    else:
        extra = {"faceverif.json": ""}
        module = torch.export.load(exported.request.out, extra_files=extra).module()
        assert "arcface-64" in extra["faceverif.json"]
        stored = {weight.dtype for weight in module.state_dict().values() if weight.is_floating_point()}
        assert (torch.float16 in stored) == (precision == "half")
        pixels = torch.from_numpy(crops[:, 4:60, 4:60]).permute(0, 3, 1, 2).float() / 255
        got = module(pixels).detach().numpy()
    cosines = (wanted * got).sum(1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(got, axis=1)
    assert cosines.min() > checks.LOWEST_COSINE[precision]
    assert capsys.readouterr().out == ""


def test_a_file_says_its_origin_without_the_paths_of_the_machine(kept: Any, run: Path) -> None:
    exported = kept()
    embedder = OnnxEmbedder(exported.request.out, None)
    assert embedder.provenance["data"]["path"] == "faces"
    assert embedder.provenance["start_from"]["run"] == "first"
    assert embedder.provenance["exported_from"] == load_model(run / MODEL_NAME).sha256
    assert embedder.exclusions is None
    assert b"/home/me" not in exported.request.out.read_bytes()
    graph = onnx.load(exported.request.out).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["pixels", "embedding"]
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)] == [
        "batch"
    ] * 2


@pytest.mark.parametrize("target", ENDINGS)
def test_the_lines_of_the_card_run(
    target: Target, kept: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = kept(target)
    card = exported.request.card.read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", card, flags=re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) == 8
    monkeypatch.chdir(exported.request.out.parent)
    crops = people(2)
    for crop, name in zip(crops, ("a.jpg", "b.jpg"), strict=True):
        Image.fromarray(crop).save(name, format="PNG")  # without a JPEG's loss, which the cosine would show
    exec(code, {})
    one, other = exported.model.embed(crops)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(cosine, abs=1e-4)


def test_a_card_says_what_is_known_and_what_is_not(kept: Any, tmp_path: Path) -> None:
    card = kept().request.card.read_text()
    header, text = card.split("---\n")[1:]
    (tmp_path / "header.yaml").write_text(header)
    fields = read_yaml(tmp_path / "header.yaml")
    assert (fields["license"], fields["library_name"]) == ("unknown", "onnx")
    assert {"face-recognition", "onnx"} <= set(fields["tags"])
    assert "metrics" not in fields
    for line in (
        "Photos: 9 of 3 people, from faces",
        "no exclusion list applied",
        "Seed: 4.",
        "Thresholds: unknown",
    ):
        assert line in text
    assert "/home/me" not in card


def test_the_model_of_the_package_has_a_name_that_says_what_it_is(
    run: Path, traced_once: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is called `shipped`, which is the title that a card of another folder would have."""
    monkeypatch.setattr("faceverif.exporting.card.SHIPPED", run)
    request = ExportRequest(run, "onnx", tmp_path / "m.onnx")
    export_model(request)
    assert "\n# The face recogniser of faceverif\n" in request.card.read_text()


def test_the_licence_of_a_model_is_that_of_its_export(run: Path, traced_once: object, tmp_path: Path) -> None:
    """The model of the package, or one from the hub: only the card beside the weights knows their terms."""
    shutil.copytree(run, tmp_path / "own")
    beside = "---\nlicense: other\nlicense_name: own-research-only\n---\n# Mine\n"
    for number, (card, licence) in enumerate(
        {
            beside: ["other", "own-research-only"],
            f"{beside}| file | `other.pt` |\n": ["unknown", None],
        }.items()
    ):
        (tmp_path / "own/README.md").write_text(card)
        request = ExportRequest(tmp_path / "own", "onnx", tmp_path / f"out{number}" / "m.onnx")
        export_model(request)
        header, text = request.card.read_text().split("---\n")[1:]
        (tmp_path / "header.yaml").write_text(header)
        found = read_yaml(tmp_path / "header.yaml")
        assert [found["license"], found.get("license_name")] == licence
        assert ("Licence: own-research-only" in text) == (licence[1] is not None)


def test_without_a_name_the_model_of_the_package_is_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def noted(request: ExportRequest) -> SimpleNamespace:
        asked.append(request.model)
        return SimpleNamespace(text=str)

    monkeypatch.setattr(export, "export_model", noted)
    monkeypatch.setattr(
        "sys.argv", ["faceverif", "export", "--to", "onnx", "--out", str(tmp_path / "m.onnx")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert asked == [SHIPPED]


def test_accuracy_is_measured_before_and_after(kept: Any, tmp_path: Path) -> None:
    write_faces(tmp_path / "data", template=CROP)
    exported = kept(precision="half", data=tmp_path / "data", protocol=write_pairs(tmp_path / "pairs.csv"))
    assert exported.accuracy.before > 0.6
    assert exported.accuracy.after == pytest.approx(exported.accuracy.before, abs=0.002)
    assert exported.cosines.origin == "drawn people"  # the protocol names every photo
    assert "Accuracy: " in exported.request.card.read_text()


# --- what is refused


def test_accuracy_on_the_photos_of_another_benchmark_is_refused(kept: Any, tmp_path: Path) -> None:
    write_faces(tmp_path / "cplfw-112", template=CROP)
    with pytest.raises(InputError, match="--data: must hold the photos of CALFW"):
        kept(data=tmp_path / "cplfw-112", protocol=write_pairs(tmp_path / "calfw.csv"))
    assert not (tmp_path / "out").exists()


def test_an_export_that_differs_is_not_kept(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks.LOWEST_COSINE, "int8", 1.01)
    with pytest.raises(
        InputError, match=r"export: must give embeddings with a cosine.*--data, or use --half"
    ):
        kept(precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_loses_accuracy_is_not_kept(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path / "data", template=CROP)
    pairs = write_pairs(tmp_path / "pairs.csv")
    monkeypatch.setattr(checks, "MOST_LOST", -1.0)
    with pytest.raises(InputError, match="export: must lose at most"):
        kept(data=tmp_path / "data", protocol=pairs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("lost", "refused"), [(12, False), (13, True)])
def test_an_export_may_lose_as_much_as_the_message_says(
    monkeypatch: pytest.MonkeyPatch, lost: int, refused: bool
) -> None:
    """0.2 points are 12 of 6,000 pairs, although the difference of the two accuracies is above 0.002."""
    right = iter([5965, 5965 - lost])
    monkeypatch.setattr(checks, "EmbeddedPhotos", lambda *_, **__: None)
    monkeypatch.setattr(checks, "evaluate", lambda *_, **__: SimpleNamespace(accuracy=next(right) / 6000))
    nothing: Any = None
    protocol: Any = SimpleNamespace(name="pairs", scored=np.ones(6000, bool))
    with pytest.raises(InputError, match=r"must lose at most 0\.2 points") if refused else nullcontext():
        checks.compare_accuracy(nothing, nothing, nothing, protocol, precision="int8")


def test_too_few_crops_are_refused(kept: Any, tmp_path: Path) -> None:
    write_faces(tmp_path / "data", template=CROP)
    with pytest.raises(
        InputError, match=r"--data: must hold at least 160 crops.*got 48 in .*leave --data out"
    ):
        kept(data=tmp_path / "data")


def test_crops_of_another_template_are_refused(kept: Any, tmp_path: Path) -> None:
    write_faces(tmp_path / "data", people=2, photos=1)
    with pytest.raises(InputError, match="data: crops must be what the model was made for"):
        kept(data=tmp_path / "data")


@pytest.mark.parametrize("name", ["m.onnx", CARD_NAME])
def test_nothing_is_overwritten(run: Path, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=rf"without {re.escape(name)}: .*as in --out .*m-1/m\.onnx"):
        ExportRequest(run, "onnx", tmp_path / "m.onnx")
    assert (tmp_path / name).read_text() == "mine"


def test_an_onnx_file_is_imported_first(tmp_path: Path) -> None:
    (tmp_path / "public.onnx").touch()
    with pytest.raises(InputError, match=r"faceverif import .*public\.onnx --out models/public"):
        ExportRequest(tmp_path / "public.onnx", "onnx", tmp_path / "m.onnx")


class Branching(nn.Module):
    """What it does depends on the numbers that it is given."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3)) if pixels.sum() > 0 else pixels.amax((2, 3))


class FixedBatch(nn.Module):
    """It only takes two crops."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.reshape(2, -1)


@pytest.mark.parametrize("module", [Branching, FixedBatch])
def test_what_cannot_be_exported_is_one_line(module: type[nn.Module]) -> None:
    with pytest.raises(
        InputError, match="--model: must be a network whose operators can be exported"
    ) as refused:
        traced(module(), input_px=16)
    assert "\n" not in str(refused.value)
