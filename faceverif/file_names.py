"""The names of files in the folders of runs and results that several parts of the package read or write."""

from __future__ import annotations

# In the folder of a run.
CONFIG_NAME = "config.yaml"
METRICS_NAME = "metrics.csv"
PROVENANCE_NAME = "provenance.json"

# In the folder of a result, which some runs are too.
RESULT_NAME = "result.json"
REPORT_NAME = "report.html"
SUMMARY_NAME = "summary.json"  # of report.html, for programs
FIGURES_NAME = "figures"
