"""The web service of `faceverif serve`: photos in, similarity, decision and embeddings out, as JSON."""
