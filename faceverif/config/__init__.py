"""One YAML per run: the pydantic models behind it, and how it is read."""
