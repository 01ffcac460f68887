"""An identification protocol on a model: embed each photo once, search every probe, measure, write."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import files_whole, refuse_file
from data_prep.counted import counted
from data_prep.dataset.packed import load_aligned
from data_prep.json_object import write_json
from data_prep.lock import filled
from data_prep.protocols.identification import IdentificationProtocol
from faceverif.file_names import FIGURES_NAME, RESULT_NAME
from faceverif.identification.files import SEARCHES_NAME
from faceverif.identification.listed import ListedPhotos, copies, find_listed, unit_embeddings
from faceverif.identification.metrics import MOST_RANKS, IdentificationMetrics, Searches
from faceverif.identification.pictures import write_pictures
from faceverif.identification.result import IdentificationResult
from faceverif.identification.search import Gallery, search
from faceverif.models import Embedder
from faceverif.provenance import git_commit, result_versions
from faceverif.verification.collapse import collapse_warning, different_photos
from faceverif.verification.earlier_result import refuse_other_result
from faceverif.verification.embeddings import EmbeddedPhotos
from faceverif.verification.result import ModelFacts
from faceverif.verification.seen_photos import seen_warning

COMMAND = "faceverif rank"  # for the message to a second process that fills the same folder


def evaluate(
    embedded: EmbeddedPhotos,
    protocol: IdentificationProtocol,
    *,
    found: tuple[ListedPhotos, ListedPhotos] | None = None,
) -> IdentificationResult:
    """Search every probe in the gallery, without writing anything.

    Args:
        embedded: a model on aligned crops of every photo that the lists name.
        protocol: the lists.
        found: the photos of gallery and probes, where they were looked up before.

    Raises:
        InputError: photos are missing from the data set or stand twice, or no probe is mated.
    """
    start = time.monotonic()
    dataset, people = embedded.dataset, protocol.people()
    listed, probes = found or find_listed(protocol, dataset)
    unit, usable = unit_embeddings(embedded, listed)
    gallery = Gallery.of(unit, people.gallery[usable])
    unit, searched = unit_embeddings(embedded, probes)
    begin = time.monotonic()
    candidates = search(unit, gallery, count=MOST_RANKS + 1)
    seconds = time.monotonic() - begin
    searches = Searches.of(
        candidates, searched=searched, person=people.probes, mated=people.probes >= 0, people=gallery.people
    )
    best = np.full(len(searched), -1)
    best[searched] = np.flatnonzero(usable)[candidates.entry[:, 0]]
    return IdentificationResult(
        protocol=protocol,
        people=people,
        gallery=listed,
        probes=probes,
        best=best,
        metrics=IdentificationMetrics.of(searches),
        dataset=dataset,
        model=ModelFacts.of(embedded.embedder),
        flip=embedded.flip,
        seconds=(time.monotonic() - start, seconds),
        versions=result_versions(),
        git_commit=git_commit(),
        warnings=tuple(_warnings(embedded, listed.rows[usable], copies(listed, probes, dataset))),
    )


def rank(
    embedder: Embedder, data: Path, protocol: IdentificationProtocol, *, out: Path, flip: bool
) -> IdentificationResult:
    """Search every probe and write result, searches, figures and report into a folder.

    Args:
        embedder: the model.
        data: an aligned folder.
        protocol: the lists.
        out: the folder for `result.json`, `searches.parquet`, `report.html` and `figures/`.
        flip: average each embedding with that of the mirrored crop.

    Raises:
        InputError: see `evaluate`; or the template differs, or `out` is a file, holds another result, cannot
            be written, or is in use.
    """
    refuse_file(out)
    embedded = EmbeddedPhotos(embedder, load_aligned(data), flip=flip)
    found = find_listed(protocol, embedded.dataset)
    refuse_other_result(out, embedder, embedded.dataset, protocol)
    with filled(out, command=COMMAND):
        result = evaluate(embedded, protocol, found=found)
        write_result(result, out)
    return result


def write_result(result: IdentificationResult, out: Path) -> None:
    """Write the files of searches into a folder: what each found, pictures, numbers, and the report."""
    from faceverif.identification.page import write_identification_report  # brings matplotlib

    with files_whole(out) as files:
        pq.write_table(result.table(), files / SEARCHES_NAME)
        write_pictures(result, files / FIGURES_NAME)
        write_json(files / RESULT_NAME, result.as_json())
        write_identification_report(files)


def _warnings(embedded: EmbeddedPhotos, rows: NDArray[np.int64], copied: int) -> list[str]:
    """Why the numbers may mean nothing: a collapsed model, photos that it was trained on, or probes that are
    copies of gallery photos.
    """
    seen = different_photos(embedded.dataset, rows)
    collapsed = collapse_warning(embedded.embedder, embedded.of(rows[seen])) if len(seen) else None
    trained_on = seen_warning(embedded.embedder, embedded.dataset, rows)
    same = f"{counted(copied, 'probe')} with the bytes of a gallery photo: each finds a copy of itself"
    return list(filter(None, [collapsed, trained_on, same if copied else None]))
