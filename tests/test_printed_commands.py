"""A command that a message prints works when it is copied into a shell, whatever its paths are called."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from small_faces import write_faces

from data_prep.errors import InputError
from data_prep.printed_command import printed_command
from faceverif.cli import main
from faceverif.models.location import refuse_onnx

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("data_prep", "faceverif", "robustness")
# A key of a config needs no quotes.
COMMAND_OF_A_PATH = re.compile(r"faceverif (?!config keys)[a-z-]+ [^`:]*\{\}")


def commands_with_plain_values(source: str) -> list[str]:
    """The f-strings that write a value behind a command of ours, with `{}` in its place."""
    texts = (
        "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.JoinedStr)
    )
    return [text for text in texts if COMMAND_OF_A_PATH.search(text)]


def test_a_value_behind_a_command_is_noticed() -> None:
    assert commands_with_plain_values('f"Run: faceverif align {a} {b}"')
    assert not commands_with_plain_values('f"`faceverif align` wrote {a}"; f"faceverif config keys {key}"')


def test_every_printed_command_quotes_its_values() -> None:
    modules = [path for package in PACKAGES for path in ROOT.glob(f"{package}/**/*.py")]
    assert len(modules) > 100
    for module in modules:
        assert commands_with_plain_values(module.read_text(encoding="utf-8")) == [], module


def test_the_next_commands_of_lists_are_read_by_a_shell_as_they_were_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / "my faces", people=8, photos=2)
    words = ["data", "pairs", "my faces", "--out", "my list.csv", "--folds", "2", "--hold-out", "0.5"]
    monkeypatch.setattr(sys, "argv", ["faceverif", *words])
    with pytest.raises(SystemExit):
        main()
    lines = capsys.readouterr().out.splitlines()
    train, verify = (shlex.split(line.removeprefix("next: ")) for line in lines if line.startswith("next: "))
    assert "data.path=my faces" in train
    assert "data.exclude=my list-exclude.csv" in train
    assert verify[:7] == [
        "faceverif",
        "verify",
        "--model",
        "runs/my list",
        "--data",
        "my faces",
        "--protocol",
    ]


def test_a_model_with_a_blank_in_its_name_is_imported_by_the_printed_command() -> None:
    with pytest.raises(InputError) as refused:
        refuse_onnx(Path("from anna/face net.onnx"))
    command = printed_command("import", "from anna/face net.onnx", "--preprocess", "NAME")
    assert f"{command} --out 'models/face net'" in refused.value.fix
