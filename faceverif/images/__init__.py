"""Labelled images, as models and attacks read them."""
