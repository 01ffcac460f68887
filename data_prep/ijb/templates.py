"""The list of photos: which IJB template and which medium each belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_prep.ijb.fields import broken_row, read_fields
from data_prep.inside import LEAVES_FOLDER

_RULE = "must be a picture, the number of its IJB template and that of its medium, separated by single spaces"


@dataclass(frozen=True)
class TemplatePhotos:
    """The photos of IJB templates, which are numbered from 0 on.

    Attributes:
        ids: (templates,) int64, rising: what the list calls each.
        names: (photos,) file names, each once.
        template: (photos,) int32, place in `ids`.
        medium: (photos,) int32, number of the group of photos that share IJB template and medium, from 0 on.
    """

    ids: NDArray[np.int64]
    names: pa.ChunkedArray
    template: NDArray[np.int32]
    medium: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.template)

    def part(self, kept: NDArray[np.bool_]) -> TemplatePhotos:
        """Some of the photos, (photos,) True for those; IJB templates keep their places, also empty ones."""
        return TemplatePhotos(
            self.ids, self.names.filter(pa.array(kept)), self.template[kept], self.medium[kept]
        )


def read_template_photos(path: Path) -> TemplatePhotos:
    """Read `ijbc_face_tid_mid.txt`.

    Raises:
        InputError: a line is torn, a picture comes twice, or its name leads out of its folder.
    """
    columns = {"name": pa.string(), "template": pa.int64(), "medium": pa.int64()}
    table = read_fields(path, columns, rule=_RULE)
    refuse_unfit_names(path, table["name"])
    ids, template = np.unique(table["template"].to_numpy(), return_inverse=True)
    media, medium = np.unique(table["medium"].to_numpy(), return_inverse=True)
    groups = np.unique(template * len(media) + medium, return_inverse=True)[1]
    return TemplatePhotos(ids, table["name"], template.astype(np.int32), groups.astype(np.int32))


def refuse_unfit_names(path: Path, names: pa.ChunkedArray) -> None:
    """Each picture is listed once, and lies in the folder of the pictures.

    Raises:
        InputError: one does not; names its line.
    """
    outside = np.flatnonzero(pc.match_substring_regex(names, LEAVES_FOLDER).to_numpy())
    if len(outside):
        raise broken_row(path, int(outside[0]), rule="must name a picture inside its folder")
    numbers = names.combine_chunks().dictionary_encode()
    if len(numbers.dictionary) == len(names):
        return
    indices = numbers.indices.to_numpy()
    first = np.unique(indices, return_index=True)[1]
    again = int(np.setdiff1d(np.arange(len(indices)), first)[0])
    name = numbers.dictionary[int(indices[again])].as_py()
    raise broken_row(path, again, rule="must name a picture that no line before it names", got=repr(name))
