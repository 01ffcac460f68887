"""What a source of photos is: keys, identities, and bytes on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_prep.photos import read_bytes


@dataclass(frozen=True, kw_only=True)
class SourcePhoto(ABC):
    """A photo of a source; worker processes get it and read its bytes.

    Attributes:
        key: its name in the source, with forward slashes; unique and the same in every run.
        identity: who it shows; null where the source does not say.
        refused: why it cannot be used, where that is known already: a word as of `PhotoError`.
    """

    key: str
    identity: str | None
    refused: str | None = None

    @abstractmethod
    def read(self) -> bytes:
        """The encoded photo.

        Raises:
            PhotoError: it cannot be read.
        """


@dataclass(frozen=True, kw_only=True)
class FilePhoto(SourcePhoto):
    """A photo that is a file.

    Attributes:
        path: where it lies.
    """

    path: Path

    def read(self) -> bytes:
        """The file's content."""
        return read_bytes(self.path)


class SourceFormat(NamedTuple):
    """A kind of source.

    Attributes:
        description: for the message that lists what is known.
        recognises: whether this is one, told by what lies there.
        list_photos: every photo of it, sorted by key.
    """

    description: str
    recognises: Callable[[Path], bool]
    list_photos: Callable[[Path], Sequence[SourcePhoto]]
