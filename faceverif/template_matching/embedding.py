"""Every crop embedded once, kept in portions, and pooled into IJB templates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.progress import say
from data_prep.work.here import ThisProcess
from faceverif.models import Embedder
from faceverif.template_matching.pooling import TemplateSums
from faceverif.template_matching.task import PoolingTask
from faceverif.verification.collapse import collapse_warning_of_photos
from faceverif.verification.embedding_parts import about_portions, embed_in_portions, remove_others
from faceverif.verification.embeddings import embed_rows

EMBEDDINGS_NAME = "embeddings"
_LOOKED_AT = 20  # photos to tell a collapse by


class EmbeddedTemplates(NamedTuple):
    """IJB templates as a model sees them.

    Attributes:
        unit: (templates, dim) of length 1; zero for one without a crop.
        warnings: why numbers made of them may mean nothing, in words.
    """

    unit: NDArray[np.float32]
    warnings: tuple[str, ...]


def embedded_templates(embedder: Embedder, task: PoolingTask, *, folder: Path) -> EmbeddedTemplates:
    """Embed all crops, and pool them.

    Args:
        embedder: the model.
        task: which crops are pooled, and how.
        folder: for the embeddings of all crops, so that what is in it does not depend on the lists. A run
            that was stopped continues from them, and so does one with another pooling; those of another model
            or other data are replaced.

    Raises:
        InputError: the data set was cut for another model, a crop cannot be read, the model gives embeddings
            that are not finite, or the folder holds something else.
    """
    embedder.spec.refuse_other(task.dataset.header)
    remove_others(folder, about_portions(embedder, task.dataset, flip=task.flip))
    warnings = _warnings(embedder, task)
    portions = embed_in_portions(
        embedder, task.dataset, task.photos.rows, flip=task.flip, folder=folder, engine=ThisProcess()
    )
    return EmbeddedTemplates(_pooled(portions, task), warnings)


def _pooled(portions: Iterable[NDArray[np.float32]], task: PoolingTask) -> NDArray[np.float32]:
    """From the embeddings of all crops in their order."""
    photos = task.photos
    sums, start = TemplateSums(len(photos.without_crop), task.pooling), 0
    for embeddings in portions:
        part = slice(*np.searchsorted(photos.crop, [start, start + len(embeddings)]))
        crops = photos.crop[part] - start
        sums.add(embeddings[crops], photos.template[part], photos.share[part])
        start += len(embeddings)
    return sums.unit()


def _warnings(embedder: Embedder, task: PoolingTask) -> tuple[str, ...]:
    """Why the numbers may mean nothing, said before the work begins, from a photo each of some templates."""
    templates = np.unique(task.photos.template)
    few = templates[np.linspace(0, len(templates) - 1, min(_LOOKED_AT, len(templates))).astype(np.int64)]
    rows = np.unique(task.photos.one_crop_each(few))
    warning = collapse_warning_of_photos(embedder, embed_rows(embedder, task.dataset, rows, flip=task.flip))
    if warning is None:
        return ()
    say(f"warning: {warning}")
    return (warning,)
