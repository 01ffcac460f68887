"""Labelled images of every kind behind one contract, `base.LabelledImages`."""
