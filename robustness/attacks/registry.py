"""A registry of attacks: from it come the names, the config union and the checks. Nothing is listed twice."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Protocol, TypeVar, Union, get_args

from pydantic import Field

from robustness.attacks.section import AttackSection
from robustness.attacks.traits import Traits


class _Declared(Protocol):
    """What every registered attack declares."""

    section: ClassVar[type[AttackSection]]
    traits: ClassVar[Traits]


_A = TypeVar("_A", bound=_Declared)


def registry(*attacks: type[_A]) -> dict[str, type[_A]]:
    """Attacks by name.

    Args:
        attacks: classes that declare a `section` with a literal name, and `traits`.

    Raises:
        TypeError: a class inherits one of these from another attack or lacks it, two share a name, a section
            allows other norms than its class, traits name an attack that is not registered, or no check
            compares an attack with another.
    """
    named: dict[str, type[_A]] = {}
    for attack in attacks:
        name = _declared_name(attack)
        if name in named:
            raise TypeError(f"{attack.__name__} and {named[name].__name__} are both named {name}")
        named[name] = attack
    _refuse_unchecked(named)
    return named


def _declared_name(attack: type[_A]) -> str:
    for declared in ("section", "traits"):
        if declared not in vars(attack):
            raise TypeError(f"{attack.__name__} must declare its own {declared}")
    allowed = attack.section.norms()
    if getattr(attack, "norms", allowed) != allowed:
        raise TypeError(f"{attack.__name__} and its section must know the same norms")
    names = get_args(attack.section.model_fields["name"].annotation)
    if len(names) != 1:
        raise TypeError(f"{attack.section.__name__}.name must be one literal")
    return names[0]


def _refuse_unchecked(attacks: dict[str, type[_A]]) -> None:
    """Every attack is compared with another: by what it can do, or because one of the two says so."""
    weaker = {weak for attack in attacks.values() for weak in attack.traits.no_weaker_than}
    if unknown := weaker - attacks.keys():
        raise TypeError(f"no_weaker_than names attacks that are not registered: {', '.join(sorted(unknown))}")
    for name, attack in attacks.items():
        traits = attack.traits
        if not (traits.strong or traits.black_box or traits.no_weaker_than or name in weaker):
            raise TypeError(
                f"{attack.__name__} escapes the checks: give it no_weaker_than, or name it there in another"
            )


def union_of(attacks: dict[str, type[_A]]) -> Any:
    """The config type of a registry: one section per attack, told apart by `name`."""
    sections = tuple(attack.section for attack in attacks.values())
    return Annotated[Union[sections], Field(discriminator="name")]  # noqa: UP007 - built while running
