"""The page of an audit, made only from the files in its folder, with the pictures inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.json_object import read_json
from faceverif.file_names import REPORT_NAME
from faceverif.report.pages import write_page
from faceverif.report.run_page import picture_uri

AUDIT_NAME = "audit.json"
EXCLUSIONS_NAME = "exclusions.csv"
PICTURES_NAME = "pictures"


def write_audit_report(folder: Path) -> Path:
    """Write the page of a folder that holds `audit.json` and `pictures/`."""
    facts = read_json(folder / AUDIT_NAME)
    pictures = {section["reason"]: _pictures(section, folder) for section in facts["sections"]}
    return write_page(
        folder / REPORT_NAME,
        "audit.html.j2",
        kind="Audit of training data",
        title=facts["train"]["path"],
        numbers={section["reason"]: section["found"] for section in facts["sections"]},
        facts=facts,
        pictures=pictures,
    )


def _pictures(section: dict[str, Any], folder: Path) -> list[tuple[dict[str, Any], str]]:
    """The worst findings of a section, each with its photos side by side as a data URI."""
    place = folder / PICTURES_NAME / section["reason"]
    return [
        (finding, picture_uri(place / f"{number:02d}.jpg")) for number, finding in enumerate(section["worst"])
    ]
