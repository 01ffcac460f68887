"""People who are kept out of a training, so that pairs of their photos test the model on strangers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.counted import counted
from data_prep.dataset.exclusions import Exclusion, write_exclusions
from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.made_lists.people import People

_REASON = "held_out"
_FEWEST = 2  # people with several photos for the pairs, and people for the training


@dataclass(frozen=True)
class HeldOut:
    """Who is kept out.

    Attributes:
        people: those.
        others: how many people are left to train on.
        copies: photos under other names, or without one, whose crop equals one of theirs.
    """

    people: People
    others: int
    copies: tuple[str, ...]

    @classmethod
    def draw(cls, people: People, dataset: AlignedDataset, *, share: float, seed: int) -> HeldOut:
        """Draw people, with one photo and with several alike.

        Args:
            people: of the data set.
            dataset: whose copies of their photos are found.
            share: of the people, in [0, 1].
            seed: of the draw.

        Raises:
            InputError: too few people on one of the two sides.
        """
        rng, counts = np.random.default_rng([seed]), people.counts
        kinds = [rng.permutation(np.flatnonzero(mask)) for mask in (counts > 1, counts == 1)]
        drawn = [kind[: round(share * len(kind))] for kind in kinds]
        members = np.sort(np.concatenate(drawn))
        others = len(counts) - len(members)
        if len(drawn[0]) < _FEWEST or others < _FEWEST:
            raise InputError(
                "--hold-out",
                "must hold out two people with several photos, and leave two people to train on",
                got=f"{share:g} of {people.text()}",
                fix=f"Use a {'larger' if others >= _FEWEST else 'smaller'} share, or align photos of more "
                "people.",
            )
        held = people.part(members)
        return cls(held, others, _copies(held, dataset))

    def write(self, path: Path) -> None:
        """Write the list that a training leaves out, for `data.exclude`."""
        left_out = [("identity", name) for name in self.people.names] + [
            ("photo", copy) for copy in self.copies
        ]
        write_exclusions(path, (Exclusion(kind, name, _REASON) for kind, name in left_out))

    def text(self, path: Path) -> str:
        """What a terminal says of it."""
        named = counted(len(self.people.names), "person")
        if self.copies:
            named += f" and {counted(len(self.copies), 'copy')} of their photos under other names"
        left = counted(self.others, "person")
        return f"{path}: for data.exclude; it names the {named}, and leaves {left} to train on"


def exclusions_beside(pairs: Path) -> Path:
    """Where the list for `data.exclude` lies, beside that of the pairs."""
    return pairs.with_name(f"{pairs.stem}-exclude.csv")


def _copies(held: People, dataset: AlignedDataset) -> tuple[str, ...]:
    table = dataset.columns(["photo", "identity", "crop_sha256"])
    photo, identity, crop = (table[name].cast(pa.large_string()) for name in table.column_names)
    theirs = pc.is_in(identity, pa.array(held.names, pa.large_string()))
    crops = crop.filter(theirs).drop_null().unique()
    return tuple(sorted(photo.filter(pc.and_(pc.is_in(crop, crops), pc.invert(theirs))).to_pylist()))
