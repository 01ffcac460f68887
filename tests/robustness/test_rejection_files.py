"""The files of finished trials: damaged, of an earlier version, or not readable."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_rejection import findings_of, settings, unsealed
from toy_models import CLASSES, band_images, lgm_model

from data_prep.errors import InputError
from faceverif.images.labelled import ImageSet
from robustness.detectors import build_detector
from robustness.features import extract_features
from robustness.fitted_model import FittedModel
from robustness.rejection.closed_set import ClosedSet
from robustness.rejection.findings import Finding, l2_norms
from robustness.rejection.image_trial import ImageTrial
from robustness.rejection.trial_files import file_at, keep_trial, read_record, read_scores
from robustness.rejection.trial_record import TrialRecord


@pytest.mark.parametrize("wrong_portion", [0, 1])
def test_a_portion_whose_images_are_all_wrong_before_the_attack_marks_none_of_them(
    wrong_portion: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """APGD asks for no gradient there; the images of the other portion keep their marks."""
    model, (pixels, labels) = lgm_model(), band_images(6, noise=0.0)
    clean = extract_features(model, pixels, labels)
    fitted = FittedModel(model, clean, {"affinity": build_detector("affinity", model).fit(clean)})
    given = torch.cat([(labels + (place == wrong_portion)) % CLASSES for place in range(2)])
    images = ImageSet((pixels * 255).byte().repeat(2, 1, 1, 1), given, ("left", "middle", "right"))
    attacked = ClosedSet(fitted, fitted.calibrated(clean, [0.5]), {}, images)
    [section] = settings(attacks=[{"name": "apgd", "epsilons": [0.1], "steps": 2}], published=[]).attacks
    trial = ImageTrial("a", 0, "apgd", "linf", 0.1, section, None)
    monkeypatch.setattr("robustness.rejection.closed_set.PORTION", len(labels))
    portions = list(trial.changes(attacked, None, seed=0, wanted=None))
    assert [each.verdicts.zero_gradient is None for each in portions].index(True) == wrong_portion
    keep_trial(tmp_path / "apgd", portions, attacked, seed=0, about={})
    verdicts = read_scores(tmp_path / "apgd", read_record(tmp_path / "apgd")).verdicts
    assert verdicts.zero_gradient is not None
    assert verdicts.zero_gradient.shape == verdicts.clean_correct.shape == (len(given),)
    assert verdicts.zero_gradient_share == 0


def test_a_control_like_an_attack_of_an_earlier_version_asks_for_it_again(done: Path, tmp_path: Path) -> None:
    trial = next(each.trial for each in findings_of(settings(), done) if each.trial.label == "fgsm")
    shutil.copytree(done / "trials", tmp_path / "trials")
    path, record = file_at(tmp_path / trial.path, "parquet"), file_at(tmp_path / trial.path, "json")
    pq.write_table(pq.read_table(path).drop_columns(["l2"]), path)
    record.write_text(json.dumps(unsealed(record)))
    with pytest.raises(InputError, match=rf"l2 norms of its changes.*earlier version\. Remove {record}: "):
        l2_norms(trial, tmp_path)


def test_a_trial_that_the_system_does_not_let_be_read_is_not_called_damaged(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    trial = findings_of(settings(), done)[0].trial
    monkeypatch.setattr(Path, "read_text", read_text)
    with pytest.raises(PermissionError):
        read_whole(trial, done)


def test_damaged_trial_files_are_one_line_that_says_what_to_remove(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "trials", tmp_path / "trials")
    trial = findings_of(settings(), done)[4].trial
    stem, generator = tmp_path / trial.path, np.random.default_rng(0)
    said = rf"^OUT: must hold the files of finished trials .*\. Remove {stem}\.json: the same command"
    for suffix in ("json", "parquet", "npz"):
        path = file_at(stem, suffix)
        whole = path.read_bytes()
        places = generator.choice(len(whole), 12, replace=False)
        damaged = [whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :] for place in places]
        for content in (b"", whole[: len(whole) // 2], b"[]", b"\xff" * 40, *damaged):
            path.write_bytes(content)
            with pytest.raises(InputError, match=said):
                read_whole(trial, tmp_path)
        path.write_bytes(whole)
    read_whole(trial, tmp_path)


def read_whole(trial: Any, out: Path) -> None:
    finding = Finding.read(trial, out)
    assert finding is not None
    finding.scores()
    finding.pictures()


def test_records_of_earlier_versions_are_read_and_what_they_lack_is_said(done: Path, tmp_path: Path) -> None:
    """They have no hashes, and nothing was asked twice."""
    shutil.copytree(done / "trials", tmp_path / "trials")
    trial = findings_of(settings(), done)[4].trial
    path = file_at(tmp_path / trial.path, "json")
    older = unsealed(path)
    path.write_text(json.dumps(older, indent=1))
    read_whole(trial, tmp_path)
    narrow = json.loads(json.dumps(older))
    for outcome in narrow["detectors"].values():
        for share in (outcome["accuracy"], outcome["detections"][0]["undetected_success"]):
            share["low"] = share["high"] = share["value"]  # as a bootstrap of too few had them
    path.write_text(json.dumps(narrow))
    found = Finding.read(trial, tmp_path)
    assert found is not None
    assert found.detectors == TrialRecord.model_validate(older).detectors
    for name in older.keys() - {"facts", "unsteady"}:
        path.write_text(json.dumps({key: older[key] for key in older if key != name}))
        with pytest.raises(InputError, match="must hold the files of finished trials"):
            read_whole(trial, tmp_path)
    path.write_text(json.dumps(older | {"detectors": {"energy": {"eer": "low"}}}))
    with pytest.raises(InputError, match="must hold the files of finished trials"):
        read_whole(trial, tmp_path)
    (file_at(tmp_path / trial.path, "parquet")).unlink()
    path.write_text(json.dumps(older))
    with pytest.raises(InputError, match=r"parquet \("):
        read_whole(trial, tmp_path)
