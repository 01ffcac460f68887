"""Where photos come from: one kind of source a file."""
