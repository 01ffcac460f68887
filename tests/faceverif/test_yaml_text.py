"""YAML 1.2 in, YAML 1.2 out; what is no config is one line at once."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverif.config.yaml_text import YAMLProblem, parse_setting, parse_yaml, read_yaml_file, yaml_text

PLAIN = {
    "064": 64,
    "-010": -10,
    "08": 8,
    "+12": 12,
    "0o10": 8,
    "0x1F": 31,
    "1e-3": 0.001,
    "5.": 5.0,
    ".5": 0.5,
    "1e999": math.inf,
    "-.inf": -math.inf,
    "true": True,
    "False": False,
    "~": None,
    "null": None,
    "": None,
    "no": "no",
    "on": "on",
    "1_000": "1_000",
    "0b11": "0b11",
    "1:30": "1:30",
    "2026-02-30": "2026-02-30",
    "=": "=",
    "<<": "<<",
    "photos#2": "photos#2",
}
SETTINGS = {
    "photos #2": "photos #2",
    "a: b": "a: b",
    "*x": "*x",
    "&x 3": "&x 3",
    "!!int 064": "!!int 064",
    "- 1": "- 1",
    "%a": "%a",
    " 3 ": 3,
    '"photos #2"': "photos #2",
    "'064'": "064",
    "[1, {a: no}]": [1, {"a": "no"}],
    json.dumps(["\U0001f600/\\", 'a"b']): ["\U0001f600/\\", 'a"b'],
}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
REFUSED = {
    "a key twice": ("a: 1\nb: 2\na: 3", 3, "key a stands twice"),
    "a key twice in quotes": ("1: a\n'1': b", 2, "key 1 stands twice"),
    "tab": ("a:\n\tb: 1", 2, "a tab stands where YAML needs spaces"),
    "itself": ("a: &a [*a]", 1, r"\*a must come after the whole of &a"),
    "itself, merged": ("a: &a {<<: *a}", 1, r"\*a must come after"),
    "an alias of nothing": ("a: *b", 1, r"\*b must come after"),
    "a bomb": (BOMB, 6, "more than 100,000 values"),
    "merged text": ("a: {<<: b}", 1, "must name a mapping"),
    "5,000 digits": ("a: " + "9" * 5000, 1, "a number of 5,000 characters"),
    "hexadecimal digits": ("a: 0x" + "f" * 5000, 1, "a number of 5,002 characters"),
    "a long fraction": ("a: 0." + "3" * 5000, 1, "a number of 5,002 characters"),
    "3,000 brackets": ("[" * 3000, 1, "more than 50 levels"),
    "3,000 braces": ("{a: " * 3000, 1, "more than 50 levels"),
    "3,000 dashes": ("- " * 3000, 1, "more than 50 levels"),
    "a staircase": ("".join(f"{' ' * level}a:\n" for level in range(300)), 52, "more than 50 levels"),
    "a template": ("seed: {{ seed }}", 1, "a key must be a word"),
    "a list as key": ("[a]: 1", 1, "a key must be a word"),
    "no key": ("'': 1", 1, "a key must be a word"),
    "two documents": ("a: 1\n---\na: 2", 2, "one document; another begins here"),
    "a tag": ("a: !!python/name:os.system", 1, "the tag !!python/name:os.system is not read"),
    "a number in a tag": ("a: !!int '064'", 1, "the tag !!int is not read"),
    "a strange version": ("%YAML 9.1\n---\na: 1", 1, "incompatible YAML"),
    "an at sign": ("a: @x", 1, "text that begins with @ needs quotes"),
    "half a character": (r'a: "\ud83d"', 1, "text must be Unicode"),
    "no character": (r'a: "\UFFFFFFFF"', None, "an escape .U must name a character"),
    "just beyond": (r'a: "\U00110000"', None, "an escape .U must name a character"),
    "NUL": (r'a: "\0"', 1, "no NUL"),
    "bytes": ("\0\1\2", None, "unacceptable character"),
    "no end": ("a: [1", 1, "expected"),
    "much": ("a: 1\n" + "# comment\n" * 20_000, None, "more than 100,000 characters"),
}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_values_are_those_of_yaml_1_2(text: str) -> None:
    for read in (lambda: parse_yaml(f"key: {text}")["key"], lambda: parse_setting(text)):
        value = read()
        assert (value, type(value)) == (PLAIN[text], type(PLAIN[text]))


def test_not_a_number_is_one() -> None:
    assert math.isnan(parse_yaml("a: .nan")["a"])


def test_a_directive_does_not_bring_yaml_1_1_back() -> None:
    assert parse_yaml("%YAML 1.1\n---\na: [064, no]\n") == {"a": [64, "no"]}


@pytest.mark.parametrize("text", SETTINGS)
def test_a_setting_is_one_value_to_its_end(text: str) -> None:
    assert parse_setting(text) == SETTINGS[text]


@pytest.mark.parametrize("text", ["{{ seed }}", '"a', '"a" #2', "[a #2]", "[1] 2", "{a: 1} }"])
def test_a_setting_that_does_not_end_as_it_begins_is_refused(text: str) -> None:
    with pytest.raises(YAMLProblem):
        parse_setting(text)


def test_aliases_and_merges_repeat_what_was_named() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\nd: {<<: [{y: 4}, *a]}\ne: [&b 5, *b]\n"
    read = parse_yaml(text)
    assert (read["b"], read["c"], read["d"], read["e"]) == (
        {"x": 1, "y": 3},
        {"x": 1, "y": 2},
        {"x": 1, "y": 4},
        [5, 5],
    )


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_config_is_refused_in_one_line_at_once(case: str) -> None:
    text, line, problem = REFUSED[case]
    start = time.process_time()
    with pytest.raises(YAMLProblem, match=problem) as raised:
        parse_yaml(text)
    assert time.process_time() - start < 1
    assert raised.value.line == line
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_may_be_in_utf_8_or_utf_16(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.yaml").write_bytes("path: Fotos/Müller\n".encode(encoding))
    assert read_yaml_file(tmp_path / "a.yaml") == {"path": "Fotos/Müller"}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: 1\nb: M\xfcller\n", 2),
        (b"\xff\xfe\x00", 1),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), 1),
        (b"a: 1\n" * 1_000_000, None),
    ],
    ids=["latin-1", "half a character", "picture", "much"],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: bytes, line: int | None) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(YAMLProblem) as raised:
        read_yaml_file(tmp_path / "a.yaml")
    assert raised.value.line == line


_TEXT = st.one_of(st.sampled_from([*PLAIN, *SETTINGS]), st.text(st.characters(exclude_categories=["Cs"])))
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False),
    _TEXT.filter(lambda text: "\0" not in text),
)


def _collections(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = _TEXT.filter(lambda text: text not in ("", "<<") and "\0" not in text and len(text) < 100)
    return st.one_of(st.lists(values, max_size=4), st.dictionaries(keys, values, max_size=4))


@given(st.recursive(_SCALARS, _collections, max_leaves=12))
def test_what_is_written_is_read_back(settings: Any) -> None:
    assert parse_yaml(yaml_text({"top": settings})) == {"top": settings}


def test_writing_keeps_the_order_of_keys_and_one_line_for_each() -> None:
    written = yaml_text({"b": {"name": "cosface", "scale": 30.0}, "a": "x" * 300, "path": "no"})
    assert written == f"b:\n  name: cosface\n  scale: 30.0\na: {'x' * 300}\npath: no\n"


@given(st.data())
def test_a_damaged_config_gives_a_value_or_one_line(data: st.DataObject) -> None:
    text = "common: {data: {path: a}, head: &h [1, 'x']}\nmethods:\n  - {name: b, seeds: [0, 1]}\n# end\n"
    junk = st.sampled_from([*"\t{}[]:, \n&*!|>'\"#-?%@`~\\\0", "&h ", "*h", "<<: ", "---\n", "!!", "\\x"])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + data.draw(junk) + text[place + data.draw(st.integers(0, 2)) :]
    try:
        json.dumps(parse_yaml(text))
    except YAMLProblem as problem:
        assert "\n" not in str(problem)  # noqa: PT017
