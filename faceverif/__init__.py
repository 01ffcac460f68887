"""Train face embeddings, verify them by the field's protocols, and trace every number."""
