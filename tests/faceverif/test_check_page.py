"""`faceverif data check --out`: the page names everything that is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from field_formats import picture
from pages import check_page

from faceverif.cli import main


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    monkeypatch.setattr("sys.argv", ["faceverif", "data", "check", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, error = capsys.readouterr()
    return f"{ended.value.code} {out}{error}"


def test_the_page_names_what_the_terminal_only_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for number in range(6):
        place = photos / "ab"[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(number) if number < 2 else b"")
    said = printed(capsys, monkeypatch, photos, "--out", out)
    assert said.startswith("1 ")
    assert f"report: {out / 'report.html'}" in said
    [(line, names)] = json.loads((out / "summary.json").read_text())["numbers"]["problems"].items()
    assert line.startswith("4 files without content (zero bytes, or a dangling link): a/2.jpg")
    assert names == ["a/2.jpg", "a/4.jpg", "b/3.jpg", "b/5.jpg"]
    check_page(out / "report.html")
    assert "\n".join(names) in (out / "report.html").read_text()
    inside = printed(capsys, monkeypatch, photos, "--out", photos / "report")
    assert inside.startswith("2 ")
    assert "--out: must lie outside of the data set" in inside
    assert not (photos / "report").exists()
