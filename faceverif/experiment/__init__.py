"""Tables of methods x cases x seeds, of image classifiers or of face models."""
