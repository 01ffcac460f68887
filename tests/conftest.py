"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep import alignment
from faceverif.report import svg

_SHARED = Path(__file__).resolve().parents[2] / "shared"


SMALLEST_CUT = alignment.SMALLEST_CUT


@pytest.fixture(scope="session", autouse=True)
def quick_inputs() -> Iterator[None]:
    """Networks may see a small part of the crops' middle: the tests' nets take 32 pixels, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "SMALLEST_CUT", 0.25)
        yield


@pytest.fixture(scope="session", autouse=True)
def small_figures() -> Iterator[None]:
    """What figures draw as pixels has few of them: no test looks at them, and many take long to draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svg, "_DOTS_PER_INCH", 40)
        yield


@pytest.fixture
def real_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule about the crops' middle as users meet it."""
    monkeypatch.setattr(alignment, "SMALLEST_CUT", SMALLEST_CUT)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets beside the project; tests that need it skip where it is absent."""
    if not (_SHARED / "data").is_dir():
        pytest.skip("no ../shared/data beside the project: real photos are not part of it")
    return _SHARED
