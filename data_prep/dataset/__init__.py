"""An aligned data set on disk: its manifest, its crops, what packs and lists hold."""
