"""What a report says first: what it takes to fool a model, and how much of it its detector notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from faceverif.perturbation.norm import Norm
from faceverif.report.numbers import rate_text
from robustness.config.attacks import PairGoal
from robustness.rejection.findings import Finding, Row, rows_of
from robustness.rejection.masking import MANY_ERRORS

# A model is called fooled from this share of successes on.
_FOOLED = 0.5
# Errors without an attack are said above this share.
_SOME_ERRORS = 0.1
# Where fewer images were attacked, an exact interval around a half is wider than from 0.3 to 0.7.
_ENOUGH = 30
_GREY_LEVELS = 255


@dataclass(frozen=True)
class Headline:
    """What is said of one model, for the person who decides whether to use it.

    Attributes:
        model: which.
        goal: of the attacks on pairs; None for those on images of the classes.
        text: a sentence for each norm that was tried, and one for patches. A model that errs without an
            attack has that said first; that few images were attacked is said last.
    """

    model: str
    goal: PairGoal | None
    text: str


@dataclass(frozen=True)
class _Words:
    """How attacks of one goal are spoken of.

    Attributes:
        fool: what an attack does to the model.
        right: what it does it to; a number stands before.
        wrong: what the model gets wrong without an attack; a number stands before.
    """

    fool: str
    right: str
    wrong: str


_WORDS: dict[PairGoal | None, _Words] = {
    None: _Words("fool {model}", "images that it classifies correctly", "images"),
    "impersonation": _Words(
        "pass for another person under {model}",
        "pairs of two people that it tells apart",
        "pairs of two people",
    ),
    "dodging": _Words(
        "hide a person from {model}", "pairs of one person that it recognises", "pairs of one person"
    ),
}


def headlines(findings: Sequence[Finding], *, rate: float) -> list[Headline]:
    """What is said of each model and goal, in the order of the findings.

    Changes without a limit are left out. Where no other was tried, the text says so.

    Args:
        findings: of finished trials.
        rate: of false rejections, of the models' own detectors.
    """
    groups: dict[tuple[str, PairGoal | None], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.trial.model, finding.trial.goal), []).append(finding)
    return [Headline(*whose, _text(group, rate=rate)) for whose, group in groups.items()]


def _text(findings: Sequence[Finding], *, rate: float) -> str:
    """Of one model and goal."""
    words, rows = _WORDS[findings[0].trial.goal], rows_of(findings)
    if not rows:
        model, images = findings[0].trial.model, max(finding.record.images for finding in findings)
        return (
            f"{model} decides wrongly on all of {images:,} {words.wrong} without any attack, so there was "
            "nothing to attack."
        )
    return _errors(rows, words) + _sentences(rows, words, rate=rate)


def _sentences(rows: Sequence[Row], words: _Words, *, rate: float) -> str:
    """One for each way of measuring a change, since sizes of different kinds cannot be compared."""
    attacks = [row for row in rows if row.limited and not row.control]
    whole = [[row for row in attacks if row.norm == norm and not row.local] for norm in get_args(Norm)]
    texts = [_of_whole_images(same_norm, words, rate=rate) for same_norm in whole if same_norm]
    if patches := [row for row in attacks if row.local]:  # whose size is no epsilon
        texts.append(_of_patches(patches, words, rate=rate))
    if not texts:
        fool = words.fool.format(model=rows[0].model)
        return (
            f"No attack with a limited change has finished, so nothing is known of what it takes to {fool}."
        )
    if (most := _most(attacks)) < _ENOUGH:
        texts.append(f"No attack was tried on more than {most:,} {words.right}, so these shares are rough.")
    return " ".join(texts)


def _of_patches(rows: Sequence[Row], words: _Words, *, rate: float) -> str:
    row = max(rows, key=lambda row: (row.success.mean, row.undetected[rate].mean))
    fool = words.fool.format(model=row.model)
    if row.success.mean == 0:
        none = f"Of the attacks tried that change a region of the face only, none manages to {fool}"
        return f"{none} on any of up to {_most(rows):,} {words.right}."
    return (
        f"By changing a region of the face only, {row.label} manages to {fool} on "
        f"{rate_text(row.success.mean)} of {row.attackable:,} {words.right}; {_noticed(row, rate)}."
    )


def _of_whole_images(rows: Sequence[Row], words: _Words, *, rate: float) -> str:
    """Of attacks in one norm."""
    fool = words.fool.format(model=rows[0].model)
    fooled = [row for row in rows if row.success.mean >= _FOOLED]
    if fooled:
        # Of the attacks that suffice at the smallest size, the one that most escapes the detector.
        smallest = min(row.epsilon for row in fooled)
        row = max(
            (row for row in fooled if row.epsilon == smallest),
            key=lambda row: (row.undetected[rate].mean, row.success.mean),
        )
        return (
            f"To {fool} on at least half of the {words.right}, it is enough to {_change(row)}: "
            f"{row.label} succeeds on {rate_text(row.success.mean)} of {row.attackable:,}; "
            f"{_noticed(row, rate)}."
        )
    row, largest = max(rows, key=lambda row: row.success.mean), max(rows, key=lambda row: row.epsilon)
    none = f"Of the attacks tried that {_change(largest)}, none manages to {fool}"
    if row.success.mean == 0:
        return f"{none} on any of up to {_most(rows):,} {words.right}."
    return (
        f"{none} on half of the {words.right}: the most is {rate_text(row.success.mean)} of "
        f"{row.attackable:,}, by {row.label} at epsilon {row.epsilon:.3g}; {_noticed(row, rate)}."
    )


def _most(rows: Sequence[Row]) -> int:
    """The most images that one of the attacks was tried on."""
    return max(row.attackable for row in rows)


def _errors(rows: Sequence[Row], words: _Words) -> str:
    """What is wrong without an attack, measured on the most images; empty where that is little."""
    most = max(rows, key=lambda row: row.images)
    wrong = 1 - most.clean_accuracy.mean
    images = f"{most.images:,} {words.wrong}"
    said = f"{most.model} decides wrongly on {rate_text(wrong)} of {images} without any attack"
    if wrong > MANY_ERRORS:
        return f"{said}, so what follows is about the few others. "
    return f"{said}. " if wrong > _SOME_ERRORS else ""


def _change(row: Row) -> str:
    if row.norm == "linf":
        levels = row.epsilon * _GREY_LEVELS
        return f"change each pixel by at most {row.epsilon:.3g} ({levels:.3g} of {_GREY_LEVELS} grey levels)"
    return f"change an image by an l2 norm of at most {row.epsilon:.3g}, for pixels in [0, 1]"


def _noticed(row: Row, rate: float) -> str:
    """Of an attack that succeeds, at that rate of false rejections."""
    share = 1 - row.undetected[rate].mean / row.success.mean
    return (
        f"the detector {row.detector} notices {rate_text(share)} of these successes at "
        f"{rate_text(rate)} false rejections"
    )
