"""Error rates of groups: the group of each pair, and how often the pairs of each are decided wrongly."""
