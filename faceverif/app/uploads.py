"""Where visitors' uploads lie, and whether a browser names one of them or another file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceverif.app.refusal import Refusal

# Gradio and the libraries below it ask these before they call home.
_SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Uploads:
    """What visitors have uploaded.

    Attributes:
        folder: where it lies, without links; nothing else lies there.
    """

    folder: Path

    def holds(self, path: str) -> bool:
        """Whether a path is that of an upload."""
        try:
            found = Path(path).resolve()
            return found.is_relative_to(self.folder) and found.is_file()
        except (OSError, ValueError, RuntimeError):  # a name that no file can have
            return False

    def read(self, path: str) -> bytes | None:
        """The bytes of an upload; None where it was deleted, or the path is that of another file."""
        try:
            return Path(path).read_bytes() if self.holds(path) else None
        except FileNotFoundError:
            return None

    def checked(self, path: object) -> Path:
        """The path of an upload, as a browser gave it.

        Raises:
            Refusal: it is that of another file, or an address.
        """
        if not isinstance(path, str) or not self.holds(path):
            raise Refusal("This is no uploaded photo. Give the photo again.")
        return Path(path)

    def check_sent(self, sent: Any) -> None:
        """Refuse a message that names a file other than an upload, wherever in it.

        Args:
            sent: by a browser: JSON, in which files are objects with a `path`.

        Raises:
            Refusal: it names another file, or an address.
        """
        if isinstance(sent, dict):
            if sent.get("path") is not None:
                self.checked(sent["path"])
            sent = list(sent.values())
        if isinstance(sent, list | tuple):
            for part in sent:
                self.check_sent(part)


@contextmanager
def temporary_uploads() -> Iterator[Uploads]:
    """A folder of its own for uploads, deleted at the end; Gradio would share one below /tmp and keep it."""
    with tempfile.TemporaryDirectory(prefix="faceverif-app-") as made:
        folder = Path(made).resolve()
        changed = {**_SILENT, "GRADIO_TEMP_DIR": str(folder)}
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        try:
            yield Uploads(folder)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
