"""What a report says first: what it takes to fool a model, and how much of it its detector notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustness.config.attacks import PairGoal
from robustness.rejection.findings import Finding, Row, is_limited, rows_of

# A model is called fooled from this share of successes on.
_FOOLED = 0.5
# Errors without an attack are said above the first share; above the second, the rest describes few images.
_SOME_ERRORS, _MANY_ERRORS = 0.1, 0.5
_GREY_LEVELS = 255


@dataclass(frozen=True)
class Headline:
    """The sentence about one model, for the person who decides whether to use it.

    Attributes:
        model: which.
        goal: of the attacks on pairs; None for those on images of the classes.
        text: the sentence. A model that errs without an attack has that said first.
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
    """The sentence about each model and goal, in the order of the findings.

    It is about small changes of the whole image. Where none was tried, it says so.

    Args:
        findings: of finished trials.
        rate: of false rejections, of the models' own detectors.
    """
    groups: dict[tuple[str, PairGoal | None], list[Row]] = {}
    for row in rows_of(findings):
        groups.setdefault((row.model, row.goal), []).append(row)
    return [
        Headline(model, goal, _errors(rows, _WORDS[goal]) + _sentence(rows, _WORDS[goal], rate=f"{rate:g}"))
        for (model, goal), rows in groups.items()
    ]


def _sentence(rows: Sequence[Row], words: _Words, *, rate: str) -> str:
    attacks = [row for row in rows if is_limited(row) and not row.control]
    small = [row for row in attacks if not row.local]  # a patch has another size than epsilon
    if small:
        return _of_small_changes(_of_one_norm(small), words, rate=rate)
    if attacks:
        return _of_patches(attacks, words, rate=rate)
    fool = words.fool.format(model=rows[0].model)
    return f"No attack with a limited change has finished, so nothing is known of what it takes to {fool}."


def _of_one_norm(rows: Sequence[Row]) -> list[Row]:
    """Sizes in two norms cannot be compared: those in linf, if there are any."""
    return [row for row in rows if row.norm == "linf"] or list(rows)


def _of_patches(rows: Sequence[Row], words: _Words, *, rate: str) -> str:
    row = max(rows, key=lambda row: (row.success.mean, row.undetected[rate].mean))
    return (
        f"By changing a region of the face only, {row.label} manages to {words.fool.format(model=row.model)} "
        f"on {_percent(row.success.mean)} of the {words.right}; {_noticed(row, rate)}."
    )


def _of_small_changes(rows: Sequence[Row], words: _Words, *, rate: str) -> str:
    fool = words.fool.format(model=rows[0].model)
    fooled = [row for row in rows if row.success.mean >= _FOOLED]
    smallest = min((row.epsilon for row in fooled), default=None)
    # Of the attacks that suffice at the smallest size, the one that most escapes the detector.
    row = max(
        (row for row in fooled if row.epsilon == smallest) if fooled else rows,
        key=lambda row: (row.undetected[rate].mean, row.success.mean) if fooled else row.success.mean,
    )
    if row.success.mean == 0:
        largest = max(rows, key=lambda row: row.epsilon)
        return f"No attack that was tried manages to {fool}; the strongest of them may {_change(largest)}."
    if fooled:
        taken = (
            f"To {fool} on at least half of the {words.right}, it is enough to {_change(row)}: "
            f"{row.label} succeeds on {_percent(row.success.mean)}"
        )
    else:
        taken = (
            f"No attack that was tried manages to {fool} on half of the {words.right}: "
            f"the most is {_percent(row.success.mean)}, by {row.label}, which may {_change(row)}"
        )
    return f"{taken}; {_noticed(row, rate)}."


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
    """At that rate of false rejections."""
    success, undetected = row.success.mean, row.undetected[rate].mean
    if success == 0:
        return f"there was nothing for the detector {row.detector} to notice"
    return (
        f"the detector {row.detector} notices {_percent(1 - undetected / success)} of these successes at "
        f"{_percent(float(rate))} false rejections"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
