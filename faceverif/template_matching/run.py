"""IJB's 1:1 protocol on a model: embed each photo once, pool, score every pair, measure, write it down."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.parquet as pq

from data_prep.atomic import files_whole
from data_prep.json_object import write_json
from data_prep.lock import filled
from faceverif.file_names import RESULT_NAME
from faceverif.models import Embedder
from faceverif.provenance import git_commit, result_versions
from faceverif.template_matching.embedding import EMBEDDINGS_NAME, EmbeddedTemplates, embedded_templates
from faceverif.template_matching.hardest import write_hardest
from faceverif.template_matching.result import TemplateResult
from faceverif.template_matching.scoring import template_scores, with_certain_errors
from faceverif.template_matching.task import TemplateTask
from faceverif.verification.earlier_result import refuse_other_result
from faceverif.verification.files import SCORES_NAME
from faceverif.verification.result import ModelFacts
from faceverif.verification.roc import RocNumbers
from faceverif.verification.runner import COMMAND

FARS = (0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6)


def verify_templates(embedder: Embedder, task: TemplateTask, *, out: Path) -> TemplateResult:
    """Run the protocol and write result, scores, figures and report into a folder.

    Embeddings of photos go to `embeddings` in the folder: see `compare_templates`.

    Args:
        embedder: the model.
        task: what is compared.
        out: the folder.

    Raises:
        InputError: the data set was cut for another model, a crop cannot be read, the model gives embeddings
            that are not finite, or `out` is a file, holds another result, cannot be written, or is in use.
    """
    embedder.spec.refuse_other(task.dataset.header)
    refuse_other_result(out, embedder, task.dataset, task.protocol)
    with filled(out, command=COMMAND):
        result = compare_templates(embedder, task, folder=out / EMBEDDINGS_NAME)
        write_result(result, out)
    return result


def compare_templates(embedder: Embedder, task: TemplateTask, *, folder: Path) -> TemplateResult:
    """Embed, pool, score and measure.

    Args:
        embedder: the model.
        task: what is compared.
        folder: for the embeddings of photos: see `embedded_templates`, which also says what is refused.
    """
    start = time.monotonic()
    embedded = embedded_templates(embedder, task, folder=folder)
    return _measured(embedder, task, embedded, start=start)


def write_result(result: TemplateResult, out: Path) -> None:
    """Write the files of a result: scores, figures, numbers, and the report made of them."""
    from faceverif.template_matching.report import write_template_report  # brings matplotlib

    with files_whole(out) as files:
        writer: pq.ParquetWriter | None = None
        try:
            for table in result.tables():
                writer = writer or pq.ParquetWriter(files / SCORES_NAME, table.schema, compression="zstd")
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
        shown = write_hardest(result, files)
        write_json(files / RESULT_NAME, result.as_json() | {"hardest": shown})
        write_template_report(result, files)


def _measured(
    embedder: Embedder, task: TemplateTask, embedded: EmbeddedTemplates, *, start: float
) -> TemplateResult:
    pairs = task.protocol.pairs
    scores = with_certain_errors(template_scores(embedded.unit, pairs), pairs, task.photos.without_crop)
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
        versions=result_versions(),
        git_commit=git_commit(),
        warnings=embedded.warnings,
    )
