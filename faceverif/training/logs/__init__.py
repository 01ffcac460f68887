"""What a run writes of its steps: rows of metrics.csv, and loggers that show them."""
