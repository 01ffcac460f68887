"""How a text file is encoded: UTF-8, or UTF-16 as Excel saves "Unicode text" and PowerShell writes."""

from __future__ import annotations

import codecs
from pathlib import Path


def encoding_of(content: bytes) -> str:
    """The codec of a text, which leaves its byte-order mark out; without a mark it must be UTF-8.

    Args:
        content: its first bytes, three or more where it has as many.
    """
    return "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def read_text(path: Path) -> str:
    r"""A whole file, with `\n` at the end of each line.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    with path.open("rb") as file:
        opening = file.read(3)
    return path.read_text(encoding=encoding_of(opening))
