"""The name of a file that several parts read or write stands in `faceverif.file_names` alone."""

from __future__ import annotations

import ast
from pathlib import Path

from faceverif import file_names

ROOT = Path(__file__).resolve().parents[1]
NAMES = {value for name, value in vars(file_names).items() if name.endswith("_NAME")}


def literals(source: str) -> set[str]:
    """The texts of a module that are a file's name and nothing else."""
    constants = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return NAMES & {node.value for node in constants if isinstance(node.value, str)}


def test_a_literal_is_noticed() -> None:
    assert literals('run / "config.yaml"') == {"config.yaml"}
    assert literals('"""Writes config.yaml."""') == set()


def test_no_module_writes_the_name_of_such_a_file_itself() -> None:
    modules = [path for package in ("faceverif", "robustness") for path in ROOT.glob(f"{package}/**/*.py")]
    assert len(modules) > 100
    for module in set(modules) - {Path(file_names.__file__)}:
        assert literals(module.read_text(encoding="utf-8")) == set(), module
