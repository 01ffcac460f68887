"""What the quality of photos does to a verification: errors over discarded pairs, and a least quality."""
