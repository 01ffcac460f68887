"""The names of the files that `faceverif rank` leaves in its folder."""

from __future__ import annotations

RESULT_NAME = "result.json"
SEARCHES_NAME = "searches.parquet"
FIGURES_NAME = "figures"
WRONG_NAME, STRANGERS_NAME = "wrong", "strangers"  # within the figures
