"""What several tests of rejection read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_rejection import settings

from faceverif.experiment.images import ImageTask
from robustness.rejection.run import run_rejection


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished experiment on digits. Nobody writes to it."""
    out = tmp_path_factory.mktemp("rejection")
    run_rejection(settings(), out, train=ImageTask().finish)
    return out
