"""Lists of pairs in every known format -> one `VerificationProtocol`. A form is a file and a line below."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.dataset.manifest import AlignedDataset
from data_prep.errors import InputError
from data_prep.ijb import find_ijb_files
from data_prep.printed_command import printed_command
from data_prep.protocols import cfp, insightface_bin, lfw, pair_table, rfw, sllfw, two_lines
from data_prep.protocols.base import PairFormat, ProtocolSize, VerificationProtocol
from data_prep.protocols.folds import refuse_one_sided
from data_prep.protocols.list_text import read_lines, unknown_list
from data_prep.protocols.matching import find_rows, names_any, pairs_within
from data_prep.protocols.photo_sets import on_photos
from data_prep.protocols.repeated_pairs import with_repeats_counted

__all__ = [
    "FORMATS",
    "ProtocolSize",
    "VerificationProtocol",
    "find_rows",
    "names_any",
    "pairs_within",
    "protocol_alone",
    "protocol_on",
    "with_repeats_counted",
]

# The first that recognises a file reads it: narrow forms stand before wide ones.
FORMATS: tuple[PairFormat, ...] = (
    cfp.FORMAT,
    rfw.FORMAT,
    insightface_bin.FORMAT,
    sllfw.FORMAT,
    two_lines.FORMAT,
    lfw.FORMAT,
    pair_table.FORMAT,
)
# Other commands read lists too, without such an option.
_IN_PART = (
    " `verify` and `calibrate` take a part with --allow-partial, a training's verification with "
    "allow_partial: true; such a number is not comparable."
)


def protocol_alone(
    path: Path, *, allow_partial: bool = False, official: ProtocolSize | None = None
) -> VerificationProtocol:
    """Read a protocol of any known format, recognised by its name and how it begins.

    For a list without photos. Where there are photos, `protocol_on` also says whether it is about them.

    Args:
        path: a pair file, a `.bin`, or CFP's folder `Split/FF` or `Split/FP`.
        allow_partial: take it although pairs or folds are missing; `partial` then says so.
        official: size of the whole, for a list that does not say which protocol it is.

    Raises:
        InputError: nothing there, an unknown format, a line that breaks it, or a protocol that is not whole.
    """
    _refuse_templates(path)
    for known in FORMATS:
        if known.recognises(path):
            protocol = known.load(path)
            protocol = replace(protocol, official=protocol.official or official)
            protocol = _whole(path, protocol, allow_partial=allow_partial)
            refuse_one_sided(str(path), protocol.same, protocol.fold, scored_folds=protocol.scored_folds)
            return protocol
    read_lines(path)  # says so where it is no text, or nothing
    raise unknown_list(path)


def protocol_on(path: Path, dataset: AlignedDataset, *, allow_partial: bool) -> VerificationProtocol:
    """Read a protocol for some photos, under the name that it has on them.

    Args:
        path: as for `protocol_alone`.
        dataset: the photos.
        allow_partial: as for `protocol_alone`; pairs whose photos are missing are left out too.

    Raises:
        InputError: as for `protocol_alone`; it is a benchmark's, and the photos are another one's; or two
            photos stand in it with both labels.
    """
    protocol = on_photos(protocol_alone(path, allow_partial=allow_partial), dataset.root)
    return with_repeats_counted(pairs_within(protocol, dataset) if allow_partial else protocol, dataset)


def _refuse_templates(path: Path) -> None:
    if (files := find_ijb_files(path)) is not None:
        options = ("--data", "ALIGNED", "--model", "MODEL", "--out", "RESULTS")
        raise InputError(
            str(path),
            "must be pairs of photos here",
            got=f"{files.name}'s lists of IJB templates",
            fix="Run: " + printed_command("verify", "--protocol", files.folder, *options),
        )


def _whole(path: Path, protocol: VerificationProtocol, *, allow_partial: bool) -> VerificationProtocol:
    official, size = protocol.official, protocol.size
    if official is None or size == official:
        return protocol
    fewer = size.pairs < official.pairs
    if allow_partial and fewer:
        return protocol.part(np.ones(len(protocol), dtype=bool))
    in_part = _IN_PART if fewer else ""
    raise InputError(
        str(path),
        f"{protocol.name} has {official.pairs:,} pairs in {official.folds} folds",
        got=f"{size.pairs:,} pairs in {size.folds}",
        fix=f"Get a complete copy.{in_part}",
    )
