"""IJB's 1:N protocol on a model: embed each photo once, pool, search both galleries, measure, write."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import files_whole
from data_prep.ijb import SearchProtocol, TemplateList
from data_prep.json_object import write_json
from data_prep.lock import filled
from faceverif.file_names import FIGURES_NAME, REPORT_NAME, RESULT_NAME
from faceverif.identification.metrics import MOST_RANKS, IdentificationMetrics, Searches
from faceverif.identification.runner import COMMAND
from faceverif.identification.search import Gallery, search
from faceverif.models import Embedder
from faceverif.provenance import git_commit, result_versions
from faceverif.template_matching.embedding import EMBEDDINGS_NAME, embedded_templates
from faceverif.template_matching.search_result import GallerySearch, SearchResult
from faceverif.template_matching.task import SearchTask
from faceverif.verification.earlier_result import refuse_other_result
from faceverif.verification.result import ModelFacts


def rank_templates(embedder: Embedder, task: SearchTask, *, out: Path) -> SearchResult:
    """Search every probe in both galleries, and write result, searches, figures and report into a folder.

    Args:
        embedder: the model.
        task: what is searched.
        out: the folder; embeddings of photos stay in it: see `embedded_templates`.

    Raises:
        InputError: as `embedded_templates`; no probe is mated; or `out` is a file, holds another result,
            cannot be written, or is in use.
    """
    embedder.spec.refuse_other(task.dataset.header)
    refuse_other_result(out, embedder, task.dataset, task.protocol)
    with filled(out, command=COMMAND):
        result = search_templates(embedder, task, folder=out / EMBEDDINGS_NAME)
        write_search_result(result, out)
    return result


def search_templates(embedder: Embedder, task: SearchTask, *, folder: Path) -> SearchResult:
    """Embed, pool, search and measure; the folder as for `embedded_templates`."""
    start = time.monotonic()
    unit, warnings = embedded_templates(embedder, task, folder=folder)
    return SearchResult(
        task=task,
        galleries={each.name: search_gallery(unit, each, task.protocol) for each in task.protocol.galleries},
        model=ModelFacts.of(embedder),
        seconds=time.monotonic() - start,
        versions=result_versions(),
        git_commit=git_commit(),
        warnings=warnings,
    )


def search_gallery(
    unit: NDArray[np.float32], gallery: TemplateList, protocol: SearchProtocol
) -> GallerySearch:
    """Every probe in one gallery.

    Args:
        unit: (templates, dim) of length 1; zero for one without a crop, which takes no part.
        gallery: who is searched.
        protocol: the probes.
    """
    probes = protocol.probes
    there = np.asarray(unit.any(axis=1))
    enrolled, searched = there[gallery.template], there[probes.template]
    people = Gallery.of(unit[gallery.template[enrolled]], gallery.subject[enrolled])
    candidates = search(unit[probes.template[searched]], people, count=MOST_RANKS + 1)
    searches = Searches.of(
        candidates,
        searched=searched,
        person=probes.subject,
        mated=np.isin(probes.subject, gallery.subject),
        people=people.people,
    )
    best = np.full(len(probes), -1, np.int64)
    best[searched] = gallery.template[np.flatnonzero(enrolled)[candidates.entry[:, 0]]]
    return GallerySearch(IdentificationMetrics.of(searches), best)


def write_search_result(result: SearchResult, out: Path) -> None:
    """Write the files of searches: what each probe found, numbers, figures, and the report."""
    from faceverif.identification.figures import identification_panels  # brings matplotlib
    from faceverif.report.pages import write_page
    from faceverif.report.plotting import house_style
    from faceverif.report.svg import save_panels

    facts, figures = result.as_json(), {}
    with files_whole(out) as files, house_style():
        write_json(files / RESULT_NAME, facts)
        for name, found in result.galleries.items():
            pq.write_table(result.table(name), files / f"searches-{name}.parquet")
            panels = identification_panels(found.metrics.searches)
            named = [replace(panel, name=f"{panel.name}-{name}") for panel in panels]
            figures[name] = save_panels(named, files / FIGURES_NAME)
        write_page(
            files / REPORT_NAME,
            "template_searches.html.j2",
            kind="Face identification by IJB templates",
            title=result.protocol.name,
            numbers={name: facts[name] for name in ("mean_rank", "mean_tpir_at_fpir")},
            facts=facts,
            figures=figures,
        )
