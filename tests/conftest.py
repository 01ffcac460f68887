"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from data_prep import alignment
from faceverif.report import svg

_SHARED = Path(__file__).resolve().parents[2] / "shared"
_SMALLEST_CUT = alignment.SMALLEST_CUT
# Other processes may keep the cores busy, so nothing fails for being slow.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left with a long one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module")
def small_inputs() -> Iterator[None]:
    """For modules that ask: a network may see a small part of the crops' middle, as in `small_runs`."""
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
    """Within such a module, the rule about the crops' middle as users meet it."""
    monkeypatch.setattr(alignment, "SMALLEST_CUT", _SMALLEST_CUT)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets beside the project; tests that need it skip where it is absent."""
    if not (_SHARED / "data").is_dir():
        pytest.skip("no ../shared/data beside the project: real photos are not part of it")
    return _SHARED
