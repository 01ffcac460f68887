"""Writes what is generated from the config sections: the reference page, and a JSON schema for each command.

    python docs/from_code/config_pages.py

A test holds both to the sections.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.atomic import write_text
from faceverif.cli.configs import all_parts, config_models

if TYPE_CHECKING:
    from faceverif.config.reference import Part

ROOT = Path(__file__).resolve().parents[2]
PAGE = Path("docs/reference/config.md")
SCHEMAS = Path("configs/schema")
_OPENING = """# Config keys

Generated from the code by `make reference`. `faceverif config keys SECTION` prints the same.

A config is one YAML file for one command. A key that does not exist is an error, and so is a value of the
wrong type. `--set KEY=VALUE` replaces one key: `--set head.margin=0.4`, `--set penalties.0.weight=0.1`.
`KEY=null` switches off what can be left out; an empty value is an error.

Editors with a YAML language server check and complete a config that opens with this line; the path leads
from the config to a file in `configs/schema/`:

    # yaml-language-server: $schema=../schema/train.json
"""


def pages() -> Iterator[tuple[Path, str]]:
    """Path below the project, and content, of every generated file."""
    from faceverif.config.reference import json_schema

    yield PAGE, page_text(all_parts())
    for command, model in config_models().items():
        schema = json_schema(model, title=f"A config of faceverif {command}")
        yield SCHEMAS / f"{command}.json", json.dumps(schema, indent=1) + "\n"


def page_text(parts: dict[str, Part]) -> str:
    """The reference as Markdown; a section that stands in several places is written once."""
    blocks: list[str] = [_OPENING]
    first: dict[object, str] = {}
    for path, part in parts.items():
        same = first.setdefault((part.choices, part.keys, part.meaning), path)
        heading = f"{'###' if '.' in path else '##'} {path}"
        if same == path:
            blocks.append(f"{heading}\n\n{part.meaning[:1].upper()}{part.meaning[1:]}\n\n{_table(part)}")
        elif _is_named_alone(path, same, first.values()):
            blocks.append(f"{heading}\n\nAs [{same}](#{same.replace('.', '')}).\n")
    return "\n".join(blocks)


def _is_named_alone(path: str, same: str, written: Collection[str]) -> bool:
    """Whether a section like an earlier one gets a heading: not where the section around it refers there."""
    around = same.rpartition(".")[0]
    return around not in written or path.count(".") == 1 or around == path.rpartition(".")[0]


def _table(part: Part) -> str:
    if part.choices:
        rows = [f"| `{name}` | {_cell(meaning)} |" for name, meaning in part.choices]
        return "\n".join(["| name | |", "| --- | --- |", *rows, ""])
    if not part.keys:
        return "No keys but `name`.\n"
    rows = [
        f"| `{key.name}` | {_cell(key.kind)} | {_cell(key.default) or 'required'} | {_cell(key.meaning)} |"
        for key in part.keys
    ]
    return "\n".join(["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for path, text in pages():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(ROOT / path, text)
