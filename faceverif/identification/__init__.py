"""Whose face is it: searches of a gallery, and what they are worth."""
