"""From pairs of photos to numbers that can stand: protocol runner, metrics, calibration, comparison."""
