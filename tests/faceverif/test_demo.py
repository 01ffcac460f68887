"""The demo in a small size: the whole chain, killed and gone on with."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import faceverif.demo
from data_prep.alignment import find_template, refuse_unfit_input
from data_prep.prepare import align_folder
from data_prep.protocols import protocol_alone
from faceverif.config.run import load_run_config
from faceverif.demo import CONFIG, FOLDS, DemoSize, People, run_demo, write_pairs
from faceverif.experiment.images import ImageTask
from faceverif.recogniser import Recogniser
from faceverif.verification.compare import Comparer
from robustness.photo_attack import AttackedPhoto, attack
from robustness.rejection.demo_experiment import demo_rejection
from robustness.rejection.run import run_rejection

pytestmark = pytest.mark.usefixtures("small_inputs")

SMALL = DemoSize(
    training=People("training", seed=1, identities=4, photos=4),
    held_out=People("held-out", seed=2, identities=2 * FOLDS, photos=2),
    known=People("known", seed=3, identities=4, photos=4),
    pairs_per_fold=2,
    overrides=("training.epochs=2", "training.batch_size=4", "backbone.input_px=32"),
    known_overrides=(
        "data.held_out_per_identity=2",
        "head={name: lgm, alpha: 0.1}",
        "penalties=[{name: likelihood, weight: 0.05}]",
        "verification=[]",
    ),
)


@pytest.mark.usefixtures("real_inputs")
def test_the_models_of_the_demo_as_shipped_fit_its_crops(tmp_path: Path) -> None:
    """The small demo below takes smaller inputs, so it does not tell."""
    size = DemoSize()
    for config, people in (
        (faceverif.demo._config(tmp_path, size), size.training),
        (faceverif.demo._rejecting_config(tmp_path, size), size.known),
    ):
        refuse_unfit_input(find_template(people.template), input_px=config.backbone.input_px)


def impersonate(photo: Any, other: Any, model: Recogniser, name: str, epsilon: float) -> AttackedPhoto:
    """As the demo attacks, in fewer steps."""
    steps = None if name == "fgsm" else 2
    return attack(photo, other, model=model, name=name, epsilon=epsilon, aligned=True, steps=steps)


def reject_little(run: Path, out: Path) -> None:
    attacks = "attacks=[{name: fgsm, epsilons: [0.03]}]"
    smaller = ("calibration=2", "rates=[0.5]", "controls.changes=[]", "detectors=[]", attacks)
    run_rejection(demo_rejection(run, overrides=smaller), out, train=ImageTask().finish)


def test_pairs_are_balanced_and_folds_share_nobody(tmp_path: Path) -> None:
    people = People("held-out", seed=2, identities=35, photos=4)
    write_pairs(people, tmp_path / "pairs.csv", per_fold=12)
    protocol = protocol_alone(tmp_path / "pairs.csv")
    assert len(protocol) == 2 * 12 * FOLDS
    assert len(set(zip(protocol.left, protocol.right, strict=True))) == len(protocol)
    seen: set[str] = set()
    pairs = zip(protocol.fold, protocol.left, protocol.right, protocol.same, strict=True)
    for _, members in groupby(pairs, key=lambda pair: pair[0]):
        fold = list(members)
        assert sum(same for *_, same in fold) == 12
        assert all((left[:11] == right[:11]) == same and left != right for _, left, right, same in fold)
        identities = {photo[:11] for _, *pair, _ in fold for photo in pair}
        assert not identities & seen
        seen |= identities


def test_config_loads_and_gives_two_minutes_of_work() -> None:
    config, rejecting = (load_run_config(CONFIG, list(more)) for more in ((), DemoSize().known_overrides))
    seen = 0
    for run, people in ((config, DemoSize().training), (rejecting, DemoSize().known)):
        seen += run.training.epochs * people.identities * people.photos
    assert seen < 30_000
    assert {entry.name for entry in config.verification} == {"synthetic"}


@pytest.mark.slow
def test_demo_goes_on_after_a_kill_and_leaves_a_run_to_compare_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class KilledError(Exception):
        pass

    def die(*arguments: object, **options: object) -> None:
        raise KilledError

    monkeypatch.setattr(align_folder, "_PHOTOS_PER_TASK", 64)  # a group of people at once, without processes
    with monkeypatch.context() as patched:
        patched.setattr(faceverif.demo, "train", die)
        with pytest.raises(KilledError):
            run_demo(tmp_path, reject=reject_little, impersonate=impersonate, size=SMALL)
    crops = {path: path.stat().st_mtime_ns for path in (tmp_path / "aligned").rglob("*.jpg")}
    page = run_demo(tmp_path, reject=reject_little, impersonate=impersonate, size=SMALL)
    assert crops == {path: path.stat().st_mtime_ns for path in (tmp_path / "aligned").rglob("*.jpg")}
    assert page == tmp_path / "report.html"
    assert "The people on this page do not exist" in page.read_text()
    assert page.read_text().count("data:image/jpeg") >= 2 * 8
    assert "Attacked, and rejected" in page.read_text()
    assert (page.parent / "rejection" / "report.html").is_file()
    [row] = json.loads((page.parent / "rejection" / "result.json").read_text())["rows"][1:]
    assert f'<td class="n">{row["images"]}</td>' in page.read_text()
    result = json.loads((tmp_path / "run" / "verification" / "synthetic" / "result.json").read_text())
    assert result["pairs"] == 40
    first, second = (tmp_path / "photos" / "held-out" / "person-0001" / name for name in ("01.jpg", "02.jpg"))
    comparison = Comparer.load(tmp_path / "run", far=0.1).compare(first, second)
    assert -1 <= comparison.similarity <= 1
    said = capsys.readouterr().err
    assert f"faceverif compare {first} {second}" in said
    metrics = (tmp_path / "run" / "metrics.csv").read_text()
    page.unlink()
    assert run_demo(tmp_path, reject=reject_little, impersonate=impersonate, size=SMALL).is_file()
    assert (tmp_path / "run" / "metrics.csv").read_text() == metrics
