"""Files that may hold photos, in a form that `faceverif align` does not read."""

from __future__ import annotations

from collections.abc import Iterable

AS_FILES = (
    "`faceverif align` reads no Parquet: write the pictures as files, in a folder per person, and align that."
)
_ALIGNED = "Crops that are aligned already need no `align`: name them as they are, in --data or data.path."
_ARCHIVES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


def way_out(names: Iterable[str]) -> str:
    """What to do where no photo is found, by the names of the files that are there."""
    there = [name.lower() for name in names]
    if any(name.endswith(".parquet") for name in there):
        return f"{AS_FILES} {_ALIGNED}"
    if any(name.endswith(_ARCHIVES) for name in there):
        return "Unpack the archive, and give its folder."
    return "Check the path."
