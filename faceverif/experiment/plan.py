"""The runs of a table: each with its checked settings, and where in the table these are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from data_prep.errors import InputError
from faceverif.config.reading import validate_config
from faceverif.config.section import merged
from faceverif.experiment.config import CaseConfig, ExperimentConfig, MethodConfig
from faceverif.experiment.kinds import RUN_KINDS, RunSettings


@dataclass(frozen=True)
class PlannedRun:
    """A run of an experiment.

    Attributes:
        method, case: where in the table; case is None where there are none.
        config: all its settings, checked.
        start_from: the method whose run it refines.
    """

    method: str
    case: str | None
    config: RunSettings
    start_from: str | None

    @property
    def name(self) -> str:
        """METHOD/seedK or METHOD/CASE/seedK: for people, and below the experiment's folder."""
        return self._name_of(self.method)

    @property
    def start(self) -> str | None:
        """The name of the run that it refines."""
        return None if self.start_from is None else self._name_of(self.start_from)

    def _name_of(self, method: str) -> str:
        return "/".join(filter(None, (method, self.case, f"seed{self.config.seed}")))


def plan_runs(experiment: ExperimentConfig, *, source: str, only: Sequence[str] = ()) -> list[PlannedRun]:
    """All runs of a table, each with checked settings; every method once before any of them twice.

    Args:
        experiment: the table.
        source: where it comes from, for messages.
        only: names of methods and of cases; the others of their kind are left out. Empty: all.

    Raises:
        InputError: an unknown name, or settings that break a rule, with the method's name.
    """
    methods, cases = _chosen(experiment, only)
    places = [
        (number, case, method) for method in methods for case in cases for number in range(len(method.seeds))
    ]
    # Sorting is stable, so methods keep their order.
    places.sort(key=lambda place: (place[0], cases.index(place[1])))
    return [
        _planned(experiment, method, case, method.seeds[number], source=source)
        for number, case, method in places
    ]


def _chosen(
    experiment: ExperimentConfig, only: Sequence[str]
) -> tuple[list[MethodConfig], list[CaseConfig | None]]:
    methods, cases = experiment.methods, experiment.cases
    known = [*(method.name for method in methods), *(case.name for case in cases)]
    for name in only:
        if name not in known:
            raise InputError(
                "--only",
                f"must name a method or a case of {experiment.name}",
                got=name,
                fix=f"Known: {known}.",
            )
    chosen_methods = [method for method in methods if method.name in only] or list(methods)
    chosen_cases: list[CaseConfig | None] = [case for case in cases if case.name in only] or list(cases)
    return chosen_methods, chosen_cases or [None]


def _planned(
    experiment: ExperimentConfig, method: MethodConfig, case: CaseConfig | None, seed: int, *, source: str
) -> PlannedRun:
    settings = merged(experiment.common, case.settings if case else {})
    settings = merged(settings, method.settings) | {"seed": seed}
    place = f"method {method.name}" + (f", case {case.name}" if case else "")
    kind = RUN_KINDS[experiment.task]
    written_at = partial(_written_at, experiment, method, case)
    config = validate_config(kind.config_type, settings, source=f"{source} ({place})", written_at=written_at)
    known = kind.metrics(config)
    for key, metric in [("metric", experiment.metric), *(("beside", metric) for metric in experiment.beside)]:
        if metric not in known:
            fix = f"Known for {place}: {', '.join(known) or 'none, since its verification is empty'}."
            raise InputError(key, "must be measured by every run", got=metric, fix=fix)
    return PlannedRun(method.name, case.name if case else None, config, method.start_from)


def _written_at(experiment: ExperimentConfig, method: MethodConfig, case: CaseConfig | None, key: str) -> str:
    """The key path of a run's setting in the table: below the method, the case or `common`."""
    if _holds(method.settings, key):
        return f"methods.{experiment.methods.index(method)}.settings.{key}"
    if case is not None and _holds(case.settings, key):
        return f"cases.{experiment.cases.index(case)}.settings.{key}"
    return f"common.{key}"


def _holds(settings: dict[str, Any], key: str) -> bool:
    """Whether settings hold a key, or the section with a `name` of its own that the key would be in."""
    place: Any = settings
    for part in key.split("."):
        if isinstance(place, dict) and part in place:
            place = place[part]
        elif isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        else:
            return place is not settings and isinstance(place, dict) and "name" in place
    return True


def advice_in_a_table(fix: str) -> str:
    """Advice about a run's settings, for those who have them below `common` in a table."""
    return fix.replace("--set ", "--set common.")
