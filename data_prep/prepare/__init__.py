"""What `faceverif align` does: photos to an aligned data set, in worker processes, with a journal."""
