"""What goes to the console is one line, whatever names are in it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dataset.crops import CropFiles
from data_prep.errors import InputError, first_line, printable
from data_prep.progress import progress, say
from faceverif.report.run_page import own_files

_FORGED = "a.jpg\nall good\r\x1b[1A\x9b2J\u202egpj\udcff"
_WRITTEN = r"a.jpg\nall good\r\x1b[1A\x9b2J\u202egpj\udcff"


@given(st.text(st.characters(codec=None)))
def test_printable_is_one_line_and_can_be_encoded(text: str) -> None:
    line = printable(text)
    line.encode("utf-8")
    assert len(line.splitlines()) <= 1
    assert printable(line) == line


def test_names_stay_readable() -> None:
    for name in ("Zoë Müller/1.jpg", "李 明", "دانش\u200cآموز", "C:\\photos\\1.jpg", "👩\u200d🔬"):
        assert printable(name) == name
    assert printable(_FORGED) == _WRITTEN


def test_errors_notices_and_progress_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(InputError(_FORGED, "rule", got=_FORGED, fix="Fix.")).count(_WRITTEN) == 2
    say(_FORGED)
    with progress(_FORGED, total=1) as advance:
        advance(1, _FORGED)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(_WRITTEN in line for line in lines)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_console_without_a_letter_costs_no_result(tmp_path: Path, encoding: str) -> None:
    code = (
        "import sys; from data_prep.progress import let_console_take_any_text as let; "
        "let(); print('李 明'); print('Ω', file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=60
    )
    assert run.stdout.decode(encoding).strip() in ("李 明", r"\u674e \u660e")
    assert run.stderr.decode(encoding).strip() in ("Ω", r"\u03a9")


def test_what_another_library_says_is_cut_to_the_beginning_of_its_first_line() -> None:
    assert first_line(ValueError("a" * 1000 + "\nb")) == "a" * 200
    assert first_line(ValueError(" ")) == "ValueError"


def refused(path: Path, *_: Any, **__: Any) -> NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_missing_rights_are_not_reported_as_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root, no rights are missing, so the system's answer is pretended."""
    with pytest.raises(PermissionError), own_files(tmp_path):
        refused(tmp_path / "report.html")
    (tmp_path / "a.png").touch()
    crops = CropFiles(crop_px=112, root=tmp_path, names=pa.chunked_array([["a.png"]]))
    assert "must be a readable 112 x 112 picture" in str(crops.unreadable(0))
    monkeypatch.setattr(Path, "open", refused)
    assert "must be readable for you" in str(crops.unreadable(0))
    assert "Change the rights" in str(crops.unreadable(0))
