"""Which form of aligned crops a pack is in, remembered, so that opening it again detects no faces.

The answer lies beside the pack, so that it moves with it. Where nothing can be written there, and for a pack
in a storage, it lies in the user's cache folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from data_prep.atomic import write_text
from data_prep.dataset.already_aligned import CropForm, Sample, form_of
from data_prep.own_files import user_cache
from data_prep.own_names import PACK_MEMORY
from data_prep.storage import address_of


def form_of_pack(path: Path, sample: Sample, *, whole: bool) -> CropForm | None:
    """The form of a pack's crops: what is remembered of this sample, else what the detector says.

    A memory of other photos, a damaged one and folders that cannot be written to only cost time.

    Args:
        path: the pack, a file or a folder.
        sample: of its photos.
        whole: whether it is of all photos. What a part of them says does not lie beside the pack, where it
            would take the place of the answer for the others.
    """
    places = list(_places(path, sample.sha256, whole=whole))
    for place in places:
        if (remembered := _remembered(place, sample.sha256)) is not None:
            return remembered
    form = sample.form()
    if form is not None:
        _remember(places, form, sample.sha256)
    return form


def _places(path: Path, sample_sha256: str, *, whole: bool) -> Iterator[Path]:
    """Where the answer may lie, the preferred place first."""
    if whole and address_of(path) is None:
        yield path / PACK_MEMORY if path.is_dir() else path.with_name(f".{path.name}{PACK_MEMORY}")
    yield user_cache("packs") / f"{sample_sha256}.json"


def _remember(places: list[Path], form: CropForm, sample_sha256: str) -> None:
    known = {"sample_sha256": sample_sha256, "template": form.template.name, "policy": form.policy}
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, json.dumps(known))
        except OSError:
            continue
        return


def _remembered(memory: Path, sample_sha256: str) -> CropForm | None:
    try:
        known = json.loads(memory.read_bytes())
        return (
            form_of(known["template"], known["policy"]) if known["sample_sha256"] == sample_sha256 else None
        )
    except Exception:  # damaged, whatever that makes the parser raise
        return None
