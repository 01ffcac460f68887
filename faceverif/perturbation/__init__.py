"""Changes of an image within a ball: what training withstands and attacks look for."""
