"""What a report says first: what it takes to fool a model, and how much of it its detector notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from faceverif.perturbation.norm import Norm
from robustness.config.attacks import PairGoal
from robustness.rejection.findings import Finding, Row, is_limited, rows_of

# A model is called fooled from this share of successes on.
_FOOLED = 0.5
# Errors without an attack are said above the first share; above the second, the rest describes few images.
_SOME_ERRORS, _MANY_ERRORS = 0.1, 0.5
_GREY_LEVELS = 255


@dataclass(frozen=True)
class Headline:
    """What is said of one model, for the person who decides whether to use it.

    Attributes:
        model: which.
        goal: of the attacks on pairs; None for those on images of the classes.
        text: a sentence for each norm that was tried, and one for patches. A model that errs without an
            attack has that said first.
    """

    model: str
    goal: PairGoal | None
    text: str


@dataclass(frozen=True)
class _Words:
    """How attacks of one goal are spoken of.

    Attributes:
        fool: what an attack does to the model.
        right: what it does it to.
        wrong: what the model gets wrong without an attack.
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
    groups: dict[tuple[str, PairGoal | None], list[Row]] = {}
    for row in rows_of(findings):
        groups.setdefault((row.model, row.goal), []).append(row)
    return [
        Headline(model, goal, _errors(rows, _WORDS[goal]) + _sentences(rows, _WORDS[goal], rate=f"{rate:g}"))
        for (model, goal), rows in groups.items()
    ]


def _sentences(rows: Sequence[Row], words: _Words, *, rate: str) -> str:
    """One for each way of measuring a change, since sizes of different kinds cannot be compared."""
    attacks = [row for row in rows if is_limited(row) and not row.control]
    whole = [[row for row in attacks if row.norm == norm and not row.local] for norm in get_args(Norm)]
    texts = [_of_whole_images(same_norm, words, rate=rate) for same_norm in whole if same_norm]
    if patches := [row for row in attacks if row.local]:  # whose size is no epsilon
        texts.append(_of_patches(patches, words, rate=rate))
    if not texts:
        fool = words.fool.format(model=rows[0].model)
        return (
            f"No attack with a limited change has finished, so nothing is known of what it takes to {fool}."
        )
    return " ".join(texts)


def _of_patches(rows: Sequence[Row], words: _Words, *, rate: str) -> str:
    row = max(rows, key=lambda row: (row.success.mean, row.undetected[rate].mean))
    fool = words.fool.format(model=row.model)
    if row.success.mean == 0:
        return f"Of the attacks tried that change a region of the face only, none manages to {fool}."
    return (
        f"By changing a region of the face only, {row.label} manages to {fool} on "
        f"{_percent(row.success.mean)} of the {words.right}; {_noticed(row, rate)}."
    )


def _of_whole_images(rows: Sequence[Row], words: _Words, *, rate: str) -> str:
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
            f"{row.label} succeeds on {_percent(row.success.mean)}; {_noticed(row, rate)}."
        )
    row, largest = max(rows, key=lambda row: row.success.mean), max(rows, key=lambda row: row.epsilon)
    none = f"Of the attacks tried that {_change(largest)}, none manages to {fool}"
    if row.success.mean == 0:
        return f"{none}."
    return (
        f"{none} on half of the {words.right}: the most is {_percent(row.success.mean)}, by {row.label} at "
        f"epsilon {row.epsilon:.3g}; {_noticed(row, rate)}."
    )


def _errors(rows: Sequence[Row], words: _Words) -> str:
    """What is wrong without an attack, measured on the most images; empty where that is little."""
    wrong = 1 - max(rows, key=lambda row: row.images).clean_accuracy.mean
    said = f"{rows[0].model} decides wrongly on {_percent(wrong)} of the {words.wrong} without any attack"
    if wrong > _MANY_ERRORS:
        return f"{said}, so what follows is about the few others. "
    return f"{said}. " if wrong > _SOME_ERRORS else ""


def _change(row: Row) -> str:
    if row.norm == "linf":
        levels = row.epsilon * _GREY_LEVELS
        return f"change each pixel by at most {row.epsilon:.3g} ({levels:.3g} of {_GREY_LEVELS} grey levels)"
    return f"change an image by an l2 norm of at most {row.epsilon:.3g}, for pixels in [0, 1]"


def _noticed(row: Row, rate: str) -> str:
    """Of an attack that succeeds, at that rate of false rejections."""
    share = 1 - row.undetected[rate].mean / row.success.mean
    return (
        f"the detector {row.detector} notices {_percent(share)} of these successes at "
        f"{_percent(float(rate))} false rejections"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
