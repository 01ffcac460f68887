"""Which form of aligned crops a pack is in, remembered beside it, so that opening it detects no faces."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from data_prep.atomic import write_text
from data_prep.dataset.already_aligned import CropForm, Sample, form_of


def form_of_pack(path: Path, sample: Sample) -> CropForm | None:
    """The form of a pack's crops: what is remembered of this sample, else what the detector says.

    A memory of other photos, a damaged one and a folder that cannot be written to only cost time.

    Args:
        path: the pack, a file or a folder.
        sample: of its photos.
    """
    memory = path / ".faceverif.json" if path.is_dir() else path.with_name(f".{path.name}.faceverif.json")
    form = _remembered(memory, sample.sha256)
    if form is None and (form := sample.form()) is not None:
        known = {"sample_sha256": sample.sha256, "template": form.template.name, "policy": form.policy}
        with suppress(OSError):
            write_text(memory, json.dumps(known))
    return form


def _remembered(memory: Path, sample_sha256: str) -> CropForm | None:
    try:
        known = json.loads(memory.read_bytes())
        return (
            form_of(known["template"], known["policy"]) if known["sample_sha256"] == sample_sha256 else None
        )
    except Exception:  # damaged, whatever that makes the parser raise
        return None
