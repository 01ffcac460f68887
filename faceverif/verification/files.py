"""The names of the files that a verification leaves in its folder."""

from __future__ import annotations

SCORES_NAME = "scores.parquet"
PAIRS_NAME = "pairs"  # within the figures
