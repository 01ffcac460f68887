"""Checks for gradients that are masked: signs that an attack was weak rather than the model strong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from robustness.attacks import PairGoal
from robustness.findings import WHOLE_BOX, Finding

Verdict = Literal["warning", "not run", "pass"]
# The worst first.
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

# More images without a gradient than this, and the attack had too little to follow.
_FEW_ZERO_GRADIENTS = 0.01
# Attacks that follow this model's own gradients over many steps.
_STRONG = ("pgd", "adaptive", "feature_matching")
_BLACK_BOX = ("square", "transfer")


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
    return [Check(*of, name, *check(group)) for of, group in groups.items() for name, check in CHECKS.items()]


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
        finding.trial.label: finding.own["zero_gradient_share"]
        for finding in findings
        if finding.trial.epsilon > 0 and finding.own["zero_gradient_share"] is not None
    }
    if not shares:
        return "not run", "no attack that follows gradients has finished"
    worst = max(shares, key=lambda label: shares[label])
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


def _size_helps(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """More room must not hurt; compared on the images that both sizes were tried on."""
    steps = [
        (one, other)
        for one in findings
        for other in findings
        if _named(one, ("pgd",)) and one.trial.label == other.trial.label
        if one.trial.epsilon < other.trial.epsilon
    ]
    if not steps:
        return "not run", "no PGD of two sizes has finished"
    for small, large in steps:
        with_little, with_much, _ = _shared_successes(small, large)
        if with_little > with_much:
            sizes = f"{large.trial.epsilon:g} than at {small.trial.epsilon:g}"
            return "warning", f"{small.trial.label} succeeds less at {sizes}"
    return "pass", f"in {len(steps)} comparisons of two sizes"


CHECKS: dict[str, Callable[[Sequence[Finding]], tuple[Verdict, str]]] = {
    "nothing to detect at epsilon 0": _blind_at_zero,
    "gradients are not zero": _gradients_are_there,
    "PGD is no weaker than FGSM": _steps_help,
    "a larger epsilon is no weaker": _size_helps,
    "an unbounded attack reaches all images": _reaches_all,
    "white box is no weaker than black box": _knowledge_helps,
}


def _at_least(
    findings: Sequence[Finding], *, strong: tuple[str, ...], weak: tuple[str, ...]
) -> tuple[Verdict, str]:
    """Whether at every size the best strong attack succeeds as often as each weak one, on shared images."""
    texts, beaten = [], False
    for rival in (finding for finding in findings if _named(finding, weak) and finding.trial.epsilon > 0):
        pairs = [_shared_successes(other, rival) for other in _same_size(findings, rival, strong)]
        if pairs:
            ours, theirs, images = max(pairs, key=lambda pair: pair[0] / pair[2])
            beaten |= ours < theirs
            size = f"{rival.trial.label} {rival.trial.epsilon:g}"
            texts.append(f"{size}: {ours} against {theirs} of {images}")
    if not texts:
        return "not run", f"{' or '.join(strong)} and {' or '.join(weak)} have no size in common"
    return "warning" if beaten else "pass", "; ".join(texts)


def _same_size(findings: Sequence[Finding], like: Finding, names: tuple[str, ...]) -> Iterator[Finding]:
    for finding in findings:
        same = (finding.trial.norm, finding.trial.epsilon) == (like.trial.norm, like.trial.epsilon)
        if same and _named(finding, names):
            yield finding


def _named(finding: Finding, names: tuple[str, ...]) -> bool:
    return finding.trial.attack is not None and finding.trial.attack.name in names


def _shared_successes(one: Finding, other: Finding) -> tuple[int, int, int]:
    """Successes of both, and how many images were right before, on the images that both were tried on."""
    first, second = one.scores().verdicts, other.scores().verdicts
    shared = min(len(first.success), len(second.success))
    counts = (int(np.sum(verdicts.success[:shared])) for verdicts in (first, second))
    return (*counts, int(np.sum(first.clean_correct[:shared])))  # type: ignore[return-value]
