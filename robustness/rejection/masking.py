"""Checks for gradients that are masked: signs that an attack was weak rather than the model strong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robustness.attacks import PairGoal
from robustness.rejection.findings import WHOLE_BOX, Finding

Verdict = Literal["warning", "not run", "pass"]
# The worst first.
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

# More images without a gradient than this, and the attack had too little to follow.
_FEW_ZERO_GRADIENTS = 0.01
# Attacks that follow this model's own gradients over many steps.
_STRONG = ("pgd", "adaptive", "feature_matching")
_BLACK_BOX = ("square", "transfer")
# Attacks that know nothing of the detector.
_UNAWARE = ("fgsm", "targeted_fgsm", "pgd", "feature_matching", "deepfool", "carlini_wagner", *_BLACK_BOX)

# Of a finding, which images the attacker has reached, (N,) bool.
Reached = Callable[[Finding], NDArray[np.bool_]]


@dataclass(frozen=True)
class Check:
    """What one check says of one training of a model.

    Attributes:
        model, training: whose.
        goal: of the attacks on pairs that are checked; None for those on images of the classes.
        name: what is checked.
        verdict: pass, warning, or not run where the experiment has nothing to check it on.
        text: what was seen.
    """

    model: str
    training: int
    goal: PairGoal | None
    name: str
    verdict: Verdict
    text: str


def check_masking(findings: Sequence[Finding]) -> list[Check]:
    """Every check of every training, after Athalye et al. (2018), Sec. 3.1, and Carlini et al. (2019).

    Args:
        findings: of finished trials.
    """
    groups: dict[tuple[str, int, PairGoal | None], list[Finding]] = {}
    for finding in findings:
        trial = finding.trial
        if trial.attack is not None:
            groups.setdefault((trial.model, trial.training, trial.goal), []).append(finding)
    return [
        Check(*of, name, *check(group))
        for of, group in groups.items()
        for name, check in CHECKS.items()
        if of[-1] is None or name not in CLOSED_SET_ONLY
    ]


def _blind_at_zero(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    at_zero = [finding for finding in findings if finding.trial.epsilon == 0]
    if not at_zero:
        return "not run", "no attack of size 0 has finished"
    areas = {name: outcome["auc"]["value"] for name, outcome in at_zero[0].detectors.items()}
    off = {name: area for name, area in areas.items() if abs(area - 0.5) > 1e-9}
    if off:
        return "warning", "AUC at epsilon 0: " + ", ".join(f"{name} {area:.3f}" for name, area in off.items())
    return "pass", f"AUC 0.5 at epsilon 0 for {len(areas)} detectors"


def _gradients_are_there(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    shares = {
        _size(finding): finding.own["zero_gradient_share"]
        for finding in findings
        if finding.trial.epsilon > 0 and finding.own["zero_gradient_share"] is not None
    }
    if not shares:
        return "not run", "no attack that follows gradients has finished"
    worst = max(shares, key=lambda size: shares[size])
    verdict: Verdict = "pass" if shares[worst] <= _FEW_ZERO_GRADIENTS else "warning"
    return verdict, f"at most {shares[worst]:.1%} of the images gave {worst} no gradient"


def _steps_help(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    return _at_least(findings, strong=("pgd",), weak=("fgsm",))


def _knowledge_helps(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    return _at_least(findings, strong=_STRONG, weak=_BLACK_BOX)


def _reaches_all(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    unbounded = [
        finding
        for finding in findings
        if _named(finding, _STRONG) and finding.trial.norm == "linf" and finding.trial.epsilon >= WHOLE_BOX
    ]
    if not unbounded:
        return "not run", f"no attack of many steps with epsilon {WHOLE_BOX:g} (linf) has finished"
    best = max(unbounded, key=lambda finding: finding.own["success"]["value"])
    share = best.own["success"]["value"]
    return "pass" if share == 1 else "warning", f"{best.trial.label} with the whole box: {share:.2%}"


def _optimising_helps(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    return _at_least(findings, strong=("carlini_wagner",), weak=("deepfool",))


def _size_helps(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """More room must not hurt; compared on the images that both sizes were tried on."""
    steps = [pair for pair in _growing(findings) if _named(pair[0], ("pgd",))]
    if not steps:
        return "not run", "no PGD of two sizes has finished"
    for small, large in steps:
        with_little, with_much, _ = _shared(small, large, _successes)
        if with_little > with_much:
            return "warning", f"{_size(large)} succeeds less than at {small.trial.epsilon:g}"
    return "pass", f"in {len(steps)} comparisons of two sizes"


def _detector_known_helps(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """At the rate whose threshold the adaptive attacker was told."""
    aware = [finding for finding in findings if _named(finding, ("adaptive",))]
    if not aware:
        return "not run", "no adaptive attack has finished"
    rate = _rate(aware[0])
    verdict, text = _at_least(
        findings, strong=("adaptive",), weak=_UNAWARE, reached=partial(_undetected, rate=rate)
    )
    return verdict, text if verdict == "not run" else f"at {100 * rate:g} % false rejections, {text}"


def _size_helps_undetected(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """A larger change may be more conspicuous: then the smaller one is what counts."""
    losses = []
    for small, large in _growing(findings):
        with_little, with_much, images = _shared(small, large, partial(_undetected, rate=_rate(small)))
        text = (
            f"{_size(large)}: {with_much} of {images} undetected, at {small.trial.epsilon:g}: {with_little}"
        )
        losses.append(((with_little - with_much) / images, text))
    if not losses:
        return "not run", "no attack of two sizes has finished"
    loss, text = max(losses)
    if loss > 0:
        return "warning", (
            f"{text}. An attacker may stay within the smaller ball: detection at the larger epsilon flatters"
        )
    return "pass", f"in {len(losses)} comparisons of two sizes"


CHECKS: dict[str, Callable[[Sequence[Finding]], tuple[Verdict, str]]] = {
    "nothing to detect at epsilon 0": _blind_at_zero,
    "gradients are not zero": _gradients_are_there,
    "PGD is no weaker than FGSM": _steps_help,
    "a larger epsilon is no weaker": _size_helps,
    "an unbounded attack reaches all images": _reaches_all,
    "white box is no weaker than black box": _knowledge_helps,
    "Carlini-Wagner is no weaker than DeepFool": _optimising_helps,
    "the attacker who knows the detector is no weaker than the others, undetected": _detector_known_helps,
    "a larger epsilon has no fewer undetected successes": _size_helps_undetected,
}
# Pairs have no attacks for these.
CLOSED_SET_ONLY = ("Carlini-Wagner is no weaker than DeepFool",)


def _successes(finding: Finding) -> NDArray[np.bool_]:
    return finding.scores().verdicts.success


def _undetected(finding: Finding, *, rate: float) -> NDArray[np.bool_]:
    """Which images succeed and are not rejected by the model's own detector at that rate."""
    scores, name = finding.scores(), next(iter(finding.detectors))
    return scores.verdicts.success & ~finding.points[rate].rejects(scores.attacked[name])


def _rate(finding: Finding) -> float:
    """The rate that an attack was aimed at; else the largest, which leaves the least to the attacker."""
    aimed_at = getattr(finding.trial.attack, "rate", None)
    return aimed_at or max(finding.points)


def _at_least(
    findings: Sequence[Finding],
    *,
    strong: tuple[str, ...],
    weak: tuple[str, ...],
    reached: Reached = _successes,
) -> tuple[Verdict, str]:
    """Whether at every size the best strong attack reaches as many as each weak one, of shared images."""
    texts, beaten = [], False
    for rival in (finding for finding in findings if _named(finding, weak) and finding.trial.epsilon > 0):
        pairs = [_shared(other, rival, reached) for other in _same_size(findings, rival, strong)]
        if pairs:
            ours, theirs, images = max(pairs, key=lambda pair: pair[0] / pair[2])
            beaten |= ours < theirs
            texts.append(f"{_size(rival)}: {ours} against {theirs} of {images}")
    if not texts:
        return "not run", f"{' or '.join(strong)} and {' or '.join(weak)} have no size in common"
    return "warning" if beaten else "pass", "; ".join(texts)


def _same_size(findings: Sequence[Finding], like: Finding, names: tuple[str, ...]) -> Iterator[Finding]:
    for finding in findings:
        same = (finding.trial.norm, finding.trial.epsilon) == (like.trial.norm, like.trial.epsilon)
        if same and _named(finding, names):
            yield finding


def _growing(findings: Sequence[Finding]) -> Iterator[tuple[Finding, Finding]]:
    """Every attack with a smaller and a larger epsilon, neither of them 0."""
    for small, large in permutations(findings, 2):
        same = (small.trial.label, small.trial.norm) == (large.trial.label, large.trial.norm)
        if same and 0 < small.trial.epsilon < large.trial.epsilon:
            yield small, large


def _named(finding: Finding, names: tuple[str, ...]) -> bool:
    return finding.trial.attack is not None and finding.trial.attack.name in names


def _size(finding: Finding) -> str:
    return f"{finding.trial.label} {finding.trial.epsilon:g}"


def _shared(one: Finding, other: Finding, reached: Reached) -> tuple[int, int, int]:
    """What both reach, and how many images were right before, of the images that both were tried on."""
    first, second = reached(one), reached(other)
    shared = min(len(first), len(second))
    right = one.scores().verdicts.clean_correct[:shared]
    return int(first[:shared].sum()), int(second[:shared].sum()), int(right.sum())
