"""The group of each person, such as a sex or a race, within which impostor pairs are drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError, few
from data_prep.made_lists.people import People
from data_prep.protocols.attributes import Attributes

_OPTION = "--within"


def groups_of(people: People, dataset: AlignedDataset, column: str, attributes: Path | None) -> list[str]:
    """(people,) the value of a column for each person; empty where none is known.

    Args:
        people: of the data set.
        dataset: whose manifest may have the column, where somebody added it.
        column: its name.
        attributes: a file that may have the column.

    Raises:
        InputError: no such column, or somebody's photos have several values.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    values = _column(dataset, column, attributes)
    for identity, value in zip(dataset.column("identity").tolist(), values, strict=True):
        if identity is not None and value not in (None, ""):
            found[identity].add(str(value))
    several = [name for name in people.names if len(found[name]) > 1]
    if several:
        raise InputError(
            f"{_OPTION} {column}",
            "must have one value per person",
            got=f"several for {few(several)}, such as {few(sorted(found[several[0]]))}",
            fix="Give a file with the columns `identity` and this one as --attributes.",
        )
    return [next(iter(found[name]), "") for name in people.names]


def _column(dataset: AlignedDataset, column: str, attributes: Path | None) -> Sequence[Any]:
    table = None if attributes is None else Attributes.read(attributes)
    if table is not None and column in table.columns:
        return table.of(dataset, column)
    own = dataset.own_columns()
    if column in own:
        return own[column]
    there = [*(table.columns if table is not None else ()), *own]
    raise InputError(
        _OPTION,
        "must name a column of --attributes, or one that was added to the manifest",
        got=column,
        fix=f"There are: {', '.join(there)}."
        if there
        else "Give a CSV with identity,sex or so as --attributes.",
    )
