"""Faces in photos: MTCNN's cascade, or SCRFD or YuNet from a file."""
