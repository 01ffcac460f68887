"""One change of one model's images: run portion by portion, measured, and kept as three files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.atomic import write_text, written_whole
from robustness.attacked_model import AttackedModel
from robustness.attacks import ATTACKS, PAIR_ATTACKS, AttackResult, AttackSection, PairGoal
from robustness.attacks.section import includes
from robustness.attacks.traits import Traits
from robustness.features import Features, extract_features
from robustness.rejection.config import RejectionConfig
from robustness.rejection.controls import controlled
from robustness.rejection.outcome import Outcome, Verdicts, measure_outcome
from robustness.rejection.subject import CalibratedModel, Subject
from robustness.threat_model import Norm, ThreatModel

PICTURES = 8

# The model's own detector is what tables show; the others are there to be compared with it.
_DRAWS, _DRAWS_OF_OTHERS = 1000, 100
# Between the seeds of two portions, so that the portions within an attack have theirs.
SEED_STRIDE = 1000


@dataclass(frozen=True)
class Trial:
    """What is done to the evaluated images of a training.

    Attributes:
        model, training: whose images.
        label: of the attack, or the name of the control.
        norm, epsilon: size of the change.
        attack: how; None for a control.
        images: only so many; None: all.
        goal: of an attack on pairs, or whose pairs a control changes; None for images of the classes.
    """

    model: str
    training: int
    label: str
    norm: Norm
    epsilon: float
    attack: AttackSection | None
    images: int | None
    goal: PairGoal | None = None

    @property
    def path(self) -> str:
        """Below the experiment's folder, without a suffix."""
        folder = "/".join(filter(None, ("trials", self.model, f"training-{self.training}", self.goal)))
        return f"{folder}/{self.label}-{self.norm}-{self.epsilon:g}"

    @property
    def traits(self) -> Traits | None:
        """What the attack declares about itself; None for a control."""
        if self.attack is None:
            return None
        attacks = ATTACKS if self.goal is None else PAIR_ATTACKS
        return attacks[self.attack.name].traits

    def settings(self) -> dict[str, Any]:
        """What its numbers depend on, as plain values."""
        elsewhere = {"epsilons", "label", "trainings"}
        attack = None if self.attack is None else self.attack.model_dump(exclude=elsewhere)
        described = {name: getattr(self, name) for name in ("goal", "label", "norm", "epsilon", "images")}
        return described | {"attack": attack}


@dataclass(frozen=True)
class Change:
    """What a portion of a trial made of its images.

    Attributes:
        before, after: (N, C, H, W) images in [0, 1].
        clean, attacked: what the model makes of them.
        verdicts: on the attack.
        sizes: (N,) norm of each change.
        columns: more to be kept of every image, (N,) each.
        references: (N, C, H, W), what they are compared with; None for images of the classes.
    """

    before: Tensor
    after: Tensor
    clean: Features
    attacked: Features
    verdicts: Verdicts
    sizes: Tensor
    columns: dict[str, Tensor]
    references: Tensor | None = None

    def pictures(self) -> dict[str, NDArray[Any]]:
        """The first few images, for a strip."""
        shown = {"clean": self.before, "attacked": self.after, "reference": self.references}
        return {
            name: images[:PICTURES].half().numpy() for name, images in shown.items() if images is not None
        }


@dataclass(frozen=True)
class TrialScores:
    """What a trial's Parquet file holds, an entry an image.

    Attributes:
        verdicts: of the attack.
        sizes: (N,) norm of each change.
        clean, attacked: detector -> (N,) scores before and after.
        similarity: of pairs, (2, N) cosines before and after.
    """

    verdicts: Verdicts
    sizes: NDArray[np.float64]
    clean: dict[str, NDArray[np.float64]]
    attacked: dict[str, NDArray[np.float64]]
    similarity: NDArray[np.float64] | None

    @classmethod
    def read(cls, path: Path) -> TrialScores:
        """The scores of a finished trial."""
        table = pq.read_table(path)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        zero = columns.get("zero_gradient")
        sides: dict[str, dict[str, NDArray[np.float64]]] = {"clean": {}, "attacked": {}}
        for name, column in columns.items():
            side, _, detector = name.partition(".")
            if detector:
                sides[side][detector] = column
        verdicts = Verdicts(columns["clean_correct"], columns["correct"], columns["success"], zero)
        similarity = None
        if "similarity" in columns:
            similarity = np.stack([columns["clean_similarity"], columns["similarity"]])
        return cls(verdicts, columns["size"], sides["clean"], sides["attacked"], similarity)


def plan_trials(config: RejectionConfig, model: str, training: int) -> list[Trial]:
    """Every attack at every size, and the controls at the sizes of the attacks, for one training.

    The first attack is also made with size 0, which leaves the images as they are: there a detector must not
    be able to tell anything apart. With pairs the same again for each goal.
    """
    planned = _planned(config, config.attacks, model, training, None)
    for goal in () if config.pairs is None else config.pairs.goals:
        planned += _planned(config, config.pair_attacks, model, training, goal)
    return planned


def _planned(
    config: RejectionConfig,
    attacks: Sequence[AttackSection],
    model: str,
    training: int,
    goal: PairGoal | None,
) -> list[Trial]:
    attacks = [attack for attack in attacks if attack.attacks(model)]
    trials = [
        Trial(model, training, attack.called, attack.norm, epsilon, attack, attack.images, goal)
        for attack in attacks
        if includes(attack.trainings, training)
        for epsilon in sorted({*attack.epsilons, *((0.0,) if attack is attacks[0] else ())})
    ]
    sizes = sorted({(trial.norm, trial.epsilon) for trial in trials if trial.epsilon > 0})
    return trials + [
        Trial(model, training, control, norm, epsilon, None, config.controls.images, goal)
        for control in config.controls.names(training)
        for norm, epsilon in sizes
    ]


def run_trial(
    trial: Trial,
    subject: Subject,
    out: Path,
    *,
    source: AttackedModel | None,
    seed: int,
    about: Mapping[str, Any],
) -> None:
    """Change images of the classes, and keep what became of them: see `keep_trial`.

    Args:
        trial: what to do.
        subject: whose images, fitted and calibrated.
        out: the experiment's folder.
        source: the model that a transfer attack knows; None for other trials.
        seed: of the attack and of the bootstrap.
        about: what the numbers depend on, kept with them.
    """
    changes = _changes(trial, subject, source, seed=seed)
    keep_trial(trial, changes, subject, out, seed=seed, about=about)


def file_at(stem: Path, suffix: str) -> Path:
    """One of a trial's files; its name may end in a size such as 0.3, which is no suffix."""
    return stem.with_name(f"{stem.name}.{suffix}")


def keep_trial(
    trial: Trial,
    changes: Iterator[Change],
    subject: CalibratedModel,
    out: Path,
    *,
    seed: int,
    about: Mapping[str, Any],
) -> None:
    """Score images before and after their change, and write PATH.parquet, PATH.npz and PATH.json.

    The JSON is written last: where it is, the trial has finished. Memory does not depend on the number of
    images.

    Args:
        trial: what is done.
        changes: the images, portion by portion; made while they are asked for.
        subject: whose images, fitted and calibrated.
        out: the experiment's folder.
        seed: of the bootstrap.
        about: what the numbers depend on, kept with them.
    """
    begun, rows, pictures = time.monotonic(), [], None
    for change in changes:
        rows.append(_columns(change, subject))
        pictures = pictures or change.pictures()
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    stem = out / trial.path
    with written_whole(file_at(stem, "parquet")) as unfinished:
        pq.write_table(pa.table(columns), unfinished)
    assert pictures is not None  # there is at least one portion
    with written_whole(file_at(stem, "npz")) as unfinished:
        np.savez_compressed(unfinished, **pictures)  # type: ignore[arg-type] # numpy's stub takes them for a flag
    scores = TrialScores.read(file_at(stem, "parquet"))
    record = {
        "about": dict(about),
        "facts": subject.facts,
        "images": len(scores.sizes),
        "mean_size": float(scores.sizes.mean()),
        "seconds": round(time.monotonic() - begun, 1),
        "detectors": _measured(scores, subject, seed=seed),
    }
    write_text(file_at(stem, "json"), json.dumps(record, indent=1))


def _changes(trial: Trial, subject: Subject, source: AttackedModel | None, *, seed: int) -> Iterator[Change]:
    """Portion by portion what was made of the images."""
    for result, before in _results(trial, subject, source, seed=seed):
        columns = {
            "label": result.clean.labels,
            "clean_predicted": result.clean.predicted,
            "predicted": result.attacked.predicted,
        }
        if result.targets is not None:
            columns["target"] = result.targets
        yield Change(
            before, result.images, result.clean, result.attacked, Verdicts.of(result), result.sizes, columns
        )


def _results(
    trial: Trial, subject: Subject, source: AttackedModel | None, *, seed: int
) -> Iterator[tuple[AttackResult, Tensor]]:
    """Portion by portion what the attack says, and the images before it."""
    attack, targeted = None, False
    if trial.attack is not None:
        attack_class = ATTACKS[trial.attack.name]
        attack = attack_class.configured(trial.attack, subject.knowledge(source))
        targeted = "untargeted" not in attack_class.goals
    threat = ThreatModel(trial.norm, trial.epsilon, targeted=targeted)
    images = len(subject.evaluation) if trial.images is None else trial.images
    for number, (clean, labels) in enumerate(subject.portions(images)):
        own = seed + number * SEED_STRIDE
        if attack is not None:
            yield attack(subject.model, clean, labels, threat=threat, seed=own), clean
        else:
            yield _control_result(trial, subject, clean, labels, seed=own), clean


def _control_result(
    trial: Trial, subject: Subject, clean: Tensor, labels: Tensor, *, seed: int
) -> AttackResult:
    """A control as if it were an attack: nobody wanted anything, but predictions may have changed."""
    wanted = torch.full((len(clean),), trial.epsilon)
    changed = controlled(trial.label, clean, wanted, norm=trial.norm, seed=seed)
    return AttackResult(
        images=changed,
        clean=extract_features(subject.model, clean, labels),
        attacked=extract_features(subject.model, changed, labels),
        targets=None,
        sizes=ThreatModel(trial.norm, trial.epsilon).sizes(clean, changed),
        zero_gradient=None,
    )


def _columns(change: Change, subject: CalibratedModel) -> dict[str, NDArray[Any]]:
    verdicts = {name: column for name, column in vars(change.verdicts).items() if column is not None}
    columns = change.columns | {"size": change.sizes.double()}
    for side, features in (("clean", change.clean), ("attacked", change.attacked)):
        for name, scores in subject.scores(features).items():
            columns[f"{side}.{name}"] = scores.double()
    return verdicts | {name: column.numpy() for name, column in columns.items()}


def _measured(scores: TrialScores, subject: CalibratedModel, *, seed: int) -> dict[str, Any]:
    """Every detector's figures, as plain values; the model's own detector first."""
    return {
        name: _plain(
            measure_outcome(
                scores.verdicts,
                scores.clean[name],
                scores.attacked[name],
                points=subject.points[name],
                seed=seed,
                draws=_DRAWS if name == subject.own else _DRAWS_OF_OTHERS,
            )
        )
        for name in subject.detectors
    }


def _plain(outcome: Outcome) -> dict[str, Any]:
    """Without the curve, which the scores hold."""
    values = {name: value for name, value in vars(outcome).items() if name != "roc"}
    return json.loads(json.dumps(values, default=asdict))
