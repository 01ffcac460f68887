"""Bounds against brute force, and radii against models whose true radius is known."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pages import check_page, plain
from scipy import stats
from small_faces import write_faces, write_pairs
from small_runs import run_config
from torch import Tensor

from data_prep.errors import InputError
from data_prep.protocols import protocol_alone
from faceverif.classification.config import ClassificationConfig
from faceverif.classification.training import train_classifier
from faceverif.config.reading import validate_config
from faceverif.file_names import RESULT_NAME
from faceverif.models.location import MODEL_NAME
from faceverif.training.loop import train
from robustness.certificates.report import pairs_answer
from robustness.certificates.run import certify_images, certify_pairs, drawn_from, some_of_both
from robustness.certificates.smoothing import ABSTAIN, certified, certify_class, certify_pair, lower_bound
from robustness.certificates.table import CSV_NAME, Row, pair_shares
from robustness.config.smoothing import Smoothing

pytestmark = pytest.mark.usefixtures("small_inputs")

SD, IMAGE = 0.5, torch.full((1, 2, 2), 0.5)
DIRECTION = torch.tensor([3.0, -1.0, 2.0, 1.0]).reshape(1, 2, 2)


def fresh(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def side_of(distance: float) -> tuple[Tensor, float]:
    """A plane at that l2 distance from IMAGE; its normal has length 1."""
    normal = DIRECTION / DIRECTION.norm()
    return normal, float((normal * IMAGE).sum()) - distance


@pytest.mark.parametrize(("hits", "samples"), [(0, 5), (5, 5), (7, 10), (99, 100), (55, 100)])
def test_the_lower_bound_is_the_smallest_probability_that_the_count_does_not_refute(
    hits: int, samples: int
) -> None:
    bound = lower_bound(hits, samples, error=0.01)
    chances = [
        sum(math.comb(samples, k) * p**k * (1 - p) ** (samples - k) for k in range(hits, samples + 1))
        for p in (bound - 1e-6, bound + 1e-6)
    ]
    assert hits == bound == 0 or chances[0] < 0.01 < chances[1]


@pytest.mark.parametrize("distance", [0.2, 0.6])
def test_the_radius_approaches_the_distance_to_the_border_of_a_linear_model(distance: float) -> None:
    """There the smoothed decision changes exactly at the border, Cohen et al., Appendix B."""
    normal, height = side_of(distance)

    def logits(pixels: Tensor) -> Tensor:
        above = (pixels * normal).flatten(1).sum(dim=1) - height
        return torch.stack([torch.zeros_like(above), above], dim=1)

    found = certify_class(logits, IMAGE, sd=SD, samples=20_000, selection=50, error=0.001, generator=fresh())
    assert found.decision == 1
    assert 0.85 * distance < found.radius <= distance


def test_a_certificate_is_wrong_no_more_often_than_stated() -> None:
    distance, wrong = 0.3, 0
    chance = stats.norm.cdf(distance / SD)
    generator = np.random.default_rng(0)
    for hits in generator.binomial(200, chance, size=2000):
        wrong += certified(1, int(hits), 200, sd=SD, error=0.05).radius > distance
    assert 0 < wrong / 2000 <= 0.06


def test_it_abstains_where_the_counts_do_not_decide() -> None:
    assert certified(1, 52, 100, sd=SD, error=0.001) == certified(0, 0, 100, sd=SD, error=0.001)
    assert certified(1, 52, 100, sd=SD, error=0.001).decision == ABSTAIN
    assert certified(1, 100, 100, sd=SD, error=0.001).radius == pytest.approx(
        SD * stats.norm.ppf(0.001**0.01)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("share", [1.0, 0.01])
def test_an_answer_that_is_not_finite_is_no_certificate(value: float, share: float) -> None:
    """NaN is below every threshold and the largest of NaNs is class 0: both would never change."""

    def answer(*shape: int) -> Tensor:
        said = torch.zeros(shape)
        said[: math.ceil(share * len(said))] = value
        return said

    asked = {"sd": SD, "samples": 100, "error": 0.001}
    with pytest.raises(InputError, match=r"NaN or infinity for \d+ of 100 noisy versions"):
        certify_pair(lambda seen: answer(len(seen)), IMAGE, threshold=0.3, generator=fresh(), **asked)
    with pytest.raises(InputError, match=r"NaN or infinity for \d+ of 50 noisy versions"):
        certify_class(lambda seen: answer(len(seen), 3), IMAGE, selection=50, generator=fresh(), **asked)


def test_a_pairs_decision_holds_up_to_the_radius_and_not_far_beyond() -> None:
    """A similarity that is linear in the pixels: the median moves with the change."""
    normal, height = side_of(0.4)

    def similarity(pixels: Tensor) -> Tensor:
        return (pixels * normal).flatten(1).sum(dim=1)

    for threshold, decision in ((height, 1), (height + 0.8, 0)):
        found = certify_pair(
            similarity, IMAGE, threshold=threshold, sd=SD, samples=20_000, error=0.001, generator=fresh()
        )
        assert found.decision == decision
        assert 0.36 < found.radius <= 0.4
        toward = -normal if decision else normal
        for size, holds in ((found.radius, True), (0.45, False)):
            median = similarity((IMAGE + size * toward)[None]).item()
            assert ((median >= threshold) == bool(decision)) == holds


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0.0, 1000, 0.999), "--noise"),
        ((math.nan, 1000, 0.999), "--noise"),
        ((0.25, 1000, 1.0), "--confidence"),
        ((0.25, 10, 0.999), "--samples: must be at least 11"),
    ],
)
def test_settings_that_certify_nothing_are_refused(settings: tuple[float, int, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Smoothing(*settings, seed=0)


def test_a_runs_certificates_continue_and_its_noise_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path / "run", noise=0.3)
    smoothing = Smoothing(0.3, 100, 0.99, seed=1)
    text = certify_images(run, tmp_path / "whole", smoothing=smoothing, images=25)
    assert "warning" not in capsys.readouterr().err
    assert "25 images, confidence 0.99 for each; abstained on" in text
    assert "no radius above 0.509 can be certified" in text  # 0.3 Phi^-1(0.01 ^ (1 / 100))
    check_page(tmp_path / "whole" / "report.html")
    page = plain((tmp_path / "whole" / "report.html").read_text())
    result = json.loads((tmp_path / "whole" / RESULT_NAME).read_text())
    assert f"{100 * result['abstained']:.1f} %: without a decision, which counts as wrong" in page
    assert "25 images, drawn at random from those of its classes that the model was not trained on" in page
    assert "8 x 8 pixels by one grey level of 255 has an l2 norm of 0.03" in page
    whole = (tmp_path / "whole" / CSV_NAME).read_text()
    shares = result["at_radius"]
    assert [line["certified_accuracy"] for line in shares] == sorted(
        (line["certified_accuracy"] for line in shares), reverse=True
    )
    done = whole.splitlines(keepends=True)[:11]
    (tmp_path / "whole" / CSV_NAME).write_text("".join(done))
    certify_images(run, tmp_path / "whole", smoothing=smoothing, images=25)
    assert (tmp_path / "whole" / CSV_NAME).read_text() == whole
    with pytest.raises(InputError, match="holds other certificates"):
        certify_images(run, tmp_path / "whole", smoothing=smoothing, images=24)
    certify_images(run, tmp_path / "other", smoothing=Smoothing(0.1, 100, 0.99, seed=1), images=1)
    assert "warning: the model was trained with noise 0.3, not with 0.1" in capsys.readouterr().err


def small_run(run: Path, *, noise: float) -> Path:
    settings = {
        "data": {"name": "digits", "limit": 300},
        "network": {"name": "strided_conv", "embedding_dim": 16, "width": 8},
        "head": {"name": "softmax"},
        "optimizer": {"name": "adamw", "learning_rate": 0.01},
        "schedule": {"name": "cosine"},
        "training": {"epochs": 2, "batch_size": 50, "noise": noise},
    }
    train_classifier(validate_config(ClassificationConfig, settings, source="test"), run, resume=False)
    return run


def test_pairs_are_counted_by_what_an_attack_cannot_change() -> None:
    rows = [Row(0, 1, 1, 0.5), Row(1, 1, 1, 0.1), Row(2, 1, ABSTAIN, 0), Row(3, 0, 0, 0.4), Row(4, 0, 1, 0.9)]
    assert pair_shares(rows, 0.3) == {
        "certified_true_accepts": pytest.approx(1 / 3),
        "false_accepts_at_most": 0.5,
    }
    assert pair_shares(rows, 0.45)["false_accepts_at_most"] == 1.0
    # A kind of which there is no pair has no share: 100 % of no impostors would be a false alarm.
    genuine = pair_shares([row for row in rows if row.truth], 0.3)
    assert genuine.keys() == {"certified_true_accepts"}
    counts = {"certified_true_accepts": 3, "false_accepts_at_most": 2}
    assert "impostor" not in pairs_answer({"l2_radius": 0.3} | genuine, counts=counts)
    assert pairs_answer({"l2_radius": 0.3} | pair_shares(rows, 0.3), counts=counts).startswith(
        "Of 3 genuine pairs, 33.3 % stay accepted under every change of the left photo with an l2 norm of up "
        "to 0.3. Of 2 impostor pairs, at most 50.0 % can be accepted after such a change."
    )
    impostor = pair_shares([row for row in rows if not row.truth], 0.3)
    answer = pairs_answer({"l2_radius": 0.3} | impostor, counts=counts)
    assert "can be accepted after a change of the left photo" in answer


def test_shares_never_improve_with_the_radius() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Row(item, int(rng.integers(2)), int(rng.integers(-1, 2)), float(rng.integers(5)) / 4)
        for item in range(60)
    ]
    at_radius = [pair_shares(rows, radius) for radius in np.linspace(0, 1.5, 31)]
    for name, rises in (("certified_true_accepts", False), ("false_accepts_at_most", True)):
        column = [line[name] for line in at_radius]
        assert column == sorted(column, reverse=not rises)
    assert at_radius[-1] == {"certified_true_accepts": 0.0, "false_accepts_at_most": 1.0}


@pytest.mark.parametrize(
    ("count", "genuine", "impostor"), [(1, 1, 0), (5, 3, 2), (6, 3, 3), (20, 8, 12), (100, 8, 30)]
)
def test_no_more_pairs_are_chosen_than_asked_and_one_kind_fills_up_the_other(
    count: int, genuine: int, impostor: int
) -> None:
    """Eight genuine pairs of ten can be used, and 30 impostor pairs."""
    same, usable = np.arange(40) < 10, np.arange(40) >= 2
    chosen = some_of_both(same, usable, count, seed=0)
    assert len({*chosen.tolist()}) == len(chosen) <= count
    assert usable[chosen].all()
    assert (same[chosen].sum(), (~same[chosen]).sum()) == (genuine, impostor)


def write_view1(folder: Path) -> Path:
    """Two genuine and two impostor pairs in either half, in LFW's form."""
    for half, first in (("Train", 0), ("Test", 2)):
        one, other = f"P{first:02d}", f"P{first + 1:02d}"
        genuine = [f"{one}\t1\t2", f"{other}\t1\t2"]
        impostor = [f"{one}\t{photo}\t{other}\t{photo}" for photo in (1, 2)]
        (folder / f"pairsDev{half}.txt").write_text("\n".join(["2", *genuine, *impostor]) + "\n")
    return folder / "pairsDevTest.txt"


def test_a_face_models_pairs_are_certified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_faces(tmp_path / "data", people=4, photos=3).root
    run = tmp_path / "run"
    train(run_config(data, training={"epochs": 1}), run, resume=False)
    settings = {
        "data": data,
        "protocol": write_pairs(tmp_path / "pairs.csv", people=4, photos=3),
        "threshold": 0.2,
        "smoothing": Smoothing(0.05, 30, 0.99, seed=0),
    }
    text = certify_pairs(run, tmp_path / "out", pairs=4, **settings)  # type: ignore[arg-type]
    assert "2 genuine and 2 impostor pairs, confidence 0.99 for each" in text
    assert "certified true accepts" in text
    assert "pairs/s" in capsys.readouterr().err
    check_page(tmp_path / "out" / "report.html")
    page = plain((tmp_path / "out" / "report.html").read_text())
    assert "2 genuine and 2 impostor pairs, drawn at random from the 16 scored pairs of pairs" in page
    rows = (tmp_path / "out" / CSV_NAME).read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in rows].count("1") == 2
    view1 = settings | {"protocol": write_view1(tmp_path)}
    certify_pairs(run, tmp_path / "view1", pairs=100, **view1)  # type: ignore[arg-type]
    assert len((tmp_path / "view1" / CSV_NAME).read_text().splitlines()[1:]) == 4  # not the eight of both
    page = plain((tmp_path / "view1" / "report.html").read_text())
    assert "drawn at random from the 4 scored pairs of pairsDevTest" in page
    assert "pairsDevTrain" not in page  # its threshold was given
    test_half = tmp_path / "pairsDevTest.txt"
    test_half.write_text(test_half.read_text().replace("P02\t1\t2", "P02\t1\t3"))
    with pytest.raises(InputError, match="holds other certificates"):  # as many pairs, of other photos
        certify_pairs(run, tmp_path / "view1", pairs=100, **view1)  # type: ignore[arg-type]
    settings |= {
        "data": shutil.copytree(data, tmp_path / "cplfw-112"),
        "protocol": shutil.copy(tmp_path / "pairs.csv", tmp_path / "calfw.csv"),
    }
    with pytest.raises(InputError, match="--data: must hold the photos of CALFW"):
        certify_pairs(run, tmp_path / "other", pairs=4, **settings)  # type: ignore[arg-type]


def test_pairs_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    write_view1(tmp_path)
    listed = protocol_alone(tmp_path / "pairsDevTest.txt")
    assert drawn_from(listed, listed.scored) == "the 4 scored pairs of pairsDevTest"
    usable = listed.scored & (np.arange(len(listed.same)) != len(listed.same) - 1)
    assert drawn_from(listed, usable) == (
        "the 4 scored pairs of pairsDevTest, without 1 with a photo that could not be read"
    )


def test_classes_of_a_model_without_a_head_say_how_pairs_are_certified(tmp_path: Path) -> None:
    data = write_faces(tmp_path / "data", people=4, photos=3).root
    train(run_config(data, training={"epochs": 1}), tmp_path / "run", resume=False)
    (tmp_path / "imported").mkdir()
    shutil.copy(tmp_path / "run" / MODEL_NAME, tmp_path / "imported")
    smoothing = Smoothing(0.05, 30, 0.99, seed=0)
    with pytest.raises(InputError, match=r"fit-head .* Or name pairs: --data, --protocol, --threshold\.$"):
        certify_images(tmp_path / "imported", tmp_path / "out", smoothing=smoothing, images=1)


def test_noise_is_for_plain_training() -> None:
    settings = {"noise": 0.1, "adversarial": {"attack": "pgd", "epsilon": 0.1}, "epochs": 1}
    with pytest.raises(InputError, match=r"training.noise: must be 0 in adversarial training"):
        run_config(Path(), training=settings)
