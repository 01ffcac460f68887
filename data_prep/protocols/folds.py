"""Folds of pairs: dealt where a list gives none, and refused where no threshold can be chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import InputError

_MOST_FOLDS = 10


def deal_folds(name: str, same: NDArray[np.bool_]) -> tuple[NDArray[np.int64], str]:
    """Folds for pairs that have none, each with both kinds, and the rule in words.

    Args:
        name: of the list, for the message.
        same: (pairs,).

    Raises:
        InputError: there are fewer than two pairs of a kind.
    """
    _refuse_few(name, same)
    folds = min(_MOST_FOLDS, int(same.sum()), int((~same).sum()))
    order = np.where(same, np.cumsum(same), np.cumsum(~same)) - 1
    rule = f"the i-th genuine and the i-th impostor pair are in fold i mod {folds}"
    return (order % folds).astype(np.int64), rule


def given_or_dealt(
    name: str, same: NDArray[np.bool_], fold: NDArray[np.int64], *, rule: str
) -> tuple[NDArray[np.int64], str]:
    """The folds of a format, which its list may be too short or too sorted for; then dealt ones.

    Args:
        name: of the list, for the message.
        same: (pairs,).
        fold: (pairs,) as the format has them.
        rule: the format's, in words.

    Raises:
        InputError: as for `deal_folds`.
    """
    if one_sided_fold(same, fold, np.unique(fold).tolist()) is None:
        return fold, rule
    fold, dealt = deal_folds(name, same)
    return fold, f"instead of {rule}, since some of these would lack a kind of pair: {dealt}"


def alternating_sets(same: NDArray[np.bool_]) -> int | None:
    """The number of sets where genuine and impostor pairs alternate in blocks of one size, as LFW's do.

    Args:
        same: (pairs,).

    Returns:
        2 to 10 sets of as many genuine as impostor pairs; None for another order.
    """
    starts = np.flatnonzero(np.diff(same, prepend=~same[:1]))
    lengths = np.diff(starts, append=len(same))
    sets = len(starts) // 2
    alternate = same[0] and len(starts) % 2 == 0 and len(set(lengths.tolist())) == 1
    return sets if alternate and 2 <= sets <= _MOST_FOLDS else None


def folds_of_sets(same: NDArray[np.bool_], sets: int) -> tuple[NDArray[np.int64], str]:
    """The sets of LFW's order as folds, and the rule in words.

    Args:
        same: (pairs,).
        sets: how many there are, each of as many genuine as impostor pairs.
    """
    size = len(same) // (2 * sets)
    return np.repeat(np.arange(sets), 2 * size), f"{sets} sets of {size} + {size} pairs, in file order"


def blocks_of(lines: Sequence[int], same: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Folds that a list sets apart by empty lines: blocks of one length, each with both kinds of pair.

    Args:
        lines: (pairs,) where each stands in its file.
        same: (pairs,).

    Returns:
        (pairs,) the block of each; None where there are no such blocks.
    """
    block = np.cumsum(np.diff(lines, prepend=lines[0]) > 1).astype(np.int64)
    length, genuine = np.bincount(block), np.bincount(block, weights=same)
    alike = len(length) > 1 and len(set(length.tolist())) == 1
    return block if alike and ((genuine > 0) & (genuine < length)).all() else None


def refuse_one_sided(
    name: str, same: NDArray[np.bool_], fold: NDArray[np.int64], *, scored_folds: Sequence[int]
) -> None:
    """A fold's threshold needs both kinds outside it: say so before anything is embedded.

    Raises:
        InputError: genuine or impostor pairs are missing outside a scored fold.
    """
    _refuse_few(name, same)
    number = one_sided_fold(same, fold, scored_folds)
    if number is not None:
        others = same[fold != number]
        raise InputError(
            name,
            f"must hold genuine and impostor pairs outside fold {number}, to choose its threshold there",
            got=f"{int(others.sum())} genuine, {int((~others).sum())} impostor",
            fix="Spread both kinds over at least two folds, or leave the fold column out.",
        )


def _refuse_few(name: str, same: NDArray[np.bool_]) -> None:
    genuine, impostors = int(same.sum()), int((~same).sum())
    if min(genuine, impostors) < 2:
        raise InputError(
            name,
            "must hold at least 2 genuine and 2 impostor pairs, to choose a threshold and test it on others",
            got=f"{genuine:,} genuine, {impostors:,} impostor",
            fix="Get a complete copy of the list, or add pairs of the kind that is missing.",
        )


def one_sided_fold(
    same: NDArray[np.bool_], fold: NDArray[np.int64], scored_folds: Sequence[int]
) -> int | None:
    """A scored fold outside which a kind is missing; None where there is none."""
    for number in scored_folds:
        others = same[fold != number]
        if others.all() or not others.any():
            return number
    return None
