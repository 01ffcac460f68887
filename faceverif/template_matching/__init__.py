"""IJB templates compared: the embeddings of their photos are pooled, and pairs of IJB templates scored."""
