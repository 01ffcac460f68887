"""Lists made of aligned photos: pairs for verification, a gallery and probes for identification."""
