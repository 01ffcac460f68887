"""The report pages in a folder of runs, and which files of it the page may hand out."""

from __future__ import annotations

import html
import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from faceverif.app.refusal import Refusal

MOST_REPORTS = 300

_DEEPEST = 5
_NAME = re.compile(r"report.*\.html")
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class ReportFile:
    """A report page.

    Attributes:
        place: its path below the folder of runs.
        title: of the page.
        written: when, local time.
    """

    place: str
    title: str
    written: datetime


@dataclass(frozen=True)
class FoundReports:
    """The report pages of a folder.

    Attributes:
        root: the folder's path.
        pages: newest first, at most `MOST_REPORTS`.
        left_out: how many more cannot be read, or are links out of the folder.
    """

    root: Path
    pages: tuple[ReportFile, ...]
    left_out: int


def find_reports(folder: str) -> FoundReports:
    """Look for report pages.

    Args:
        folder: of runs, experiments or verifications.

    Raises:
        Refusal: no such folder, or no report in it.
    """
    root = Path(folder).expanduser()
    if not folder.strip() or not root.is_dir():
        raise Refusal(f"There is no folder {folder!r}. Give the path of a folder of runs.")
    root = root.resolve()
    named = _pages(root)
    found = [report for path in named if (report := _report(path, root)) is not None]
    if not found:
        raise Refusal(
            f"{root} holds no report that can be read. `faceverif verify`, `train` and `reject` write them."
        )
    newest = sorted(found, key=lambda report: report.written, reverse=True)[:MOST_REPORTS]
    return FoundReports(root, tuple(newest), len(named) - len(found))


class Shelf:
    """The folders whose report pages the server hands out: those that a visitor has listed."""

    def __init__(self) -> None:
        self._roots: dict[str, Path] = {}

    def put(self, root: Path) -> str:
        """Make a folder's reports readable; returns the word that stands for it in addresses."""
        for word, known in self._roots.items():
            if known == root:
                return word
        word = secrets.token_urlsafe(12)
        self._roots[word] = root
        return word

    def page(self, word: str, place: str) -> Path | None:
        """The file of a report; None where it is none, or lies outside of the folder."""
        root = self._roots.get(word)
        if root is None or not _NAME.fullmatch(place.rpartition("/")[2]):
            return None
        path = root / place
        return path.resolve() if _is_inside(path, root) else None


def _pages(root: Path) -> list[Path]:
    pages = []
    for place, folders, files in os.walk(root):
        depth = len(Path(place).relative_to(root).parts)
        folders[:] = [] if depth >= _DEEPEST else sorted(name for name in folders if not name.startswith("."))
        pages += [Path(place) / name for name in files if _NAME.fullmatch(name)]
    return pages


def _is_inside(path: Path, root: Path) -> bool:
    """Whether it is a file of this folder: no link that leads out of it or nowhere, no pipe."""
    try:
        return path.resolve().is_relative_to(root) and path.is_file()
    except (OSError, ValueError, RuntimeError):  # a circle of links, a name that no file can have
        return False


def _report(path: Path, root: Path) -> ReportFile | None:
    """None for what the server would not hand out."""
    if not _is_inside(path, root):
        return None
    try:
        with path.open("rb") as file:
            title = _TITLE.search(file.read(_HEAD_BYTES).decode("utf-8", "replace"))
        written = datetime.fromtimestamp(path.stat().st_mtime)
    except OSError:  # no rights, or it is gone by now
        return None
    name = html.unescape(title[1]).strip() if title else path.parent.name
    return ReportFile(path.relative_to(root).as_posix(), name, written)
