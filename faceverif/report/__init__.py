"""What a person reads: pages, figures and printed numbers."""
