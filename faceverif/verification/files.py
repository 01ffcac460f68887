"""The names of the files that a verification leaves in its folder."""

from __future__ import annotations

RESULT_NAME = "result.json"
SCORES_NAME = "scores.parquet"
FIGURES_NAME = "figures"
PAIRS_NAME = "pairs"  # within the figures
