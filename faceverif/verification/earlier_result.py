"""A result is replaced by one of the same question only: of the same model, photos and list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.json_object import read_json
from faceverif.file_names import RESULT_NAME
from faceverif.models import Embedder


class _List(Protocol):
    """Pairs, or a gallery and probes."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


def refuse_other_result(out: Path, embedder: Embedder, dataset: AlignedDataset, listed: _List) -> None:
    """Stop where a folder holds the result of another model, data set or list.

    A model or data set that changed in its place is the same one: after a longer training the same command
    replaces the result. So does one with other options.

    Args:
        out: the folder for `result.json`.
        embedder: the model that is asked now.
        dataset: its photos.
        listed: what is asked of it.

    Raises:
        InputError: it does; or its `result.json` is another command's, or damaged.
    """
    then = read_json(out / RESULT_NAME)
    if then:
        of_list = {"protocol": listed.name, "protocol_sha256": listed.sha256}
        refuse_changes(out, then, model_and_data(embedder, dataset) | of_list)


def model_and_data(embedder: Embedder, dataset: AlignedDataset) -> dict[str, str]:
    """What a result says of its model and photos."""
    return {
        "model": embedder.name,
        "model_sha256": embedder.sha256,
        "data": str(dataset.root),
        "data_sha256": dataset.sha256,
    }


def refuse_changes(out: Path, then: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Stop where an earlier result is of another model, data set or list.

    Args:
        out: its folder or file.
        then: what it says of itself.
        now: `model_and_data` of the one that would replace it, and its list if it has one.

    Raises:
        InputError: it is.
    """
    changes = ", ".join(_changes(then, now))
    if changes:
        what = "folder" if out.is_dir() else "file"
        raise InputError(
            "--out",
            "must not hold another result",
            got=f"{out}, with one of {changes}",
            fix=f"Name another {what}, or remove this one.",
        )


def _changes(then: Mapping[str, Any], now: Mapping[str, str]) -> Iterator[str]:
    """In words, what the earlier result is of, and the one of now is not."""
    if not now.keys() <= then.keys():
        yield "an earlier version" if {"model", "model_sha256"} <= then.keys() else "another command"
        return
    for key, what in {"model": "model", "data": "data set"}.items():
        if all(then[part] != now[part] for part in (key, f"{key}_sha256")):
            yield f"the {what} {then[key]}, not {now[key]}"
    if then.get("protocol_sha256") != now.get("protocol_sha256"):
        yield f"the list {_named(then)}, not {_named(now)}"


def _named(facts: Mapping[str, Any]) -> str:
    return f"{facts['protocol']} ({str(facts['protocol_sha256'])[:12]})"
