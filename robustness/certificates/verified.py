"""`faceverif certify --norm linf`: the share of images that no change of their pixels up to epsilon turns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from data_prep.counted import counted
from data_prep.errors import InputError
from data_prep.json_object import write_json
from data_prep.progress import say
from faceverif.file_names import RESULT_NAME
from faceverif.images.base import LabelledImages
from faceverif.images.labelled import as_pixels
from faceverif.perturbation.intervals import Unbounded, around, least_margins
from faceverif.perturbation.threat_model import ThreatModel
from faceverif.report.numbers import percent
from robustness.attacked_model import AttackedModel, device_of
from robustness.attacks.pgd import PGD
from robustness.certificates.report import bounds_answer, epsilon_panel, write_certificate_page
from robustness.certificates.table import claim_folder
from robustness.certificates.unseen import DRAWN, draw_unseen
from robustness.loaded_run import run_sha256

# Margins of a portion need a tensor of (images, classes, dim).
_PORTION = 100
_PGD_STEPS = 20
_RULES = {
    "error at most": "images for which the bounds of every layer leave room for a wrong answer "
    "(interval bound propagation), those wrong without a change included",
    "error under PGD": f"images that PGD with {_PGD_STEPS} steps makes wrong; another attack may find more",
    "the worst change": "its error lies between the two",
}


def verify_images(run: Path, out: Path, *, epsilons: Sequence[float], images: int, seed: int) -> str:
    """Bound the error of a run's classes under every change up to epsilon, from both sides.

    The error under the worst change lies between that under PGD, which is one attack, and the verified error,
    which counts every image whose bounds (`faceverif.perturbation.intervals`) leave room for a wrong answer.

    Args:
        run: a folder by `faceverif classify`.
        out: folder for the result.
        epsilons: linf, for pixels in [0, 1].
        images: how many at most, drawn at random from those that were not trained on.
        seed: of the choice and of PGD's start.

    Returns:
        A table for the terminal.

    Raises:
        InputError: no such run, no unseen images, a layer or head without bounds, or `out` holds other
            certificates.
    """
    model, chosen = draw_unseen(
        run, images=images, seed=seed, otherwise="certify pairs by noise, with --norm l2"
    )
    about = {
        "norm": "linf",
        "epsilons": list(epsilons),
        "items": len(chosen),
        "model_sha256": run_sha256(run),
        "data_sha256": chosen.sha256(),
        "seed": seed,
    }
    items = counted(len(chosen), "image")
    # One image is enough to refuse a network without bounds, before the folder is claimed.
    verified(model, as_pixels(chosen.read(torch.tensor([0]))), chosen.labels[:1], epsilon=0.0)
    claim_folder(out, about)
    at_epsilon = never_less([_errors(model, chosen, each, seed=seed) for each in sorted({0.0, *epsilons})])
    result = about | {"pgd_steps": _PGD_STEPS, "at_epsilon": at_epsilon}
    write_json(out / RESULT_NAME, result)
    write_certificate_page(
        out,
        size="epsilon",
        lines=at_epsilon,
        counts=dict.fromkeys(("pgd_error", "verified_error"), len(chosen)),
        panel=epsilon_panel(at_epsilon),
        answer=bounds_answer(at_epsilon, items=len(chosen)),
        rules=_RULES | {"images": f"{items}, {DRAWN}"},
        provenance={"model": str(run)}
        | {name: about[name] for name in ("model_sha256", "data_sha256", "seed")},
    )
    lines = [f"{items}; the error under the worst change lies between the two"]
    lines.append("linf epsilon  under PGD  verified at most")
    lines += [
        f"{each['epsilon']:>12g}  {percent(each['pgd_error'], 1):>7} %  "
        f"{percent(each['verified_error'], 1):>14} %"
        for each in at_epsilon
    ]
    if at_epsilon[-1]["verified_error"] == 1:
        say(
            "warning: nothing is verified at the largest epsilon. Bounds by intervals are loose for a model "
            "that was not trained for them: training.adversarial with attack: ibp does so."
        )
    return "\n".join(lines)


def never_less(lines: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """The lines with the largest error under PGD up to each: a larger ball holds what a smaller one does.

    Args:
        lines: in the order of their epsilons.
    """
    errors = accumulate((line["pgd_error"] for line in lines), max)
    return [line | {"pgd_error": error} for line, error in zip(lines, errors, strict=True)]


def _errors(model: AttackedModel, images: LabelledImages, epsilon: float, *, seed: int) -> dict[str, float]:
    """Errors at one size."""
    attack, threat = PGD(steps=_PGD_STEPS, restarts=1, loss="margin"), ThreatModel("linf", epsilon)
    attacked = proven = 0
    for which in torch.arange(len(images)).split(_PORTION):
        pixels, labels = as_pixels(images.read(which)), images.labels[which]
        under = attack(model, pixels, labels, threat=threat, seed=seed + int(which[0]))
        attacked += int((~(under.clean_correct & under.attacked.correct)).sum())
        proven += int(verified(model, pixels, labels, epsilon=epsilon).sum())
    return {
        "epsilon": epsilon,
        "pgd_error": attacked / len(images),
        "verified_error": (len(images) - proven) / len(images),
    }


@torch.no_grad()
def verified(model: AttackedModel, pixels: Tensor, labels: Tensor, *, epsilon: float) -> Tensor:
    """Which images, (N,) bool on the CPU, keep their true class under every change of epsilon (linf).

    Raises:
        InputError: a layer or head without bounds.
    """
    device = device_of(model)
    own = labels.to(device)
    try:
        margins = least_margins(model.network, model.head, around(pixels.to(device), epsilon=epsilon), own)
    except Unbounded as error:
        fix = "Certify it by noise: --norm l2."
        raise InputError("--model", error.rule, got=error.got, fix=fix) from error
    others = torch.ones_like(margins, dtype=torch.bool).scatter_(1, own[:, None], False)
    return ((margins > 0) | ~others).all(dim=1).cpu()
