"""The site's page of equations: which function holds which part of which paper, from the docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("faceverif", "robustness", "data_prep")
# The five papers that the project is about, by how docstrings name them, and by the modules of their losses.
PAPERS = {
    "L-GM (Wan et al., 2018)": r"Wan et al\.|L-GM[ ,]|heads\.lgm\.|penalties\.likelihood\.",
    "W-Softmax (Li & Wang, 2020)": r"Li & Wang|W-Softmax,|heads\.wsoftmax\.",
    "GSC (Zhao et al., 2022)": r"Zhao et al\.|GSC,|penalties\.gsc\.",
    "SNR (Ghobadzadeh & Lashkari)": r"Ghobadzadeh|penalties\.snr\.",
    "Improved loss (Wen et al., 2021)": r"Improved Loss|criteria\.improved\.",
}
_OTHERS = "Other papers"
_PLACE = re.compile(r"\b(?:Eqs?\.|Secs?\.|Theorem|Lemma|Algorithms?|Table|Figs?\.) \(?[0-9IVX]")
_OPENING = """# Where each equation lives

Generated from the docstrings. `tests/oracles/` holds a literal version of each loss in plain Python; tests
compare values and gradients.
"""


@dataclass(frozen=True)
class Place:
    """A docstring that names a part of a paper.

    Attributes:
        name: of the function, class or method, with its module.
        sentence: what it says.
    """

    name: str
    sentence: str


def equation_page(root: Path) -> str:
    """The page as Markdown, from the sources below a folder."""
    places = [
        place
        for package in PACKAGES
        for file in sorted((root / package).rglob("*.py"))
        for place in _of(root, file)
    ]
    blocks = [_OPENING]
    for paper, names in PAPERS.items():
        mine = [place for place in places if re.search(names, f"{place.sentence} {place.name}")]
        places = [place for place in places if place not in mine]
        blocks.append(_table(paper, mine))
    return "\n".join([*blocks, _table(_OTHERS, places)])


def _table(heading: str, places: list[Place]) -> str:
    rows = [f"| {_cell(place.sentence)} | `{place.name}` |" for place in places]
    return "\n".join([f"## {heading}\n", "| source | where |", "| --- | --- |", *rows, ""])


def _of(root: Path, file: Path) -> Iterator[Place]:
    module = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    yield from _in(ast.parse(file.read_text(encoding="utf-8")), module)


def _in(parent: ast.Module | ast.ClassDef, name: str) -> Iterator[Place]:
    """Functions and classes, then the methods of these."""
    for node in parent.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            own = f"{name}.{node.name}"
            for sentence in _sentences(ast.get_docstring(node) or ""):
                yield Place(own, sentence)
            if isinstance(node, ast.ClassDef):
                yield from _in(node, own)


def _sentences(docstring: str) -> Iterator[str]:
    """Those that name a place in a paper; full stops of abbreviations end none."""
    for paragraph in docstring.split("\n\n"):
        text = " ".join(paragraph.split())
        if text.startswith(("Args:", "Returns:", "Raises:", "Attributes:")):
            continue
        for sentence in re.split(
            r"(?<!al)(?<!Eq)(?<!Eqs)(?<!Sec)(?<!Secs)(?<!Fig)(?<!Figs)(?<!\bf)\. (?=[A-Z`])", text
        ):
            if _PLACE.search(sentence):
                yield sentence.rstrip(".")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
