"""The page of `faceverif data check`: what a data set is, whether it is whole, and all that is broken."""

from __future__ import annotations

from pathlib import Path

from data_prep.check import CheckReport
from data_prep.errors import InputError, printable
from faceverif.file_names import REPORT_NAME
from faceverif.report.pages import write_page

# More names would make the page slow; summary.json has all.
_MOST_NAMES = 1000


def write_check_page(report: CheckReport, out: Path) -> Path:
    """Write report.html, and summary.json with the name of everything that is broken.

    Args:
        report: what was found.
        out: the folder.
    """
    problems = {
        printable(line): [printable(name) for name in report.named.get(line, ())] for line in report.problems
    }
    return write_page(
        out / REPORT_NAME,
        "data_check.html.j2",
        kind="Data set",
        title=printable(str(report.path)),
        numbers={"whole": report.whole, "problems": problems},
        found=printable(report.kind),
        whole=report.whole,
        facts=[printable(fact) for fact in report.facts],
        problems=problems,
        most_names=_MOST_NAMES,
    )


def refuse_inside(out: Path, data: Path) -> None:
    """A page does not lie in the data that it is about: the next check would count it.

    Raises:
        InputError: it would.
    """
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(
            "--out",
            "must lie outside of the data set",
            got=out,
            fix=f"Name another folder: --out {data.resolve().name}-check.",
        )
