"""Faults of a training set: people it shares with an evaluation set, duplicates, wrong labels."""
