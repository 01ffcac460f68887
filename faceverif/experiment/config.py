"""A table of a paper as a YAML: methods x cases x seeds, each a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from faceverif.config.reading import load_config
from faceverif.config.section import NotNegative, Section, Seed
from faceverif.experiment.kinds import KindName
from faceverif.file_names import FIGURES_NAME, REPORT_NAME, SUMMARY_NAME
from faceverif.report.run_metrics import metric_named

TABLE_NAME = "table"

# Names become folders, beside the files of the table.
Name = Annotated[str, Field(pattern=r"^\w[\w.+=-]*$", max_length=100)]
_RESERVED = {f"{TABLE_NAME}.json", f"{TABLE_NAME}.md", REPORT_NAME, SUMMARY_NAME, FIGURES_NAME}


class PublishedNumberConfig(Section):
    """What the paper gives, in the unit of the metric: rates are fractions.

    Attributes:
        mean: the number; null where the paper has none.
        sd: its standard deviation, where the paper gives one.
    """

    mean: float | None = None
    sd: NotNegative | None = None


class MethodConfig(Section):
    """A row of the table.

    Attributes:
        name: of the row, and of its folder.
        seeds: a run each.
        published: the paper's number, in a table without cases.
        published_beside: by metric, the paper's numbers of the columns beside it.
        settings: what differs from `common`, nested as there; a section whose `name` changes is
            replaced whole.
        start_from: an earlier row whose runs, of the same case and seed, are refined.
    """

    name: Name
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    published: PublishedNumberConfig = PublishedNumberConfig()
    published_beside: dict[str, PublishedNumberConfig] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    start_from: Name | None = None


class CaseConfig(Section):
    """A setting under which every method is run: a depth, a rate of noise, a number of classes.

    Attributes:
        name: of the case, and of its folder.
        published: the paper's numbers by method.
        published_beside: by metric, those of the columns beside it, by method.
        settings: what differs from `common`; a method's own settings come after it.
    """

    name: Name
    published: dict[str, PublishedNumberConfig] = Field(default_factory=dict)
    published_beside: dict[str, dict[str, PublishedNumberConfig]] = Field(default_factory=dict)
    settings: dict[str, Any]


class ExperimentConfig(Section):
    """A table.

    Attributes:
        name: for files and folders.
        title: for people.
        source: paper and table that it repeats; empty: none.
        task: what its runs are: images, as for `faceverif classify`, or faces, as for `faceverif train`.
        metric: what is compared. Of images: error, top5_error, macro_f1, nmi, recall_at_1 (2, 4, 8), ece,
            nll or all_negative, and ten_crop_error or ten_crop_top5_error where `training.test_crops` is 10;
            of faces: the accuracy, eer or auc of a protocol that `common` verifies, as in lfw-view2/accuracy.
        beside: further metrics, a column each, without a comparison.
        quoted: rows that the paper quotes from others and that are not run here, with their numbers.
        baseline: the method that the others are compared with.
        common: settings of every run, as in `ClassificationConfig` or `RunConfig`; the seed comes from the
            methods.
        cases: none for a table with one number a method.
        methods: the rows.
    """

    name: Name
    title: str
    source: str = ""
    task: KindName = "images"
    metric: str
    beside: tuple[str, ...] = ()
    quoted: dict[str, PublishedNumberConfig] = Field(default_factory=dict)
    baseline: str
    common: dict[str, Any]
    cases: tuple[CaseConfig, ...] = ()
    methods: Annotated[tuple[MethodConfig, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_fit(self) -> ExperimentConfig:
        methods = [method.name for method in self.methods]
        names = [*methods, *(case.name for case in self.cases)]
        if len(set(names)) != len(names):
            raise ValueError("two methods or cases have the same name")
        if taken := _RESERVED & set(names):
            raise ValueError(f"{min(taken)} is a name that the table itself needs")
        if self.baseline not in methods:
            raise ValueError(f"the baseline must be one of the methods: {', '.join(methods)}")
        for case in self.cases:
            unknown = set(case.published).union(*case.published_beside.values()) - set(methods)
            if unknown:
                raise ValueError(
                    f"case {case.name} has a published number for {min(unknown)}, which is not a method"
                )
        if set(self.quoted) & set(methods):
            raise ValueError(f"{min(set(self.quoted) & set(methods))} is both in `quoted` and in `methods`")
        return self

    @model_validator(mode="after")
    def _columns_fit(self) -> ExperimentConfig:
        if len({self.metric, *self.beside}) != 1 + len(self.beside):
            raise ValueError("a metric has two columns")
        named = {metric for method in self.methods for metric in method.published_beside}
        named |= {metric for case in self.cases for metric in case.published_beside}
        if named - set(self.beside):
            raise ValueError(
                f"{min(named - set(self.beside))} has published numbers but is not listed in `beside`"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> ExperimentConfig:
        parts = [
            self.common,
            *(row.settings for row in self.methods),
            *(case.settings for case in self.cases),
        ]
        if any("seed" in settings for settings in parts):
            raise ValueError("seed is set by the seeds of the methods; leave it out of the settings")
        if any(len(set(method.seeds)) != len(method.seeds) for method in self.methods):
            raise ValueError("a method has the same seed twice")
        seeds = {method.name: set(method.seeds) for method in self.methods}
        for method, own in seeds.items():
            if not own & seeds[self.baseline]:
                raise ValueError(f"{method} must share a seed with the baseline, or nothing can be compared")
        numbers = [
            number for row in self.methods for number in (row.published, *row.published_beside.values())
        ]
        if self.cases and any(number.mean is not None for number in numbers):
            raise ValueError("in a table with cases, published numbers stand with the cases")
        return self

    @model_validator(mode="after")
    def _starts_exist(self) -> ExperimentConfig:
        earlier: dict[str, MethodConfig] = {}
        for method in self.methods:
            start = method.start_from
            if start is not None and (
                start not in earlier or method.seeds != earlier[start].seeds[: len(method.seeds)]
            ):
                raise ValueError(
                    f"{method.name} must start from an earlier method that begins with its seeds"
                )
            earlier[method.name] = method
        return self

    @model_validator(mode="after")
    def _published_rates_are_fractions(self) -> ExperimentConfig:
        numbers = [(self.metric, number) for number in self.quoted.values()]
        for metric in (self.metric, *self.beside):
            numbers += [
                (metric, self.published(method.name, case.name if case else None, metric))
                for method in self.methods
                for case in self.cases or (None,)
            ]
        for metric, number in numbers:
            if metric_named(metric).is_rate and number.mean is not None and not 0 <= number.mean <= 1:
                raise ValueError(f"published rates are fractions; {number.mean:g} is not in [0, 1]")
        return self

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller number of its metric is the better one."""
        return metric_named(self.metric).lower_is_better

    def published(self, method: str, case: str | None, metric: str) -> PublishedNumberConfig:
        """The paper's number of a cell of the table, of the metric that is compared or of one beside it."""
        none = PublishedNumberConfig()
        if case is None:
            row = next(row for row in self.methods if row.name == method)
            return row.published if metric == self.metric else row.published_beside.get(metric, none)
        column = next(column for column in self.cases if column.name == case)
        by_method = column.published if metric == self.metric else column.published_beside.get(metric, {})
        return by_method.get(method, none)


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read an experiment's YAML.

    Args:
        path: the file.
        overrides: `a.b=c`, as in `common.training.epochs=3` or `methods.0.seeds=[0]`.

    Raises:
        InputError: no such file, not YAML, an unknown key, or a value that breaks a rule.
    """
    return load_config(ExperimentConfig, path, list(overrides))
