"""One change of one model's pairs: what `rejection.trials` is for images of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from faceverif.images.faces import STRANGER
from robustness.attacked_model import AttackedModel
from robustness.attacks import PAIR_ATTACKS, PairAttackResult, PairGoal
from robustness.attacks.pairs import as_wanted, unasked_result
from robustness.features import Features, extract_features
from robustness.rejection.controls import controlled
from robustness.rejection.outcome import Verdicts
from robustness.rejection.pair_subject import PairSubject
from robustness.rejection.trials import SEED_STRIDE, Change, Trial, keep_trial
from robustness.threat_model import ThreatModel


def run_pair_trial(
    trial: Trial,
    subject: PairSubject,
    out: Path,
    *,
    source: AttackedModel | None,
    seed: int,
    about: Mapping[str, Any],
) -> None:
    """Change probes, and keep what became of their pairs: see `keep_trial`.

    Args:
        trial: what to do.
        subject: whose verification, calibrated.
        out: the experiment's folder.
        source: the model that a transfer attack knows; None for other trials.
        seed: of the attack and of the bootstrap.
        about: what the numbers depend on, kept with them.
    """
    keep_trial(trial, _changes(trial, subject, source, seed=seed), subject, out, seed=seed, about=about)


def _changes(
    trial: Trial, subject: PairSubject, source: AttackedModel | None, *, seed: int
) -> Iterator[Change]:
    """Portion by portion what was made of the probes."""
    assert trial.goal is not None  # else it is no trial on pairs
    pairs = subject.pairs[trial.goal]
    count = len(pairs) if trial.images is None else trial.images
    for number, (probes, references) in enumerate(pairs.portions(count)):
        own = seed + number * SEED_STRIDE
        result = _result(trial, trial.goal, subject, source, probes, references, seed=own)
        yield Change(
            probes,
            result.images,
            _features(subject, probes),
            _features(subject, result.images),
            verdicts_of(result, accept_from=subject.accept_from),
            result.sizes,
            {"clean_similarity": result.clean_similarity, "similarity": result.similarity},
            references,
        )


def verdicts_of(result: PairAttackResult, *, accept_from: float) -> Verdicts:
    """The decisions on pairs as verdicts: right means decided as the attacker does not want it."""
    zero = result.zero_gradient
    return Verdicts(
        result.attackable(accept_from).numpy(),
        (~as_wanted(result.similarity, result.goal, threshold=accept_from)).numpy(),
        result.success(accept_from).numpy(),
        None if zero is None else zero.numpy(),
    )


def _result(
    trial: Trial,
    goal: PairGoal,
    subject: PairSubject,
    source: AttackedModel | None,
    probes: Tensor,
    references: Tensor,
    *,
    seed: int,
) -> PairAttackResult:
    threat = ThreatModel(trial.norm, trial.epsilon)
    if trial.attack is None:
        wanted = torch.full((len(probes),), trial.epsilon)
        changed = controlled(trial.label, probes, wanted, norm=trial.norm, seed=seed)
        return unasked_result(goal, subject.model.network, probes, changed, references, threat=threat)
    attack = PAIR_ATTACKS[trial.attack.name].configured(trial.attack, goal, subject.knowledge(source))
    return attack(subject.model.network, probes, references, threat=threat, seed=seed)


def _features(subject: PairSubject, images: Tensor) -> Features:
    return extract_features(subject.model, images, torch.full((len(images),), STRANGER))
