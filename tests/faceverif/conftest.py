"""Tiny nets gain nothing from a second thread, and two threads on a busy machine wait for each other."""

from __future__ import annotations

import os

import torch

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)
