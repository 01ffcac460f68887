"""The registries: every attack of this folder, held against the sections in `robustness.config.attacks`."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, get_args

from robustness.attacks.traits import Traits
from robustness.config.attack_section import AttackSection


class _Declared(Protocol):
    """What every registered attack declares."""

    section: ClassVar[type[AttackSection]]
    traits: ClassVar[Traits]


_SECTIONS = "robustness/config/attacks.py"

_A = TypeVar("_A", bound=_Declared)


def import_all() -> None:
    """Import every file of this folder, so that no attack can be forgotten."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        import_module(f"{__package__}.{module.name}")


def registry(kind: type[Any], config: Any) -> dict[str, Any]:
    """The attacks of a kind that are imported from this folder, by name, in the order of their sections.

    Args:
        kind: their base class.
        config: the union of their sections.

    Raises:
        TypeError: see `registered`.
    """
    own = [attack for attack in _subclasses(kind) if attack.__module__.startswith(f"{__package__}.")]
    return registered(own, config)


def registered(attacks: Iterable[type[_A]], config: Any) -> dict[str, type[_A]]:
    """Attacks by name, in the order of their sections.

    Args:
        attacks: classes that declare a `section` with a literal name, and `traits`.
        config: the union of the sections.

    Raises:
        TypeError: a class lacks a section or traits of its own, two share a section, a section is not in the
            union or has no class, it allows other norms than its class, traits name an attack that is not
            registered, or no check compares an attack with another.
    """
    found: dict[type[AttackSection], type[_A]] = {}
    for attack in attacks:
        _refuse_undeclared(attack)
        if attack.section in found:
            raise TypeError(f"{attack.__name__} and {found[attack.section].__name__} share a section")
        found[attack.section] = attack
    sections = get_args(get_args(config)[0])
    for section, attack in found.items():
        if section not in sections:
            raise TypeError(f"{section.__name__} of {attack.__name__} must be in {_SECTIONS}")
    for section in sections:
        if section not in found:
            raise TypeError(f"{section.__name__} must have a class in robustness/attacks")
    named = {_name_of(section): found[section] for section in sections}
    _refuse_unchecked(named)
    return named


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    """Every class below it that is not abstract."""
    for below in kind.__subclasses__():
        if not inspect.isabstract(below):
            yield below
        yield from _subclasses(below)


def _refuse_undeclared(attack: type[_A]) -> None:
    for declared in ("section", "traits"):
        if declared not in vars(attack):
            raise TypeError(f"{attack.__name__} must declare its own {declared}")
    allowed = attack.section.norms()
    if getattr(attack, "norms", allowed) != allowed:
        raise TypeError(f"{attack.__name__} and its section must know the same norms")


def _name_of(section: type[AttackSection]) -> str:
    [name] = get_args(section.model_fields["name"].annotation)  # pydantic refuses a union without literals
    return str(name)


def _refuse_unchecked(attacks: dict[str, type[_A]]) -> None:
    """Every attack is compared with another: by what it can do, or because one of the two says so."""
    weaker = {weak for attack in attacks.values() for weak in attack.traits.no_weaker_than}
    if unknown := weaker - attacks.keys():
        raise TypeError(f"no_weaker_than names attacks that are not registered: {', '.join(sorted(unknown))}")
    for name, attack in attacks.items():
        traits = attack.traits
        able = traits.strong or traits.black_box or traits.local
        if not (able or traits.no_weaker_than or name in weaker):
            raise TypeError(
                f"{attack.__name__} escapes the checks: give it no_weaker_than, or name it there in another"
            )
