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

    Args:
        findings: of finished trials.
        rate: of false rejections, of the models' own detectors.
    """
    groups: dict[tuple[str, PairGoal | None], list[Row]] = {}
    for row in rows_of(findings):
        if is_limited(row) and not (row.control or row.local):  # a patch has another size than epsilon
            groups.setdefault((row.model, row.goal), []).append(row)
    return [
        Headline(model, goal, _sentence(_of_one_norm(rows), _WORDS[goal], rate=rate))
        for (model, goal), rows in groups.items()
    ]


def _of_one_norm(rows: Sequence[Row]) -> list[Row]:
    """Sizes in two norms cannot be compared: those in linf, if there are any."""
    return [row for row in rows if row.norm == "linf"] or list(rows)


def _sentence(rows: Sequence[Row], words: _Words, *, rate: float) -> str:
    model, key = rows[0].model, f"{rate:g}"
    fooled = [row for row in rows if row.success.mean >= _FOOLED]
    smallest = min((row.epsilon for row in fooled), default=None)
    # Of the attacks that suffice at the smallest size, the one that most escapes the detector.
    row = max(
        (row for row in fooled if row.epsilon == smallest) if fooled else rows,
        key=lambda row: (row.undetected[key].mean, row.success.mean) if fooled else row.success.mean,
    )
    fool = words.fool.format(model=model)
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
    return f"{_errors(rows, words)}{taken}; {_noticed(row, key)} at {_percent(rate)} false rejections."


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
    success, undetected = row.success.mean, row.undetected[rate].mean
    if success == 0:
        return f"there was nothing for the detector {row.detector} to notice"
    return f"the detector {row.detector} notices {_percent(1 - undetected / success)} of these successes"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
