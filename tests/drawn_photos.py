"""Photos of people who do not exist, drawn from the face model that comes with the package."""

from __future__ import annotations

from pathlib import Path

from data_prep.face_model import load_face_model
from data_prep.synthetic import synthesise_photos


def drawn_photos(folder: Path, *, identities: int, photos: int, seed: int = 0) -> list[Path]:
    """Their files, person after person."""
    synthesise_photos(load_face_model(), folder, identities=identities, photos=photos, seed=seed)
    return sorted(folder.rglob("*.jpg"))
