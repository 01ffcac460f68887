"""Photos to aligned, labelled, checkable data; knows no recogniser."""
