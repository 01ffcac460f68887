"""Faces in photos: MTCNN's cascade."""
