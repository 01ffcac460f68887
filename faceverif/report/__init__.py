"""What a person reads: pages, figures, numbers."""
