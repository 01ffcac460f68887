"""The open set: a face model whose verification is attacked, pairs of strangers, and their threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.dataset.manifest import AlignedDataset
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.protocols import VerificationProtocol, protocol_on
from faceverif.images.faces import FaceImages
from faceverif.images.labelled import as_pixels
from faceverif.models import PreprocessingSpec
from faceverif.verification.roc import OperatingPoint, roc_curve, tar_at_far
from faceverif.verification.scoring import PairPhotos, cosine_scores, normalised
from robustness.attacked_model import AttackedModel
from robustness.attacks.knowledge import Knowledge
from robustness.calibration_size import smallest_calibration, smallest_rate
from robustness.config.attacks import PairGoal
from robustness.face_regions import seen_landmarks
from robustness.features import Features
from robustness.fitted_model import PORTION, FittedModel
from robustness.loaded_run import LoadedRun
from robustness.rejection.calibrated_model import CalibratedModel
from robustness.rejection.config import PairsConfig, RejectionConfig

STRANGERS_RULE = (
    "calibration pairs that share a photo with an attacked pair are left out. A photo without a detected "
    "face is used with its centre crop. Pairs with an unreadable photo are left out"
)


@dataclass(frozen=True)
class FacePairs:
    """Pairs that are attacked.

    Attributes:
        probes: the photos that are changed.
        references: the photos that they are compared with.
    """

    probes: FaceImages
    references: FaceImages

    def __len__(self) -> int:
        return len(self.probes)

    def portions(self, pairs: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The first of the pairs, portion by portion.

        Args:
            pairs: how many at most.

        Yields:
            position of the portion's first pair; probes and references in [0, 1].
        """
        for which in torch.arange(min(pairs, len(self))).split(PORTION):
            probes, references = (as_pixels(side.read(which)) for side in (self.probes, self.references))
            yield int(which[0]), probes, references


@dataclass(frozen=True)
class OpenSet(CalibratedModel):
    """A training of a face model, as attacks on its verification see it.

    Attributes:
        accept_from: a pair is accepted from this cosine on.
        pairs: of each goal: impostor pairs to impersonate, genuine ones to dodge.
        landmarks: of every face in what the model sees; None where its crops have no fixed ones.
    """

    accept_from: float
    pairs: dict[PairGoal, FacePairs]
    landmarks: NDArray[np.float64] | None

    def knowledge(self, source: AttackedModel | None) -> Knowledge:
        """What attacks may be built from, the verification's threshold and the landmarks too."""
        known = super().knowledge(source)
        return replace(known, accept_from=self.accept_from, landmarks=self.landmarks)


def load_open_set(config: RejectionConfig, fitted: FittedModel, run: LoadedRun) -> OpenSet:
    """Choose the pairs that are attacked, and calibrate verification and detectors on others.

    Args:
        config: the experiment, with pairs.
        fitted: the run's model.
        run: a finished face run.

    Raises:
        InputError: photos or protocols are missing, the crops are not the model's, there are too
            few pairs to attack, or too few others for the false accept rate or a false-rejection rate.
    """
    settings, spec = config.pairs, run.spec
    assert settings is not None  # the experiment asks only then
    assert spec is not None  # image classifiers were refused before any training
    strangers = _Strangers.load(settings, spec, seed=config.seed)
    strangers.refuse_too_few(config.rates)
    features = fitted.features(strangers.photos)
    threshold = strangers.verification_threshold(features, far=settings.far)
    facts = strangers.facts | asdict(threshold) | {"far_asked": settings.far}
    if not fitted.model.head.classes:
        facts["fit_data_sha256"] = run.trained_on.sha256()
    return OpenSet(
        fitted,
        fitted.calibrated(features, config.rates),
        facts,
        threshold.threshold,
        strangers.attacked,
        seen_landmarks(spec),
    )


@dataclass(frozen=True)
class _Strangers:
    """People whom the model was not trained on.

    Attributes:
        attacked: pairs of each goal.
        photos: clean photos of the calibration pairs, each once.
        left, right: (pairs,) positions of the calibration pairs in `photos`.
        same: (pairs,) True for genuine ones.
        facts: counts and names.
    """

    attacked: dict[PairGoal, FacePairs]
    photos: FaceImages
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    facts: dict[str, object]

    @classmethod
    def load(cls, settings: PairsConfig, spec: PreprocessingSpec, *, seed: int) -> _Strangers:
        """Read both protocols and separate their photos."""
        dataset = load_aligned(settings.data)
        spec.refuse_other(dataset.header)
        images = partial(FaceImages.of_strangers, dataset, input_px=spec.input_px)
        protocol = _protocol(settings.protocol, dataset, key="protocol")
        theirs = PairPhotos.of(protocol, dataset)
        chosen = _chosen(protocol, theirs, settings, seed=seed)
        attacked = np.concatenate([*chosen.values()])
        touched = theirs.rows[np.concatenate([theirs.left[attacked], theirs.right[attacked]])]
        calibration = _protocol(settings.calibration_protocol, dataset, key="calibration_protocol")
        ours = PairPhotos.of(calibration, dataset)
        kept = ~ours.pairs_with(np.isin(ours.rows, touched) | ours.no_crop)
        photos, places = np.unique(np.stack([ours.left[kept], ours.right[kept]]), return_inverse=True)
        left, right = places.reshape(2, -1)
        facts = {
            "protocol": protocol.title,
            "protocol_sha256": protocol.sha256,
            "calibration_protocol": calibration.title,
            "calibration_protocol_sha256": calibration.sha256,
            "data_sha256": dataset.sha256,
            "calibration_photos": len(photos),
            "calibration_centre_crops": int(ours.no_face[photos].sum()),
            "impostor_pairs": int((~calibration.same[kept]).sum()),
            "genuine_pairs": int(calibration.same[kept].sum()),
            "pairs_left_out": int((~kept).sum()),
        }
        pairs = {
            goal: FacePairs(images(theirs.rows[theirs.left[which]]), images(theirs.rows[theirs.right[which]]))
            for goal, which in chosen.items()
        }
        return cls(
            attacked=pairs,
            photos=images(ours.rows[photos]),
            left=left,
            right=right,
            same=calibration.same[kept],
            facts=facts,
        )

    def refuse_too_few(self, rates: Sequence[float]) -> None:
        """Stop before the model has seen photos that are too few for a false-rejection rate.

        Args:
            rates: of the detectors' thresholds.

        Raises:
            InputError: they are.
        """
        rate, photos = min(rates), len(self.photos)
        if photos < smallest_calibration(rate):
            raise InputError(
                "rates",
                f"{rate:g} needs {smallest_calibration(rate):,} photos in pairs.calibration_protocol, beside "
                "those of the attacked pairs",
                got=f"{photos:,}",
                fix="Give a longer pairs.calibration_protocol"
                + (f", or rates of {smallest_rate(photos)} or more." if photos else "."),
            )

    def verification_threshold(self, features: Features, *, far: float) -> OperatingPoint:
        """Read from the cosines of the calibration pairs."""
        embeddings = normalised(features.embeddings.numpy())
        everyone = np.zeros(len(embeddings), dtype=bool)
        pairs = PairPhotos(np.arange(len(embeddings)), self.left, self.right, everyone, everyone)
        curve = roc_curve(cosine_scores(pairs, embeddings), self.same)
        return tar_at_far(curve, far, field="pairs.far", protocol="pairs.calibration_protocol")


def _protocol(path: Path, dataset: AlignedDataset, *, key: str) -> VerificationProtocol:
    if not path.exists():
        raise InputError(f"pairs.{key}", "must be a list of pairs", got=path, fix="Check the path.")
    try:
        return protocol_on(path, dataset, allow_partial=False)
    except InputError as error:  # of the photos, it speaks as the command `verify` calls them
        field = "pairs.data" if error.field == "--data" else error.field
        raise InputError(field, error.rule, got=error.got, fix=error.fix) from error


def _chosen(
    protocol: VerificationProtocol, photos: PairPhotos, settings: PairsConfig, *, seed: int
) -> dict[PairGoal, NDArray[np.int64]]:
    """Which pairs of a protocol are attacked for each goal, in random order."""
    usable = protocol.scored & photos.readable_pairs
    return {
        goal: _some(usable & (protocol.same == (goal == "dodging")), settings.pairs, goal, seed=seed)
        for goal in settings.goals
    }


def _some(usable: NDArray[np.bool_], pairs: int, goal: PairGoal, *, seed: int) -> NDArray[np.int64]:
    found, kind = np.flatnonzero(usable), "genuine" if goal == "dodging" else "impostor"
    if not len(found):
        raise InputError(
            "pairs.goals",
            f"must be goals that the protocol has pairs for; {goal} needs {kind} pairs",
            got=f"{goal}, and no {kind} pair whose photos can both be read",
            fix=f"Leave {goal} out of pairs.goals, or name another pairs.protocol.",
        )
    if len(found) < pairs:
        raise InputError(
            "pairs.pairs",
            f"must be at most {len(found):,}, the {kind} pairs of the protocol",
            got=f"{pairs:,}",
            fix="Lower it.",
        )
    return np.random.default_rng(seed).permutation(found)[:pairs]
