"""The model that a run imitates, seen live or stored before the first step."""
