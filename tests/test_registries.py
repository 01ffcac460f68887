"""Registries: config union, registry and tests name the same members, and no default has two values.

The rule: a config section holds the defaults and the bounds of its settings. A class or function behind it
takes them as required keyword arguments; where it repeats a default for callers in Python, this test holds
the two equal.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from classification.test_networks import KNOWN as TESTED_NETWORKS
from head_cases import SETTINGS as TESTED_HEADS
from test_attacks import SMALL as TESTED_ATTACKS
from test_backbones import FAMILIES as TESTED_BACKBONES
from test_objective import OF_CRITERIA as TESTED_CRITERIA
from test_pair_attacks import SMALL as TESTED_PAIR_ATTACKS
from test_penalties import MODULES as TESTED_PENALTIES

from data_prep.alignment import TEMPLATES
from faceverif.backbones import BACKBONES
from faceverif.classification.network_sections import NetworkConfig
from faceverif.classification.networks import NETWORKS
from faceverif.cli.preparation import align
from faceverif.config.backbones import BackboneConfig
from faceverif.config.criteria import CriterionConfig
from faceverif.config.heads import HeadConfig
from faceverif.config.penalties import PenaltyConfig
from faceverif.config.section import Section
from faceverif.criteria import CRITERIA
from faceverif.experiment.kinds import RUN_KINDS, KindName
from faceverif.experiment.tasks import TASKS
from faceverif.heads import HEADS
from faceverif.penalties import PENALTIES
from robustness.attacks import ATTACKS, PAIR_ATTACKS
from robustness.attacks.sweep import Sweep
from robustness.config import names
from robustness.config.attack_section import AttackSection, MomentumSettings
from robustness.config.attacks import AttackConfig, PairAttackConfig
from robustness.detectors import DETECTORS
from robustness.rejection.controls import CONTROLS


class Registry(NamedTuple):
    """What can be chosen by name.

    Attributes:
        config: the union of the sections.
        built_by: name -> what the settings are given to.
        tested: names in the table of the tests.
        given: settings that something else than `built_by` takes.
        computed: arguments that are no settings.
    """

    config: Any
    built_by: Mapping[str, Callable[..., object]]
    tested: Iterable[str]
    given: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()


SIZES = frozenset({"classes", "embedding_dim"})
REGISTRIES = {
    "head": Registry(HeadConfig, HEADS, TESTED_HEADS, computed=SIZES),
    "criterion": Registry(CriterionConfig, CRITERIA, TESTED_CRITERIA, computed=SIZES),
    # likelihood and magnitude need heads of their own, and have tests of their own.
    "penalty": Registry(
        PenaltyConfig,
        PENALTIES,
        {*TESTED_PENALTIES, "likelihood", "magnitude"},
        given=frozenset({"weight"}),
        computed=SIZES,
    ),
    "backbone": Registry(
        BackboneConfig,
        BACKBONES,
        {name for name, _ in TESTED_BACKBONES} | {"onnx"},  # onnx has tests of its own
        given=frozenset({"pixel_mean", "pixel_std"}),
    ),
    # resnet101 is resnet50 with more blocks: too slow for every test.
    "network": Registry(
        NetworkConfig,
        NETWORKS,
        {"resnet101", *(name for name, *_ in TESTED_NETWORKS)},
        computed=frozenset({"shape"}),
    ),
    "attack": Registry(AttackConfig, ATTACKS, TESTED_ATTACKS, given=frozenset(AttackSection.model_fields)),
    "pair attack": Registry(
        PairAttackConfig, PAIR_ATTACKS, TESTED_PAIR_ATTACKS, given=frozenset(AttackSection.model_fields)
    ),
}


def sections(union: Any) -> dict[str, type[Section]]:
    """Name -> section, of a union that its `name` discriminates."""
    return {
        name: section
        for section in get_args(get_args(union)[0])
        for name in get_args(section.model_fields["name"].annotation)
    }


@pytest.mark.parametrize("kind", REGISTRIES)
def test_config_registry_and_tests_name_the_same_members(kind: str) -> None:
    registry = REGISTRIES[kind]
    assert set(sections(registry.config)) == set(registry.built_by) == set(registry.tested)


MEMBERS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.built_by]
# Settings that are used when the attack is built: for the attack inside it, or to find a threshold.
INDIRECT = {
    (kind, name): settings
    for kind in ("attack", "pair attack")
    for name, settings in {
        "transfer": {"source", "steps", "by"},
        "adaptive": {"rate", *(field.name for field in fields(Sweep))},
        "mi_fgsm": {"steps", *MomentumSettings.model_fields},
    }.items()
}
# What an attack has to know, beside its settings.
KNOWLEDGE = {
    "goal",
    "landmarks",
    "head",
    "detector",
    "accept_from",
    "guides",
    "attack",
    "source",
    "ascent",
    "sweep",
}


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_every_setting_is_an_argument(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    settings = set(sections(registry.config)[name].model_fields) - registry.given - {"name"}
    arguments = inspect.signature(registry.built_by[name]).parameters
    assert settings - INDIRECT.get((kind, name), set()) <= set(arguments)


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_every_argument_that_must_be_given_is_a_setting(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    settings = set(sections(registry.config)[name].model_fields) | registry.computed
    required = {
        argument.name
        for argument in inspect.signature(registry.built_by[name]).parameters.values()
        if argument.default is argument.empty
        and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
    }
    assert required - settings <= (KNOWLEDGE if kind.endswith("attack") else set())


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_no_default_has_two_values(kind: str, name: str) -> None:
    registry = REGISTRIES[kind]
    section = sections(registry.config)[name]
    for argument in inspect.signature(registry.built_by[name]).parameters.values():
        if argument.name in section.model_fields and argument.default is not argument.empty:
            assert argument.default == section.model_fields[argument.name].default


def test_detectors_and_controls_have_the_names_that_configs_may_use() -> None:
    assert tuple(DETECTORS) == names.DETECTORS
    assert tuple(CONTROLS) == names.CONTROLS


def test_every_kind_of_run_of_an_experiment_can_be_named_and_trained() -> None:
    assert tuple(RUN_KINDS) == tuple(TASKS) == get_args(KindName)


def test_the_help_of_align_names_every_template() -> None:
    """It is written by hand: the registry brings OpenCV, which --help does without."""
    text = get_type_hints(align, include_extras=True)["template"].__metadata__[0].help
    assert re.findall(r"[a-z]+-\d+", text) == list(TEMPLATES)
