"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets beside the project; tests that need it skip where it is absent."""
    if not (_SHARED / "data").is_dir():
        pytest.skip("no ../shared/data beside the project: real photos are not part of it")
    return _SHARED
