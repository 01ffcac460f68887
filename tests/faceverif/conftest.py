"""What tests of training share.

Tiny nets gain nothing from a second thread, and two threads on a busy machine wait for each other.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from small_faces import write_faces

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An aligned set: four people with five photos each."""
    return write_faces(tmp_path_factory.mktemp("data"), people=4, photos=5).root
