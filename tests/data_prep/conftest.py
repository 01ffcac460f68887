"""What the tests of data preparation share."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.face_model import load_face_model
from data_prep.synthetic import synthesise_photos


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos of four people who do not exist, three of each."""
    folder = tmp_path_factory.mktemp("people")
    synthesise_photos(load_face_model(), folder, identities=4, photos=3, seed=0)
    return folder
