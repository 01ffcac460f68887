"""Hashes of the content of files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_hash(path: Path, method: str = "sha256") -> str:
    """The hash of a file, in hexadecimal digits; it is read in portions.

    Args:
        path: the file.
        method: of hashlib: sha256 or md5.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, method).hexdigest()


def joint_hash(*paths: Path) -> str:
    """The SHA-256 of the content of some files, one after the other, which are held in memory."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
