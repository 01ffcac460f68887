"""The page of searches, made from the files in their folder, with embedded pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data_prep.json_object import read_json
from faceverif.file_names import FIGURES_NAME, REPORT_NAME, RESULT_NAME
from faceverif.identification.figures import identification_panels, read_searches
from faceverif.identification.files import SEARCHES_NAME, STRANGERS_NAME, WRONG_NAME
from faceverif.report.pages import write_page
from faceverif.report.plotting import house_style
from faceverif.report.run_page import picture_uri
from faceverif.report.svg import save_panels

_MAIN_NUMBERS = ("answer", "rank", "rank_interval", "tpir_at_fpir")


@dataclass(frozen=True)
class ShownSearch:
    """A search as the page shows it.

    Attributes:
        probe, identity: the photo, and who it shows; empty where that is unknown.
        gallery_photo, person: the most similar one.
        similarity: of the two.
        fallback: whether the probe or its mates have no face.
        source: both crops side by side, as a data URI.
    """

    probe: str
    identity: str
    gallery_photo: str
    person: str
    similarity: float
    fallback: bool
    source: str


def write_identification_report(folder: Path) -> Path:
    """Write figures and page of a folder that holds the result, the searches and their pictures."""
    facts = read_json(folder / RESULT_NAME)
    with house_style():
        figures = save_panels(identification_panels(read_searches(folder)), folder / FIGURES_NAME)
    return write_page(
        folder / REPORT_NAME,
        "identification.html.j2",
        kind="Face identification",
        title=facts["protocol"],
        numbers={name: facts[name] for name in _MAIN_NUMBERS},
        facts=facts,
        figures=figures,
        wrong=_shown(folder, WRONG_NAME),
        strangers=_shown(folder, STRANGERS_NAME),
    )


def _shown(folder: Path, name: str) -> list[ShownSearch]:
    """The searches with a picture, most similar first. A picture's name is its row in the searches."""
    table = pq.read_table(folder / SEARCHES_NAME)
    pictures = (folder / FIGURES_NAME / name).glob("*.jpg")
    found = [_search(table.slice(int(path.stem), 1).to_pylist()[0], path) for path in pictures]
    return sorted(found, key=lambda search: -search.similarity)


def _search(row: dict[str, Any], picture: Path) -> ShownSearch:
    return ShownSearch(
        row["probe"],
        row["identity"] or "",
        row["gallery_photo"],
        row["person"] or "",
        row["similarity"],
        row["fallback"],
        picture_uri(picture),
    )
