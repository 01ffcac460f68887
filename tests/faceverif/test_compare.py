"""Two photos and a decision; every reason why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_faces import write_faces, write_pairs

from data_prep.alignment import find_template
from data_prep.dataset.crops import save_side_by_side
from data_prep.errors import InputError
from data_prep.protocols import protocol_alone
from faceverif.backbones import build_backbone
from faceverif.config.backbones import MobileFaceNetConfig
from faceverif.models import MODEL_NAME, PreprocessingSpec, load_model, save_model
from faceverif.verification.calibration import CalibratedPoint, Calibration, write_calibration
from faceverif.verification.compare import Comparer, Comparison
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.photo_faces import FoundFace
from faceverif.verification.runner import evaluate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model knows nothing, calibrated on patterns."""
    folder = tmp_path_factory.mktemp("run")
    config = MobileFaceNetConfig(name="mobilefacenet", embedding_dim=16, input_px=112)
    torch.manual_seed(0)
    spec = PreprocessingSpec.of(find_template("arcface-112"), input_px=112)
    backbone = build_backbone(config)
    save_model(folder / MODEL_NAME, backbone, backbone_config=config.model_dump(), spec=spec, provenance={})
    dataset = write_faces(folder / "data", people=6, photos=3)
    pairs = protocol_alone(write_pairs(folder / "pairs.csv", people=6, photos=3))
    embedded = EmbeddedPhotos(load_model(folder / MODEL_NAME), dataset, flip=True)
    result = evaluate(embedded, pairs, subtract_mean=False)
    write_calibration(folder, result)
    return folder


def photo(path: Path, *, side: int = 64) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_photo_without_a_face_is_named(run: Path, tmp_path: Path) -> None:
    noise = photo(tmp_path / "noise.png")
    with pytest.raises(InputError, match=r"must show a face; got .*noise.png"):
        Comparer.load(run, far=0.1).compare(noise, noise)


def test_a_file_that_is_no_photo_is_named(run: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"readable picture; got .*broken\.jpg, which is not a picture"):
        Comparer.load(run, far=0.1).compare(broken, broken)
    with pytest.raises(InputError, match=r"gone\.jpg, which does not exist"):
        Comparer.load(run, far=0.1).compare(tmp_path / "gone.jpg", broken)


def test_what_the_run_lacks_is_said_before_photos_are_read(run: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "x.jpg"
    with pytest.raises(InputError, match=r"gave 0\.1; got 0\.01"):
        Comparer.load(run, far=0.01).compare(nowhere, nowhere)
    with pytest.raises(InputError, match=r"a folder with a model\.safetensors"):
        Comparer.load(tmp_path, far=0.1).compare(nowhere, nowhere)


@pytest.mark.parametrize(
    ("similarity", "said"),
    [(0.5, "same person: similarity 0.5000 >= 0.5000"), (0.4999, "different people: similarity 0.4999 <")],
)
def test_the_text_gives_the_decision_and_its_grounds(similarity: float, said: str) -> None:
    text = comparison(similarity, tar=0.9).text()
    assert text.startswith(said)
    assert "FAR 0.01, from 3,000 impostor pairs of lfw-view2: measured 0.90 %" in text
    # 2,700 in 3,000, worked out by hand from Wilson's formula.
    assert "from 3,000 genuine pairs: measured 90.00 %, 95 % interval 88.87 to 91.02 %" in text
    assert text.endswith("b.jpg shows 3 faces: the centred-largest was taken")
    assert "warning" not in text


def test_a_model_that_misses_most_pairs_is_too_weak_to_decide() -> None:
    assert "too weak" not in comparison(0.6, tar=0.5).text()
    weak = comparison(0.6, tar=0.499).text()
    assert "warning: the model is too weak to decide: at FAR 0.01 it accepts less than 50 % of" in weak


def comparison(similarity: float, *, tar: float) -> Comparison:
    crop = np.zeros((112, 112, 3), np.uint8)
    point = CalibratedPoint(
        far=0.01, threshold=0.5, measured_far=0.009, false_accepts=27, far_low=0.006, far_high=0.013, tar=tar
    )
    calibration = Calibration(
        protocol="lfw-view2",
        protocol_sha256="",
        data_sha256="",
        model_sha256="",
        template_sha256="",
        flip=True,
        genuine_pairs=3000,
        impostor_pairs=3000,
        threshold_rule="",
        interval_rule="",
        points=(point,),
    )
    faces = [FoundFace("a.jpg", crop, 1), FoundFace("b.jpg", crop, 3)]
    return Comparison(faces, similarity, point, calibration)


@pytest.mark.real_data
def test_a_photo_is_the_same_person_as_itself(run: Path, shared: Path, tmp_path: Path) -> None:
    faces = shared / "data/lfw/lfw-deepfunneled"
    one, other = faces / "Aaron_Peirsol/Aaron_Peirsol_0001.jpg", faces / "Zico/Zico_0001.jpg"
    itself = Comparer.load(run, far=0.1).compare(one, one)
    assert itself.same
    assert itself.similarity == pytest.approx(1.0, abs=1e-5)
    there = Comparer.load(run, far=0.1).compare(one, other)
    save_side_by_side(there.crops, tmp_path / "both.png")
    back = Comparer.load(run, far=0.1).compare(other, one)
    assert there.similarity == pytest.approx(back.similarity, abs=1e-5)
    saved = np.asarray(Image.open(tmp_path / "both.png"))
    np.testing.assert_array_equal(saved[:, :112], there.faces[0].crop)
    np.testing.assert_array_equal(saved[:, -112:], there.faces[1].crop)
