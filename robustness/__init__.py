"""Attack a face model or classifier, and reject what does not look like its training data."""
