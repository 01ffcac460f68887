"""The files and folders of a job, as each worker sees them: the same everywhere, and still there."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.own_names import SHARED_MARK, is_own
from data_prep.work.job import Job, WorkStopped

_Identity = tuple[int, int]  # device and inode: another file system at the same path has others


@dataclass(frozen=True)
class Storage:
    """What a job reads and writes, as the process that starts it sees it.

    Attributes:
        folder: where this process works; relative paths of the job begin there.
        contents: absolute path -> what is there, in few characters.
    """

    folder: Path
    contents: dict[Path, str]

    @classmethod
    @contextmanager
    def shown(cls, job: Job[Any, Any]) -> Iterator[Storage]:
        """What the nodes of a cluster must see too; a mark lies in the folder that is written, meanwhile."""
        seen = {path.absolute(): _content(path) for path in job.reads}
        if job.writes is None:
            yield cls(Path.cwd(), seen)
            return
        for left in job.writes.glob(f"{SHARED_MARK}*"):  # by a process that was killed
            left.unlink(missing_ok=True)
        mark = job.writes.absolute() / f"{SHARED_MARK}{secrets.token_hex(8)}"
        mark.touch()
        try:
            yield cls(Path.cwd(), seen | {mark: _content(mark)})
        finally:
            with suppress(OSError):
                mark.unlink(missing_ok=True)

    def enter(self, node: str) -> None:
        """Work where the other process works, and compare what is seen.

        Args:
            node: where this is, for the message.

        Raises:
            WorkStopped: something is not there, or something else is.
        """
        with suppress(OSError):  # a folder of that machine alone: the paths that matter may be absolute
            os.chdir(self.folder)
        for path, content in self.contents.items():
            try:
                got = _content(path)
            except OSError:
                got = ""
            if got != content:
                place = path.parent if path.name.startswith(SHARED_MARK) else path
                raise WorkStopped(
                    "--on",
                    "every node must see the same files and folders",
                    got=f"{place}, which node {node} {'sees otherwise' if got else 'does not see'}",
                    fix="Put it on storage that all nodes mount there, and name it by its whole path.",
                )


class Watch:
    """Notices that storage is gone. Else its photos would count as unreadable, and crops lie below a mount.

    Args:
        job: whose files and folders.
    """

    def __init__(self, job: Job[Any, Any]) -> None:
        paths = [*job.reads, *([] if job.writes is None else [job.writes])]
        self._begun = {path: _identity(path) for path in paths}

    def refuse_vanished(self) -> None:
        """Compare with what was there at the beginning.

        Raises:
            WorkStopped: a file or folder is gone, or another file system is in its place.
        """
        for path, identity in self._begun.items():
            if _identity(path) != identity:
                raise WorkStopped(
                    "storage",
                    "must stay there while it is worked on",
                    got=f"{path}, which is gone",
                    fix="Bring it back, then run the same command again.",
                )


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _content(path: Path) -> str:
    """The size of a file, or a hash of a folder's names."""
    if not path.is_dir():
        return f"{path.stat().st_size} bytes"
    names = sorted(name for name in os.listdir(os.fsencode(path)) if not is_own(os.fsdecode(name)))
    return hashlib.sha256(b"\0".join(names)).hexdigest()[:16]
