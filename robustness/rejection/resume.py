"""Trials that were finished earlier must agree with the experiment of now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from data_prep.errors import InputError
from faceverif.config.section import changed_settings
from robustness.config.attack_section import AttackSection
from robustness.rejection.findings import Finding
from robustness.rejection.trial import NO_SETTINGS, Trial


def refuse_other_settings(finding: Finding, about: dict[str, Any]) -> None:
    """Stop where a finished trial was made with other settings or models.

    Args:
        finding: the trial.
        about: what its numbers would depend on now.

    Raises:
        InputError: it was.
    """
    made = finding.record.about
    then = dict(made) | {"trial": _with_later_keys(made["trial"], finding.trial)}
    changes = changed_settings(then, about, may_change=())
    if changes:
        raise InputError(
            finding.trial.path,
            "must have been made with the settings asked for now",
            got=changes,
            fix=f"Set them back, remove {finding.stem.parent}, or name another --out.",
        )


def _with_later_keys(then: Mapping[str, Any], trial: Trial[Any]) -> dict[str, Any]:
    """The settings of an older trial with the keys that its attack got later, and that of a control like it.

    It was made with what is now their default.
    """
    whole = dict(then)
    if trial.attack is not None and then["attack"] is not None:
        whole["attack"] = _defaults(trial.attack) | then["attack"]
    if trial.like is not None and "like" in then:
        whole["like"] = _with_later_keys(then["like"], trial.like)
    return whole


def _defaults(attack: AttackSection) -> dict[str, Any]:
    """The section, as `Trial.settings` has it, with defaults wherever there are some."""
    fields = type(attack).model_fields
    needed = {name for name, field in fields.items() if field.is_required()}
    defaults = type(attack).model_validate(attack.model_dump(include=needed))
    return defaults.model_dump(mode="json", exclude=NO_SETTINGS)


def refuse_other_facts(finding: Finding, facts: Mapping[str, Any]) -> None:
    """Stop where a finished trial was made from other data.

    Older records lack some facts; only those present are compared.

    Args:
        finding: the trial.
        facts: about the clean images of now.

    Raises:
        InputError: it was.
    """
    then = finding.record.facts
    differing = [name for name in facts if name in then and not _agree(then[name], facts[name])]
    if differing:
        raise InputError(
            finding.trial.path,
            "must have been made from the data that are there now",
            got=", ".join(f"{name} {then[name]} -> {facts[name]}" for name in differing),
            fix=f"Restore the earlier data, remove {finding.stem.parent}, or name another --out.",
        )


def _agree(then: object, now: object) -> bool:
    """Whether two facts are the same. Another machine or thread count may round numbers differently."""
    if isinstance(then, float) and isinstance(now, float):
        return math.isclose(then, now, rel_tol=1e-3, abs_tol=1e-6)
    return then == now
