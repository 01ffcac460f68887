"""The field's public data sets: where they are, fetched and unpacked."""
