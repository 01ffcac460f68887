"""IJB's 1:1 protocol on a model: embed each photo once, pool, score every pair, measure, write it down."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.atomic import write_text, written_whole
from data_prep.lock import filled
from data_prep.progress import say
from data_prep.work.here import ThisProcess
from faceverif.models import Embedder
from faceverif.provenance import git_commit
from faceverif.template_matching.hardest import write_hardest
from faceverif.template_matching.pooling import TemplateSums
from faceverif.template_matching.result import TemplateResult
from faceverif.template_matching.scoring import template_scores, with_certain_errors
from faceverif.template_matching.task import TemplateTask
from faceverif.verification.collapse import collapse_warning_of_photos
from faceverif.verification.embedding_parts import (
    EmbeddedPortions,
    about_portions,
    embed_in_portions,
    remove_others,
)
from faceverif.verification.embeddings import embed_rows
from faceverif.verification.files import RESULT_NAME, SCORES_NAME
from faceverif.verification.metrics import RocNumbers
from faceverif.verification.result import ModelFacts
from faceverif.verification.runner import COMMAND, tool_versions

FARS = (0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6)
EMBEDDINGS_NAME = "embeddings"
_LOOKED_AT = 20  # photos to tell a collapse by


def verify_templates(embedder: Embedder, task: TemplateTask, *, out: Path) -> TemplateResult:
    """Run the protocol and write result, scores, figures and report into a folder.

    Embeddings of photos go to `embeddings` in the folder: see `compare_templates`.

    Args:
        embedder: the model.
        task: what is compared.
        out: the folder.

    Raises:
        InputError: the data set was cut for another model, a crop cannot be read, the model gives embeddings
            that are not finite, or `out` is a file, cannot be written, is in use, or holds a folder
            `embeddings` of something else.
    """
    embedder.spec.refuse_other(task.dataset.header)
    with filled(out, command=COMMAND):
        result = compare_templates(embedder, task, folder=out / EMBEDDINGS_NAME)
        write_result(result, out)
    return result


def compare_templates(embedder: Embedder, task: TemplateTask, *, folder: Path) -> TemplateResult:
    """Embed, pool, score and measure.

    Args:
        embedder: the model.
        task: what is compared.
        folder: for the embeddings of photos, in portions. A run that was stopped continues from them, and so
            does one with another pooling; those of another model or other data are replaced.

    Raises:
        InputError: the data set was cut for another model, a crop cannot be read, the model gives embeddings
            that are not finite, or the folder holds something else.
    """
    embedder.spec.refuse_other(task.dataset.header)
    remove_others(folder, about_portions(embedder, task.dataset, flip=task.flip))
    start = time.monotonic()
    warnings = _warnings(embedder, task)
    unit = pooled(_embedded(embedder, task, folder), task)
    return _measured(embedder, task, unit, warnings=warnings, start=start)


def pooled(portions: EmbeddedPortions, task: TemplateTask) -> NDArray[np.float32]:
    """(templates, dim) unit embeddings of the IJB templates, from those of all crops in their order."""
    photos = task.photos
    sums, start = TemplateSums(len(photos.without_crop), task.pooling), 0
    for embeddings in portions:
        part = slice(*np.searchsorted(photos.crop, [start, start + len(embeddings)]))
        crops = photos.crop[part] - start
        sums.add(embeddings[crops], photos.template[part], photos.share[part])
        start += len(embeddings)
    return sums.unit()


def write_result(result: TemplateResult, out: Path) -> None:
    """Write the files of a result: scores, figures, numbers, and the report made of them."""
    with written_whole(out / SCORES_NAME) as unfinished:
        writer: pq.ParquetWriter | None = None
        try:
            for table in result.tables():
                writer = writer or pq.ParquetWriter(unfinished, table.schema, compression="zstd")
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
    shown = write_hardest(result, out)
    write_text(out / RESULT_NAME, json.dumps(result.as_json() | {"hardest": shown}, indent=2) + "\n")
    from faceverif.template_matching.report import write_template_report  # brings matplotlib

    write_template_report(result, out)


def _embedded(embedder: Embedder, task: TemplateTask, folder: Path) -> EmbeddedPortions:
    """Of all crops, so that what is in the folder does not depend on the lists."""
    return embed_in_portions(
        embedder, task.dataset, task.photos.rows, flip=task.flip, folder=folder, engine=ThisProcess()
    )


def _warnings(embedder: Embedder, task: TemplateTask) -> tuple[str, ...]:
    """Said before the work begins, from a photo each of some IJB templates."""
    templates = np.unique(task.photos.template)
    few = templates[np.linspace(0, len(templates) - 1, min(_LOOKED_AT, len(templates))).astype(np.int64)]
    rows = np.unique(task.photos.one_crop_each(few))
    warning = collapse_warning_of_photos(embedder, embed_rows(embedder, task.dataset, rows, flip=task.flip))
    if warning is None:
        return ()
    say(f"warning: {warning}")
    return (warning,)


def _measured(
    embedder: Embedder,
    task: TemplateTask,
    unit: NDArray[np.float32],
    *,
    warnings: tuple[str, ...],
    start: float,
) -> TemplateResult:
    pairs = task.protocol.pairs
    scores = with_certain_errors(template_scores(unit, pairs), pairs, task.photos.without_crop)
    return TemplateResult(
        protocol=task.protocol,
        numbers=RocNumbers.of(scores, pairs.same, fars=FARS),
        scores=scores,
        photos=task.photos,
        dataset=task.dataset,
        model=ModelFacts.of(embedder),
        flip=task.flip,
        pooling=task.pooling,
        seconds=time.monotonic() - start,
        versions=tool_versions(),
        git_commit=git_commit(),
        warnings=warnings,
    )
