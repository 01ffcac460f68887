"""What an audit found, and whether its model can judge at all."""

from __future__ import annotations

from dataclasses import dataclass

from faceverif.audit.people import People
from faceverif.audit.questions import Answer
from faceverif.audit.thresholds import MatchThreshold, StrangerThreshold
from faceverif.report.numbers import percent

_FEWEST_MATCHES = 0.5  # share of the true matches that a model must find
_MOST_FALSE = 0.5  # expected share of false alarms from which on an answer says little


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        train, against: the sets' photos.
        match: when identities count as one person.
        stranger: when a photo is far from its identity.
        answers: one per question.
    """

    train: People
    against: People
    match: MatchThreshold
    stranger: StrangerThreshold
    answers: list[Answer]

    @property
    def warnings(self) -> list[str]:
        """Why the model cannot judge these sets, one sentence each; empty where it can."""
        warnings = [_match_warning(self.match), *(_answer_warning(answer) for answer in self.answers)]
        return [warning for warning in warnings if warning is not None]

    def text(self) -> str:
        """A few lines for the user, the warnings first."""
        match, stranger = self.match, self.stranger
        return "\n".join(
            [
                *(f"warning: {warning}" for warning in self.warnings),
                f"one person from cosine {match.threshold:.3f} of two centres on: false match rate "
                f"{match.false_match_rate:g}, true match rate {percent(match.true_match_rate, 1)} %",
                f"far from its identity below cosine {stranger.threshold:.3f}: {stranger.false_alarms} of "
                f"{stranger.photos:,} photos of the evaluation set",
                *(_line(answer) for answer in self.answers),
            ]
        )


def _match_warning(match: MatchThreshold) -> str | None:
    if match.threshold > 1:
        return (
            f"the model is too weak to find people in both sets: its match threshold is "
            f"{match.threshold:.3f}, and no cosine lies above 1"
        )
    if match.true_match_rate < _FEWEST_MATCHES:
        return (
            f"the model is too weak to find people in both sets: {percent(match.true_match_rate, 1)} % of "
            "the pairs of the same person reach its match threshold"
        )
    return None


def _answer_warning(answer: Answer) -> str | None:
    expected, found = answer.expected_false_alarms, len(answer.suspicions)
    if expected is None or not found or expected < _MOST_FALSE * found:
        return None
    return (
        f"the model is too weak for '{answer.title.lower()}': {min(expected, found):.1f} of the "
        f"{found:,} found are expected to be false alarms"
    )


def _line(answer: Answer) -> str:
    words = f"{len(answer.suspicions):>6,}  {answer.title.lower()}"
    if answer.expected_false_alarms is None:
        return words
    return f"{words}; {answer.expected_false_alarms:.1f} of them expected to be false alarms"
