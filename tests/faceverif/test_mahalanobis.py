"""`verify --score pca-mahalanobis`: the distance by brute force, the pair scores, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.protocols import protocol_alone
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.mahalanobis import FittedMahalanobis
from faceverif.verification.options import Score, VerificationOptions, refuse_unfitted_score
from faceverif.verification.runner import evaluate, verify


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos to verify, their pairs, and other people's photos to fit on."""
    root = tmp_path_factory.mktemp("faces")
    write_faces(root / "data", noise=60)
    write_pairs(root / "pairs.csv")
    write_faces(root / "training", people=80, photos=4, noise=60)
    return root


@pytest.fixture(scope="module")
def fitted(folder: Path) -> FittedMahalanobis:
    training = AlignedDataset.load(folder / "training")
    return FittedMahalanobis.fit(EmbeddedPhotos(pattern_embedder(), training, flip=False))


def embeddings(dataset: AlignedDataset) -> np.ndarray:
    return pattern_embedder().embed(dataset.crops.read(np.arange(len(dataset)))).astype(np.float64)


def test_the_kept_directions_are_white_and_hold_the_variance(folder: Path, fitted: FittedMahalanobis) -> None:
    known = embeddings(AlignedDataset.load(folder / "training"))
    projected = (known - known.mean(axis=0)) @ fitted.whitening
    np.testing.assert_allclose(np.cov(projected, rowvar=False), np.eye(projected.shape[1]), atol=1e-8)
    directions = fitted.whitening / np.linalg.norm(fitted.whitening, axis=0)
    kept = np.var(known @ directions, axis=0).sum() / np.var(known, axis=0).sum()
    fewer = np.var(known @ directions[:, :-1], axis=0).sum() / np.var(known, axis=0).sum()
    assert fewer < 0.99 <= kept


def test_scores_are_mahalanobis_distances_by_brute_force(folder: Path, fitted: FittedMahalanobis) -> None:
    dataset, protocol = AlignedDataset.load(folder / "data"), protocol_alone(folder / "pairs.csv")
    result = evaluate(
        EmbeddedPhotos(pattern_embedder(), dataset, flip=False), protocol, subtract_mean=False, fitted=fitted
    )
    of = dict(zip(dataset.column("photo"), embeddings(dataset), strict=True))
    inverse = fitted.whitening @ fitted.whitening.T  # of the covariance, in the kept directions
    for pair in (0, 7, 20, 41):
        apart = of[f"{protocol.left[pair]}.jpg"] - of[f"{protocol.right[pair]}.jpg"]
        distance = np.sqrt(apart @ inverse @ apart)
        assert result.scores[pair] == pytest.approx(1 / (1 + distance), rel=1e-6)
    assert result.scores[protocol.same].mean() > result.scores[~protocol.same].mean()


def test_it_stands_in_every_output(folder: Path, tmp_path: Path) -> None:
    options = VerificationOptions(flip=False, fit=folder / "training")
    verify(pattern_embedder(), folder / "data", folder / "pairs.csv", out=tmp_path, options=options)
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["similarity"] == "pca-mahalanobis"
    assert "320 photos" in found["similarity_rule"]
    assert "the Mahalanobis distance of raw embeddings" in (tmp_path / "report.html").read_text()


def test_too_few_photos_are_refused(tmp_path: Path) -> None:
    few = write_faces(tmp_path, people=2, photos=1)
    with pytest.raises(InputError, match=r"--fit: must hold more photos with a face than .*; got 2 in"):
        FittedMahalanobis.fit(EmbeddedPhotos(pattern_embedder(), few, flip=False))


@pytest.mark.parametrize(
    ("score", "fit", "subtract_mean", "rule"),
    [
        (Score.COSINE, Path("data"), False, "--fit: is for a score that is fitted"),
        (Score.PCA_MAHALANOBIS, None, False, "--score: pca-mahalanobis must be fitted on photos"),
        (Score.PCA_MAHALANOBIS, Path("data"), True, "--subtract-mean: is for cosines"),
    ],
)
def test_options_must_fit_together(score: Score, fit: Path | None, subtract_mean: bool, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        refuse_unfitted_score(score, fit, subtract_mean=subtract_mean)
