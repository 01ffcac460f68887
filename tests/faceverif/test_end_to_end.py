"""Our alignment and protocol under a model that no one here trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.protocols import protocol_alone
from faceverif.models import load_embedder
from faceverif.verification.options import VerificationOptions
from faceverif.verification.runner import verify

PAIRS_PER_FOLD_AND_KIND = 25


def write_subset(pairs_txt: Path, photos: Path, out: Path) -> tuple[Path, Path]:
    """The first pairs of each kind of View 2's first two folds, as a CSV, and their photos."""
    whole = protocol_alone(pairs_txt)
    lines = ["left,right,same,fold"]
    for fold in (0, 1):
        for same in (True, False):
            rows = np.flatnonzero((whole.fold == fold) & (whole.same == same))[:PAIRS_PER_FOLD_AND_KIND]
            lines += [f"{whole.left[row]},{whole.right[row]},{same},{fold}" for row in rows]
            for key in {keys[row] for keys in (whole.left, whole.right) for row in rows}:
                (out / "photos" / key).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(photos / f"{key}.jpg", out / "photos" / f"{key}.jpg")
    (out / "subset.csv").write_text("\n".join(lines) + "\n")
    return out / "subset.csv", out / "photos"


@pytest.mark.slow
@pytest.mark.real_data
def test_the_public_mobilefacenet_is_as_good_on_our_crops_as_its_authors_say(
    shared: Path, tmp_path: Path
) -> None:
    """LFW View 2 as a whole gives 99.42 %; of these 100 pairs at most one may be wrong."""
    lfw = shared / "data/lfw"
    pairs, photos = write_subset(lfw / "pairs.txt", lfw / "lfw-deepfunneled", tmp_path)
    align_folder(photos, tmp_path / "aligned", settings=AlignSettings())
    model = load_embedder(shared / "models/MobileFaceNet.onnx", preprocess="rgb-imagenet")
    result = verify(
        model, tmp_path / "aligned", pairs, out=tmp_path / "out", options=VerificationOptions(flip=False)
    )
    assert result.as_json()["fallback_pairs"] == 0
    assert result.accuracy >= 0.99
    assert result.eer <= 0.02
