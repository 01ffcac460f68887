"""The names of the files that `faceverif rank` leaves in its folder."""

from __future__ import annotations

SEARCHES_NAME = "searches.parquet"
WRONG_NAME, STRANGERS_NAME = "wrong", "strangers"  # within the figures
