"""Checks for masked gradients: signs that an attack was weak rather than the model strong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from data_prep.counted import counted
from faceverif.report.numbers import percent
from robustness.attacks import ATTACKS, PAIR_ATTACKS, Attack, PairAttack
from robustness.attacks.traits import Traits
from robustness.config.attacks import PairGoal
from robustness.rejection.calibrated_model import MODEL
from robustness.rejection.findings import Finding
from robustness.rejection.trial import WHOLE_BOX

Verdict = Literal["warning", "not run", "pass"]
# The worst first.
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

# If more images than this have no gradient, the attack had too little to follow.
_FEW_ZERO_GRADIENTS = 0.01
# Equal images in other batches have features that differ in their last digits, which moves single ranks.
_ROUNDED_AREA = 0.01
# Above this clean error, figures about correctly classified images describe few of the images.
MANY_ERRORS = 0.5
_RIGHT = "most clean images are right"

# Whether an attack is one of those that a check is about.
Which = Callable[[Traits], bool]
# The images of a finding on which its attack counts as successful, (N,) bool.
Reached = Callable[[Finding], NDArray[np.bool_]]
# What a check says of the findings of one training and goal.
CheckFunction = Callable[[Sequence[Finding]], tuple[Verdict, str]]


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
        Check(*whose, name, *verdict)
        for whose, group in groups.items()
        for name, verdict in _verdicts(group, whose[-1]).items()
    ]


def _verdicts(findings: Sequence[Finding], goal: PairGoal | None) -> dict[str, tuple[Verdict, str]]:
    """Name of the check -> what it says of one training; only the first is about images that are wrong."""
    attackable = [finding for finding in findings if finding.attackable]
    nothing: tuple[Verdict, str] = ("not run", "no image is right before an attack")
    checks = checks_for(goal, tried=_names(attackable))
    verdicts = {name: check(attackable) if attackable else nothing for name, check in checks.items()}
    return verdicts | {_RIGHT: _mostly_right(findings)}


def checks_for(goal: PairGoal | None, *, tried: Collection[str] | None = None) -> dict[str, CheckFunction]:
    """Name -> check, of images of the classes (None) or of pairs.

    There is one check for each attack that an attack of the registry declares itself no weaker than.

    Args:
        goal: of the attacks.
        tried: their names; a check of two attacks is left out where one is not among them. None: all.
    """
    attacks: Mapping[str, type[Attack] | type[PairAttack]] = ATTACKS if goal is None else PAIR_ATTACKS
    return _FIXED | _declared(attacks, attacks if tried is None else tried)


def _declared(
    attacks: Mapping[str, type[Attack] | type[PairAttack]], tried: Collection[str]
) -> dict[str, CheckFunction]:
    """The checks that attacks ask for by their traits."""
    return {
        f"{strong} is no weaker than {weak}": partial(_no_weaker, strong=strong, weak=weak)
        for strong, attack in attacks.items()
        for weak in sorted(attack.traits.no_weaker_than)
        if strong in tried and weak in tried
    }


def _mostly_right(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """Success and detection are shares of what is right before the attack."""
    worst = max(1 - finding.own.clean_accuracy.value for finding in findings)
    text = f"at most {percent(worst, 1)} % of the clean images are wrong before an attack"
    if none_right := [_size(finding) for finding in findings if not finding.attackable]:
        return "warning", f"{text}; no image of {', '.join(none_right)} is right, so no table shows it"
    if worst > MANY_ERRORS:
        return "warning", f"{text}: success and detection describe the few others"
    return "pass", text


def _blind_at_zero(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    at_zero = [finding for finding in findings if finding.trial.epsilon == 0]
    if not at_zero:
        return "not run", "no attack of size 0 has finished"
    areas = {name: outcome.auc.value for name, outcome in at_zero[0].detectors.items()}
    off = {name: area for name, area in areas.items() if abs(area - 0.5) > _ROUNDED_AREA}
    if off:
        return "warning", "AUC at epsilon 0: " + ", ".join(f"{name} {area:.3f}" for name, area in off.items())
    return "pass", f"AUC 0.5 at epsilon 0, up to rounding, for {counted(len(areas), 'detector')}"


def _gradients_are_there(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    shares = {
        _size(finding): finding.own.zero_gradient_share
        for finding in findings
        if finding.trial.epsilon > 0 and finding.own.zero_gradient_share is not None
    }
    if not shares:
        return "not run", "no attack that follows gradients has finished"
    worst = max(shares, key=lambda size: shares[size])
    verdict: Verdict = "pass" if shares[worst] <= _FEW_ZERO_GRADIENTS else "warning"
    return verdict, f"at most {percent(shares[worst], 1)} % of the images gave {worst} no gradient"


def _answers_are_steady(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """A random answer has a random gradient: an attack that follows a single one looks weaker than it is."""
    asked = [finding for finding in findings if finding.record.unsteady is not None]
    if not asked:
        return "not run", "the trials were made by a version that did not ask twice"
    random = {name for finding in asked for name in finding.record.unsteady or ()}
    relevant = {name for name in random if name == MODEL or name == asked[0].own_detector}
    if not relevant:
        others = f"; {', '.join(sorted(random))} did not" if random else ""
        return "pass", f"model and detector gave the same answer twice{others}"
    said = f"{' and '.join(sorted(relevant))} gave two answers to the same image"
    # A detector's randomness concerns those that follow its score.
    averaging = [
        finding
        for finding in _with(findings, lambda its: its.strong and (MODEL in relevant or its.knows_detector))
        if finding.trial.attack and finding.trial.attack.averaged > 1
    ]
    if not averaging:
        return "warning", f"{said}, and no attack averaged its gradients: set samples to 20 or more"
    most = max(finding.trial.attack.averaged for finding in averaging if finding.trial.attack)
    return "pass", f"{said}; {averaging[0].trial.label} averaged up to {most} gradients"


def _no_weaker(findings: Sequence[Finding], *, strong: str, weak: str) -> tuple[Verdict, str]:
    return _at_least(_named(findings, strong), _named(findings, weak), missing=f"{strong} and {weak}")


def _gradients_help(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    strong, weak = _with(findings, lambda its: its.strong), _with(findings, lambda its: its.black_box)
    for kind, there in (("attack of many gradient steps", strong), ("black-box attack", weak)):
        if not there:
            return "not run", f"no {kind} has finished"
    return _at_least(strong, weak, missing="attacks of many gradient steps and black-box attacks")


def _reaches_all(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    unbounded = [
        finding
        for finding in _with(findings, lambda its: its.strong)
        if finding.trial.norm == "linf" and finding.trial.epsilon >= WHOLE_BOX
    ]
    if not unbounded:
        return "not run", f"no attack of many gradient steps with epsilon {WHOLE_BOX:g} (linf) has finished"
    best = max(unbounded, key=_success)
    share = _success(best)
    return "pass" if share == 1 else "warning", f"{best.trial.label} with the whole box: {percent(share)} %"


def _size_helps(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """A larger epsilon must not hurt; compared on the images that both sizes were tried on."""
    # What an attack that avoids the detector reaches in all is not what it was made for.
    plain = _with(findings, lambda its: (its.strong or its.local) and not its.knows_detector)
    sizes = list(_growing(plain))
    if not sizes:
        return "not run", "no attack of many gradient steps has finished with two sizes"
    for small, large in sizes:
        with_little, with_much, _ = _shared(small, large, _successes)
        if with_little > with_much:
            return "warning", f"{_size(large)} succeeds less than at {small.trial.epsilon:g}"
    return "pass", f"in {counted(len(sizes), 'comparison')} of two sizes"


def _detector_known_helps(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """Each adaptive attack at the rate whose threshold it was told."""
    aware = _with(findings, lambda its: its.knows_detector)
    if not aware:
        return "not run", "no adaptive attack has finished"
    others = _with(findings, lambda its: not its.knows_detector)
    missing = "attacks that know the detector and others"
    found = []
    for rate in sorted({_rate(finding) for finding in aware}):
        at_rate = [finding for finding in aware if _rate(finding) == rate]
        verdict, text = _at_least(at_rate, others, missing=missing, reached=partial(_undetected, rate=rate))
        if verdict != "not run":
            found.append((verdict, f"at {100 * rate:g} % false rejections, {text}"))
    if not found:
        return "not run", text
    return min((verdict for verdict, _ in found), key=VERDICTS.index), "; ".join(text for _, text in found)


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
        return "not run", "no attack has finished with two sizes"
    loss, text = max(losses)
    if loss > 0:
        return "warning", (
            f"{text}. An attack may stay within the smaller ball, so detection at the larger epsilon is too "
            "optimistic"
        )
    return "pass", f"in {counted(len(losses), 'comparison')} of two sizes"


_FIXED: dict[str, CheckFunction] = {
    _RIGHT: _mostly_right,
    "nothing to detect at epsilon 0": _blind_at_zero,
    "gradients are not zero": _gradients_are_there,
    "random answers are averaged": _answers_are_steady,
    "a larger epsilon is no weaker": _size_helps,
    "an unbounded attack reaches all images": _reaches_all,
    "white box is no weaker than black box": _gradients_help,
    "attacks that know the detector have no fewer undetected successes": _detector_known_helps,
    "a larger epsilon has no fewer undetected successes": _size_helps_undetected,
}
CHECKS: dict[str, CheckFunction] = checks_for(None) | checks_for("impersonation")


def _success(finding: Finding) -> float:
    """The share of images on which an attack succeeds."""
    assert finding.own.success is not None  # those without an attackable image are left out
    return finding.own.success.value


def _successes(finding: Finding) -> NDArray[np.bool_]:
    return finding.scores().verdicts.success


def _undetected(finding: Finding, *, rate: float) -> NDArray[np.bool_]:
    """Which images succeed and are not rejected by the model's own detector at that rate."""
    scores, name = finding.scores(), finding.own_detector
    return scores.verdicts.success & ~finding.points[rate].rejects(scores.attacked[name])


def _rate(finding: Finding) -> float:
    """The rate that an attack knows; else the largest, which rejects most."""
    assert finding.trial.attack is not None  # controls are left out
    return finding.trial.attack.known_rate or max(finding.points)


def _at_least(
    strong: Sequence[Finding], weak: Sequence[Finding], *, missing: str, reached: Reached = _successes
) -> tuple[Verdict, str]:
    """Whether at every size the best strong attack reaches as many as each weak one, of shared images."""
    texts, beaten = [], False
    for rival in weak:
        pairs = [_shared(other, rival, reached) for other in strong if _same_size(other, rival)]
        if pairs and rival.trial.epsilon > 0:
            ours, theirs, images = max(pairs, key=lambda pair: pair[0] / pair[2])
            beaten |= ours < theirs
            texts.append(f"{_size(rival)}: {ours} against {theirs} of {images}")
    if not texts:
        return "not run", f"{missing} have no size in common"
    return "warning" if beaten else "pass", "; ".join(texts)


def _same_size(one: Finding, other: Finding) -> bool:
    return (one.trial.norm, one.trial.epsilon) == (other.trial.norm, other.trial.epsilon)


def _growing(findings: Sequence[Finding]) -> Iterator[tuple[Finding, Finding]]:
    """Every attack with a smaller and a larger epsilon, neither of them 0."""
    for small, large in permutations(findings, 2):
        same = (small.trial.label, small.trial.norm) == (large.trial.label, large.trial.norm)
        if same and 0 < small.trial.epsilon < large.trial.epsilon:
            yield small, large


def _names(findings: Sequence[Finding]) -> set[str]:
    return {finding.trial.attack.name for finding in findings if finding.trial.attack}


def _named(findings: Sequence[Finding], name: str) -> list[Finding]:
    return [finding for finding in findings if finding.trial.attack and finding.trial.attack.name == name]


def _with(findings: Sequence[Finding], which: Which) -> list[Finding]:
    return [finding for finding in findings if finding.trial.traits and which(finding.trial.traits)]


def _size(finding: Finding) -> str:
    return f"{finding.trial.label} {finding.trial.epsilon:g}"


def _shared(one: Finding, other: Finding, reached: Reached) -> tuple[int, int, int]:
    """What both reach, and how many images were right before, of the images that both were tried on."""
    first, second = reached(one), reached(other)
    shared = min(len(first), len(second))
    right = one.scores().verdicts.clean_correct[:shared]
    return int(first[:shared].sum()), int(second[:shared].sum()), int(right.sum())
