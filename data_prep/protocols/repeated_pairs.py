"""Pairs that a list holds more than once: with one label they count again, with both no model is right."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from data_prep.counted import counted
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.protocols.base import VerificationProtocol
from data_prep.protocols.benchmarks import benchmark_named
from data_prep.protocols.matching import names_of


@dataclass(frozen=True)
class RepeatedPairs:
    """Where a list repeats or contradicts itself. The order of the two photos does not matter.

    Attributes:
        again: pairs that stand before with the same label.
        both: two pairs of the same photos with different labels, the earlier one first; each two photos once.
        genuine_itself, impostor_itself: pairs of a photo with itself.
    """

    again: tuple[int, ...]
    both: tuple[tuple[int, int], ...]
    genuine_itself: tuple[int, ...]
    impostor_itself: tuple[int, ...]

    @classmethod
    def of(cls, left: Iterable[Hashable], right: Iterable[Hashable], same: Iterable[bool]) -> RepeatedPairs:
        """Of pairs in their order.

        Args:
            left, right: (pairs,) photos, by name or by number.
            same: (pairs,).
        """
        first: dict[tuple[frozenset[Hashable], bool], int] = {}
        again: list[int] = []
        both: list[tuple[int, int]] = []
        itself: dict[bool, list[int]] = {True: [], False: []}
        for place, (one, other, kind) in enumerate(zip(left, right, same, strict=True)):
            photos = frozenset((one, other))
            if first.setdefault((photos, kind), place) != place:
                again.append(place)
            elif (photos, not kind) in first:
                both.append((first[photos, not kind], place))
            if one == other:
                itself[kind].append(place)
        return cls(tuple(again), tuple(both), tuple(itself[True]), tuple(itself[False]))

    def notes(self) -> list[str]:
        """What is said of a list whose numbers they change."""
        counts = (
            (self.again, "repeated pair", ", counted each time"),
            (self.genuine_itself, "genuine pair", " of a photo with itself"),
            (self.impostor_itself, "impostor pair", " of a photo with itself"),
            (self.both, "pair", " both as genuine and as impostor"),
        )
        return [counted(len(pairs), noun) + rest for pairs, noun, rest in counts if pairs]


def with_repeats_counted(protocol: VerificationProtocol, dataset: AlignedDataset) -> VerificationProtocol:
    """A protocol whose reading counts its repeated pairs.

    Args:
        protocol: the pairs.
        dataset: whose photos they are; one photo may be written in two ways.

    Raises:
        InputError: two photos stand in it as genuine and as impostor, or a photo and itself as impostor. A
            benchmark's list is taken as its authors published it.
    """
    keys = protocol.left, protocol.right
    rows = names_of(dataset).rows_of([*protocol.left, *protocol.right])
    # A missing photo is refused elsewhere, in the words of its command.
    left, right = ([key if rows[key] is None else rows[key] for key in side] for side in keys)
    repeated = RepeatedPairs.of(left, right, protocol.same.tolist())
    if benchmark_named(protocol.name) is None:
        _refuse_contradictions(protocol, repeated)
    return replace(protocol, reading="; ".join([protocol.reading, *repeated.notes()]))


def _refuse_contradictions(protocol: VerificationProtocol, repeated: RepeatedPairs) -> None:
    if repeated.both:
        earlier, later = repeated.both[0]
        more = f"; {len(repeated.both):,} such pairs in all" if len(repeated.both) > 1 else ""
        kinds = ("different people", "the same person")
        labels = [f"{kinds[int(protocol.same[pair])]} {_place(protocol, pair)}" for pair in (earlier, later)]
        raise InputError(
            protocol.name,
            "must say of two photos either that they show the same person or that they do not",
            got=f"{protocol.left[later]} and {protocol.right[later]}, {' and '.join(labels)}{more}",
            fix="Remove the wrong one of the two lines.",
        )
    if repeated.impostor_itself:
        pair = repeated.impostor_itself[0]
        raise InputError(
            protocol.name,
            "must not call a photo and itself different people",
            got=f"{protocol.left[pair]} {_place(protocol, pair)}",
            fix="Remove the line, or name the other photo.",
        )


def _place(protocol: VerificationProtocol, pair: int) -> str:
    return f"in line {protocol.lines[pair]}" if protocol.lines else f"in pair {pair + 1}"
