"""The page of a rejection experiment: tables, checks, curves and pictures of what has finished."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from faceverif.config.reading import config_text
from faceverif.file_names import FIGURES_NAME, REPORT_NAME
from faceverif.report.pages import flat_text, write_page
from faceverif.report.plotting import Panel, house_style, line_styles
from faceverif.report.svg import Drawing, page_colour, save_panels
from robustness.config.attack_section import AttackSection
from robustness.config.attacks import PairGoal
from robustness.rejection.config import PaperNumbers, RejectionConfig
from robustness.rejection.figures import (
    POSTERIOR,
    curves_panels,
    escapes_panels,
    histogram_panels,
    posterior_panels,
    queries_panel,
    sweep_panels,
)
from robustness.rejection.findings import Finding, Row, headline_epsilon, rows_of
from robustness.rejection.headline import headlines
from robustness.rejection.masking import CHECKS, VERDICTS, Verdict
from robustness.rejection.strips import strip_panels
from robustness.rejection.trial_files import TrialScores
from robustness.rejection.worst import WorstCase, worst_cases, worst_rows


@dataclass(frozen=True)
class ShownFigure:
    """A figure of the page.

    Attributes:
        caption: how to read it.
        drawings: its panels.
    """

    caption: str
    drawings: list[Drawing]


@dataclass(frozen=True)
class CheckCount:
    """How many trainings got one verdict of one check.

    Attributes:
        verdict: pass, warning or not run.
        goal: of the attacks on pairs; None for those on images of the classes.
        trainings: how many, of all models.
        whose: the model and training that comes first.
        text: what was seen there.
    """

    verdict: Verdict
    goal: PairGoal | None
    trainings: int
    whose: str
    text: str

    @classmethod
    def of(cls, group: Sequence[Mapping[str, Any]]) -> CheckCount:
        """Of checks as result.json holds them, which share a verdict and a goal."""
        first = group[0]
        whose = f"{first['model']}, training {first['training']}"
        return cls(first["verdict"], first["goal"], len(group), whose, first["text"])


@dataclass(frozen=True)
class ShownAttack:
    """What the page shows of one attack.

    Attributes:
        label: of the attack.
        about: what it does, in one line.
        norm, epsilon: the size that the pictures are of.
        rows: models x sizes.
        pictures: sweep, curves, histograms.
        strips: images, one strip per model.
    """

    label: str
    about: str
    norm: str
    epsilon: float
    rows: list[Row]
    pictures: list[ShownFigure]
    strips: list[ShownFigure]

    @property
    def heading(self) -> str:
        """The attack and the size."""
        return f"{self.label} {self.norm} {self.epsilon:.3g}"


@dataclass(frozen=True)
class Part:
    """The closed set, or the open set under one goal.

    Attributes:
        goal: of the attacks on pairs; None for the closed set.
        sections: one per attack.
        escapes: every attack over epsilon, past the own detectors; None where there is one size only.
        headlines: model -> what it takes to fool it, and how much of that is noticed.
        worst_cases: model -> the attack and size under which it gives most wrong answers.
        worst_rows: model -> the row of the attack and size with the most undetected successes.
        summary: model -> its rows under every attack, each at its largest size below the whole box.
        controls: changes that are no attack.
        others: every detector against every attack, at the same sizes.
    """

    goal: PairGoal | None
    sections: list[ShownAttack]
    escapes: ShownFigure | None
    headlines: dict[str, str]
    worst_cases: dict[str, WorstCase]
    worst_rows: dict[str, Row]
    summary: dict[str, dict[str, Row]]
    controls: list[Row]
    others: list[Row]

    @property
    def numbers(self) -> dict[str, Any]:
        """Model -> its sentence and its worst case, for the summary of the page."""
        return {
            model: {"headline": self.headlines[model]} | asdict(case)
            for model, case in self.worst_cases.items()
        }

    def strongest_first(self, rate: float) -> list[ShownAttack]:
        """The sections; attacks that get most past the models' detectors on average come first.

        Args:
            rate: of false rejections.
        """

        def undetected(section: ShownAttack) -> float:
            rows = (by_attack.get(section.label) for by_attack in self.summary.values())
            return statistics.fmean(row.undetected[rate].mean for row in rows if row is not None)

        return sorted(self.sections, key=undetected, reverse=True)


def write_rejection_report(
    config: RejectionConfig, findings: Sequence[Finding], result: Mapping[str, Any], out: Path
) -> Path:
    """Write report.html, and its pictures in figures/.

    Args:
        config: the experiment.
        findings: of the trials that have finished.
        result: what result.json holds.
        out: the experiment's folder.
    """
    goals: list[PairGoal | None] = [None, *(config.pairs.goals if config.pairs else ())]
    with house_style():
        parts = [_part(config, goal, findings, out) for goal in goals]
    parts = [part for part in parts if part.headlines]
    return write_page(
        out / REPORT_NAME,
        "rejection.html.j2",
        kind="Rejection of adversarial inputs",
        title=config.title,
        numbers={part.goal or "closed set": part.numbers for part in parts},
        config=config,
        result=result,
        rates=sorted(config.rates),
        parts=parts,
        checks=summed_checks(result["checks"]),
        published=_published(config, findings),
        provenance=flat_text(result["provenance"]),
        settings=config_text(config),
        colours={
            name: page_colour(style["color"])
            for name, style in line_styles(model.name for model in config.models).items()
        },
    )


def _part(config: RejectionConfig, goal: PairGoal | None, findings: Sequence[Finding], out: Path) -> Part:
    """What has finished of the closed set, or of one goal on pairs."""
    of_goal = [finding for finding in findings if finding.trial.goal == goal]
    mine = [finding for finding in of_goal if finding.attackable]
    attacks = config.attacks if goal is None else config.pair_attacks
    largest = {attack.called: headline_epsilon(attack.called, mine) for attack in attacks}
    sections = [
        _section(config, attack, epsilon, mine, out)
        for attack in attacks
        if (epsilon := largest[attack.called]) is not None
    ]
    rows = rows_of(mine)
    summary: dict[str, dict[str, Row]] = {}
    for row in rows:
        if not row.control and row.epsilon == largest[row.label]:
            summary.setdefault(row.model, {})[row.label] = row
    others = [
        row
        for name in dict.fromkeys((*(model.detector for model in config.models), *config.detectors))
        for row in rows_of(mine, detector=name)
        if not row.control and row.epsilon == largest[row.label]
    ]
    return Part(
        goal=goal,
        sections=sections,
        escapes=_escapes(rows, goal, config, out),
        headlines={each.model: each.text for each in headlines(of_goal, rate=max(config.rates))},
        worst_cases=worst_cases(mine, rate=max(config.rates)),
        worst_rows=worst_rows(rows, rate=max(config.rates)),
        summary=summary,
        controls=[row for row in rows if row.control],
        others=others,
    )


def _escapes(
    rows: Sequence[Row], goal: PairGoal | None, config: RejectionConfig, out: Path
) -> ShownFigure | None:
    """The curve of every attack on whole images in linf; those of others stand in their own sections."""
    attacks = [row for row in rows if row.limited and not (row.control or row.local)]
    drawn = [row for row in attacks if row.norm == "linf"]
    if len({row.epsilon for row in drawn}) < 2:
        return None
    rate = max(config.rates)  # at which most is rejected
    caption = (
        f"Success that the model's own detector does not notice at {100 * rate:g} % false rejections, "
        "over epsilon in linf. Only attacks that know the detector show what it withstands."
    )
    panels = escapes_panels(drawn, rate=rate, models=[model.name for model in config.models])
    return _saved("-".join(filter(None, (goal, "escapes"))), panels, caption, out)


def _section(
    config: RejectionConfig, attack: AttackSection, epsilon: float, findings: Sequence[Finding], out: Path
) -> ShownAttack:
    """The section of an attack that has been run."""
    label = attack.called
    rows = [row for row in rows_of(findings) if row.label == label]
    shown = _first_trainings(findings, label, epsilon)
    stem = "-".join(filter(None, (rows[0].goal, label)))
    scores = {model: finding.scores() for model, finding in shown.items()}
    styles = line_styles(model.name for model in config.models)
    detectors = {model: finding.own_detector for model, finding in shown.items()}

    def figure(name: str, panels: Sequence[Panel], caption: str) -> ShownFigure:
        return _saved(f"{stem}-{name}", panels, caption, out)

    pictures = []
    if len({row.epsilon for row in rows}) > 1:
        note = "Bands: one standard deviation over trainings, or the 95 % interval of a single one."
        pictures.append(figure("sweep", sweep_panels(rows, styles, rate=max(config.rates)), note))
    note = f"{attack.norm} {epsilon:g}, first training of each model; dots mark the equal error rate."
    pictures.append(figure("curves", curves_panels(scores, detectors, styles), note))
    note = (
        "Higher is more adversarial; dashed: the thresholds. The few scores beyond the axis are drawn at its "
        "ends."
    )
    pictures.append(figure("scores", histogram_panels(scores, shown, styles), note))
    counted = {model: its for model, its in scores.items() if its.queries is not None}
    if counted:
        pictures.append(figure("queries", [queries_panel(counted, styles)], _queries_needed(counted)))
    if all(POSTERIOR in its.clean for its in scores.values()):
        note = "Probability of the predicted class; clean images beside the attacked ones."
        pictures.append(figure("posterior", posterior_panels(scores, styles), note))
    strips = [figure(f"images-{model}", strip_panels(finding), model) for model, finding in shown.items()]
    about = (type(attack).__doc__ or "").partition("\n")[0]
    return ShownAttack(label, about, attack.norm, epsilon, rows, pictures, strips)


def _queries_needed(scores: Mapping[str, TrialScores]) -> str:
    """The caption of the curves: how many queries a success took."""
    texts = []
    for model, its in scores.items():
        assert its.queries is not None  # the caller looked
        needed = its.queries[its.verdicts.success]
        took = f"median {np.median(needed):,.0f} queries" if len(needed) else "no success"
        texts.append(f"{model}: {took}")
    return f"First training of each model. Of the successes: {'; '.join(texts)}."


def _first_trainings(findings: Sequence[Finding], label: str, epsilon: float) -> dict[str, Finding]:
    first: dict[str, Finding] = {}
    for finding in findings:
        if (finding.trial.label, finding.trial.epsilon) == (label, epsilon):
            first.setdefault(finding.trial.model, finding)
    return first


def _saved(name: str, panels: Sequence[Panel], caption: str, out: Path) -> ShownFigure:
    named = [replace(panel, name="-".join(filter(None, (name, panel.name)))) for panel in panels]
    return ShownFigure(caption, save_panels(named, out / FIGURES_NAME))


def _published(config: RejectionConfig, findings: Sequence[Finding]) -> list[tuple[PaperNumbers, Row]]:
    """The paper's numbers, each with our row."""
    closed = [finding for finding in findings if finding.trial.goal is None]
    ours = {(row.model, row.label, row.epsilon): row for row in rows_of(closed)}
    rows = ((each, ours.get((each.model, each.attack, each.epsilon))) for each in config.published)
    return [(each, row) for each, row in rows if row is not None]


def summed_checks(checks: Sequence[Mapping[str, Any]]) -> dict[str, list[CheckCount]]:
    """The verdicts of each check, by its name; the worst comes first, so that no pass hides it.

    Args:
        checks: as in result.json.
    """
    goals = [None, *get_args(PairGoal)]
    summed: dict[str, list[CheckCount]] = {}
    for name in CHECKS:
        groups: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for check in checks:
            if check["name"] == name:
                key = VERDICTS.index(check["verdict"]), goals.index(check["goal"])
                groups.setdefault(key, []).append(check)
        if groups:
            summed[name] = [CheckCount.of(groups[key]) for key in sorted(groups)]
    return summed
