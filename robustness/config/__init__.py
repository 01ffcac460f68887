"""What a rejection config may say: sections and names, read without PyTorch."""
