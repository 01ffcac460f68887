"""FER2013's CSV: its parts, and one line for whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.errors import InputError
from data_prep.sources.fer2013 import read_fer2013

PIXELS = " ".join(str(number % 256) for number in range(48 * 48))
LINES = ["emotion,pixels,Usage", f"0,{PIXELS},Training", f"6,{PIXELS},Training", f"3,{PIXELS},PublicTest"]
LAST = f"5,{PIXELS},PrivateTest"


def write(folder: Path, *lines: str) -> Path:
    (folder / "fer2013.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_parts_images_and_labels(tmp_path: Path) -> None:
    marked = tmp_path / "marked"
    marked.mkdir()
    write(marked, "\ufeff" + LINES[0], *LINES[1:], LAST)  # with a byte-order mark
    write(tmp_path, *LINES, LAST)
    for path in (tmp_path, tmp_path / "fer2013.csv", marked):
        parts = read_fer2013(path)
        assert {part: labels.tolist() for part, (_, labels) in parts.items()} == {
            "Training": [0, 6],
            "PublicTest": [3],
            "PrivateTest": [5],
        }
        image = parts["Training"][0][1]
        assert image.shape == (48, 48)
        assert image[1, 2] == 50
        assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (f"7,{PIXELS},Training", r"emotion must be a number from 0 to 6; got '7' in .*line 5"),
        (
            f"1,{PIXELS},Test",
            r"Usage must be one of Training, PublicTest, PrivateTest; got 'Test' in .*line 5",
        ),
        ("1,1 2 3,Training", r"pixels must be 2,304 numbers from 0 to 255; got 3 entries.*line 5"),
        (f"1,{PIXELS[:-3]}xyz,Training", r"got 2,304 entries, 2,303 of them such numbers, in .*line 5"),
        (f"1,300 {PIXELS.partition(' ')[2]},Training", r"got 2,304 entries, 2,303 of them such numbers"),
        (f"1,{PIXELS[:-3]}999,Training", r"pixels must be .*line 5"),
        (f"1,{PIXELS},Training,1", r"must have one field per column; got more in .*line 5"),
        ("1", r"Usage must be one of .*; got '' in .*line 5"),
        (f'1,"{PIXELS}', r"must be a CSV of text"),
    ],
)
def test_a_torn_line_is_named(tmp_path: Path, line: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        read_fer2013(write(tmp_path, *LINES, line))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must hold fer2013\.csv; got .*Download FER2013"):
        read_fer2013(tmp_path)
    with pytest.raises(InputError, match="none of PrivateTest"):
        read_fer2013(write(tmp_path, *LINES))
    with pytest.raises(InputError, match="without pixels"):
        read_fer2013(write(tmp_path, "emotion,Usage", "1,Training"))
    (tmp_path / "fer2013.csv").write_bytes(b"\xff\xfe\x00,\x00")
    with pytest.raises(InputError, match="must be a CSV of text"):
        read_fer2013(tmp_path)
