"""The part of a backbone that does not learn, and its stored features."""
