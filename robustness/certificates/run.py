"""`faceverif certify`: the certificates of a model's images, or of a protocol's pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from data_prep.counted import counted
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.progress import say
from data_prep.protocols import VerificationProtocol, protocol_on
from faceverif.config.reading import read_yaml
from faceverif.file_names import CONFIG_NAME
from faceverif.images.faces import FaceImages
from faceverif.images.labelled import as_pixels
from faceverif.models import load_differentiable
from faceverif.report.numbers import percent
from faceverif.verification.scoring import PairPhotos
from robustness.attacked_model import device_of
from robustness.certificates.report import images_answer, pairs_answer, radius_panel, write_certificate_page
from robustness.certificates.smoothing import Certificate, certify_class, certify_pair, largest_radius
from robustness.certificates.table import (
    Row,
    Shares,
    certified_rows,
    class_shares,
    no_larger,
    pair_shares,
    summarised,
)
from robustness.certificates.unseen import DRAWN, draw_unseen
from robustness.config.smoothing import Smoothing
from robustness.loaded_run import run_sha256

# Line of the table that the page opens with: half of the noise's standard deviation.
_ANSWERED = 1
_RADIUS = (
    "l2 norm of the change of all pixels together, in [0, 1]; Cohen et al. (2019), Theorem 1, and for pairs "
    "bounds of the median"
)
_SELECTION = 100  # noisy versions that choose the class, as in the paper


def certify_images(run: Path, out: Path, *, smoothing: Smoothing, images: int) -> str:
    """Certify the class of images that a run was not trained on.

    Args:
        run: a folder by `faceverif classify`, `faceverif train` or `faceverif fit-head`.
        out: folder for the results; an interrupted certification continues.
        smoothing: noise, samples, confidence.
        images: how many at most, drawn at random.

    Returns:
        A table for the terminal.

    Raises:
        InputError: no such run, no unseen images, or `out` holds other certificates.
    """
    otherwise = "name pairs: --data, --protocol, --threshold"
    model, chosen = draw_unseen(run, images=images, seed=smoothing.seed, otherwise=otherwise)
    items = counted(len(chosen), "image")
    device = device_of(model)

    def one(item: int, generator: torch.Generator) -> Certificate:
        return certify_class(
            lambda pixels: model(pixels.to(device)),
            as_pixels(chosen.read(torch.tensor([item])))[0],
            sd=smoothing.sd,
            samples=smoothing.samples,
            selection=_SELECTION,
            error=smoothing.error,
            generator=generator,
        )

    about = {"model_sha256": run_sha256(run), "data_sha256": chosen.sha256()}
    _warn_of_other_noise(run, smoothing.sd)
    rows = certified_rows(one, chosen.labels.tolist(), out, smoothing=smoothing, about=about, unit="images")
    return _reported(
        rows,
        class_shares,
        out,
        smoothing,
        items=items,
        shape=chosen.shape,
        error=smoothing.error,
        counts={"certified_accuracy": len(rows)},
        answer=partial(images_answer, items=len(rows)),
        decided="the class that most noisy versions of a picture get",
        rules={"images": f"{items}, {DRAWN}"},
        provenance={"model": str(run)} | about,
    )


def certify_pairs(
    run: Path, out: Path, *, data: Path, protocol: Path, threshold: float, smoothing: Smoothing, pairs: int
) -> str:
    """Certify the decision on pairs of photos of which the left one may be changed.

    Args:
        run: a folder by `faceverif train` or `faceverif import`.
        out: folder for the results; an interrupted certification continues.
        data: aligned photos.
        protocol: the pairs.
        threshold: a pair is accepted where its median similarity under noise is that high.
        smoothing: noise, samples, confidence.
        pairs: how many of the scored pairs at most, half of them genuine; where one kind has too few pairs,
            more of the other are taken.

    Returns:
        A table for the terminal.

    Raises:
        InputError: files are missing or do not fit, or `out` holds other certificates.
    """
    listed = _ListedPairs.load(run, data=data, protocol=protocol, pairs=pairs, seed=smoothing.seed)
    about = {
        "model_sha256": run_sha256(run),
        "data_sha256": listed.data_sha256,
        "protocol_sha256": listed.protocol_sha256,
        "threshold": threshold,
        "pairs": listed.chosen.tolist(),
    }
    _warn_of_other_noise(run, smoothing.sd)
    rows = certified_rows(
        partial(listed.certificate, threshold=threshold, smoothing=smoothing),
        listed.same.astype(int).tolist(),
        out,
        smoothing=smoothing,
        about=about,
        unit="pairs",
    )
    genuine = sum(row.truth for row in rows)
    counts = {"certified_true_accepts": genuine, "false_accepts_at_most": len(rows) - genuine}
    items = f"{genuine:,} genuine and {counted(len(rows) - genuine, 'impostor pair')}"
    return _reported(
        rows,
        pair_shares,
        out,
        smoothing,
        items=items,
        shape=listed.images.shape,
        error=smoothing.error / 2,  # each side of the threshold has half of it
        counts={name: count for name, count in counts.items() if count},
        answer=partial(pairs_answer, counts=counts),
        decided=f"whether the median similarity under noise is {threshold:g} or more",
        rules={"pairs": f"{items}, drawn at random from {listed.drawn_from}"},
        provenance={"model": str(run), "data": str(data), "protocol": str(protocol)}
        | {name: value for name, value in about.items() if name != "pairs"},
    )


@dataclass(frozen=True)
class _ListedPairs:
    """The pairs of a protocol that are certified.

    Attributes:
        network: pixels in [0, 1] -> embedding.
        images: every photo that the protocol names.
        left, right: (pairs,) positions in `images`.
        same: (pairs,) True for genuine ones.
        chosen: (pairs,) which of the protocol's pairs these are.
        drawn_from: those among which they were chosen, for the page.
        data_sha256, protocol_sha256: of the aligned photos and of the list.
    """

    network: nn.Module
    images: FaceImages
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    chosen: NDArray[np.int64]
    drawn_from: str
    data_sha256: str
    protocol_sha256: str

    @classmethod
    def load(cls, run: Path, *, data: Path, protocol: Path, pairs: int, seed: int) -> _ListedPairs:
        """Choose them at random; see `certify_pairs`."""
        embedder, dataset = load_differentiable(run), load_aligned(data)
        embedder.spec.refuse_other(dataset.header)
        listed = protocol_on(protocol, dataset, allow_partial=False)
        photos, same = PairPhotos.of(listed, dataset), np.asarray(listed.same)
        # The others set the threshold, as View 1's training half does.
        usable = listed.scored & photos.readable_pairs
        chosen = some_of_both(same, usable, pairs, seed=seed)
        if not len(chosen):
            raise InputError(
                "--protocol",
                "must have pairs of which both photos can be read",
                got=f"{protocol}, none of whose {listed.scored.sum():,} scored pairs has both in {data}",
                fix="Name the protocol and the photos that belong together.",
            )
        images = FaceImages.of_strangers(dataset, photos.rows, input_px=embedder.spec.input_px)
        return cls(
            network=embedder.backbone,
            images=images,
            left=photos.left[chosen],
            right=photos.right[chosen],
            same=same[chosen],
            chosen=chosen,
            drawn_from=drawn_from(listed, usable),
            data_sha256=dataset.sha256,
            protocol_sha256=listed.sha256,
        )

    def certificate(
        self, item: int, generator: torch.Generator, *, threshold: float, smoothing: Smoothing
    ) -> Certificate:
        """Of the pair at that position, whose left photo may be changed."""
        device = device_of(self.network)
        pair = torch.tensor([int(self.left[item]), int(self.right[item])])
        probe, other = as_pixels(self.images.read(pair))
        with torch.no_grad():
            reference = self.network(other[None].to(device))

        def similarity(pixels: Tensor) -> Tensor:
            return F.cosine_similarity(self.network(pixels.to(device)), reference)

        return certify_pair(
            similarity,
            probe,
            threshold=threshold,
            sd=smoothing.sd,
            samples=smoothing.samples,
            error=smoothing.error,
            generator=generator,
        )


def drawn_from(listed: VerificationProtocol, usable: NDArray[np.bool_]) -> str:
    """Among which pairs the certified ones were chosen, for the page.

    Args:
        listed: the protocol.
        usable: (pairs,) True for those that may be chosen.
    """
    scored = int(listed.scored.sum())
    unread = scored - int(usable.sum())
    left_out = f", without {unread:,} with a photo that could not be read" if unread else ""
    return f"the {counted(scored, 'scored pair')} of {listed.title}{left_out}"


def _reported(
    rows: list[Row],
    shares: Shares,
    out: Path,
    smoothing: Smoothing,
    *,
    items: str,
    shape: tuple[int, int, int],
    error: float,
    counts: dict[str, int],
    answer: Callable[[dict[str, float]], str],
    decided: str,
    provenance: dict[str, Any],
    rules: dict[str, str],
) -> str:
    """Write result.json and the page, and give the table for the terminal."""
    largest = largest_radius(smoothing.samples, sd=smoothing.sd, error=error)
    found = summarised(rows, shares, out, smoothing, items=items, largest=largest)
    write_certificate_page(
        out,
        size="l2_radius",
        lines=found.at_radius,
        counts=counts,
        panel=radius_panel(partial(shares, rows), largest=max(row.radius for row in rows)),
        answer=answer(found.at_radius[_ANSWERED]),
        rules=_rules(smoothing, decided=decided, abstained=found.abstained)
        | {"radius": _RADIUS, "for scale": _scale(shape), "largest": no_larger(smoothing, largest)}
        | rules,
        provenance=provenance | {"seed": smoothing.seed},
    )
    return found.text


def _rules(smoothing: Smoothing, *, decided: str, abstained: float) -> dict[str, str]:
    """How the certificates were made, for the page."""
    return {
        "the decision": f"{decided}; the certificates hold for this decision, not for that without noise",
        "noise": f"Gaussian, standard deviation {smoothing.sd:g} for pixels in [0, 1]; "
        f"{smoothing.samples:,} noisy versions of each picture",
        "confidence": f"each certificate holds with {100 * smoothing.confidence:g} %",
        "abstained": f"{percent(abstained, 1)} %: without a decision, which counts as wrong at every radius",
    }


def _scale(shape: tuple[int, int, int]) -> str:
    """What an l2 norm means in grey levels."""
    one_level = math.sqrt(math.prod(shape)) / 255
    return (
        f"a change of every value of a picture of {shape[2]} x {shape[1]} pixels by one grey level of 255 "
        f"has an l2 norm of {one_level:.2f}"
    )


def some_of_both(
    same: NDArray[np.bool_], usable: NDArray[np.bool_], count: int, *, seed: int
) -> NDArray[np.int64]:
    """Which pairs are certified: random ones, half of them genuine as far as there are enough of both kinds.

    Args:
        same: (pairs,) True for genuine ones.
        usable: (pairs,) True for those that may be chosen.
        count: how many at most; of an odd number one more is genuine.
        seed: of the choice.

    Returns:
        (chosen,) their numbers, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(same))
    order = order[usable[order]]
    genuine, impostor = order[same[order]], order[~same[order]]
    most_genuine = max(count - count // 2, count - len(impostor))
    most_impostor = max(count // 2, count - len(genuine))
    return np.sort(np.concatenate([genuine[:most_genuine], impostor[:most_impostor]]))


def _warn_of_other_noise(run: Path, sd: float) -> None:
    config = run / CONFIG_NAME
    trained = read_yaml(config).get("training", {}).get("noise") if config.is_file() else None
    if trained != sd:
        said = f"with noise {trained:g}" if trained else "without noise"
        say(
            f"warning: the model was trained {said}, not with {sd:g}. The certificates hold, but the radii "
            f"are smaller than after a training with training.noise: {sd:g}."
        )
