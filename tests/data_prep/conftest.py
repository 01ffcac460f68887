"""What the tests of data preparation share."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_photos import drawn_photos


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos of four people who do not exist, three of each."""
    folder = tmp_path_factory.mktemp("people")
    drawn_photos(folder, identities=4, photos=3)
    return folder
