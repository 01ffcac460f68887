"""From the bytes of photos to faces, embeddings and rejection scores, in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.errors import InputError
from data_prep.photos import LARGEST_PX, WAYS_OUT, PhotoError, decode_photo, in_words
from data_prep.progress import say
from faceverif.models.embedder import NoEmbeddingError
from faceverif.serving.batching import Batcher
from faceverif.serving.refusals import Refusal
from faceverif.verification.compare import Comparer
from faceverif.verification.photo_faces import FoundFace, find_face


class SeveralFaces(StrEnum):
    """What happens to a photo with several faces."""

    REFUSE = "refuse"
    CENTRED_LARGEST = "centred-largest"


class Guard(Protocol):
    """Says how adversarial crops look; `robustness.guard.GuardedModel` is one."""

    def scores(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n,) of (n, crop_px, crop_px, 3)."""

    def verdict(self, scores: Sequence[float]) -> dict[str, Any]:
        """Which of these scores are rejected, JSON-able."""


@dataclass(frozen=True)
class EmbeddedFace:
    """What the models say of a crop.

    Attributes:
        embedding: (dim,), of length 1.
        rejection_score: higher = more adversarial; None without a guard.
    """

    embedding: NDArray[np.float64]
    rejection_score: float | None


class Recognition:
    """A calibrated model, with or without a guard, for many requests at a time.

    Faces are searched photo by photo, one thread per core: in a batch the rounding, and so the crop, would
    depend on the other photos. Embeddings are computed in batches.

    Args:
        comparer: the model with its thresholds.
        guard: rejects adversarial photos; None: none is rejected.
    """

    def __init__(self, comparer: Comparer, *, guard: Guard | None = None) -> None:
        self.comparer, self.guard = comparer, guard
        self._template = comparer.embedder.spec.checked_template()
        # The cores are taken by photos already, and each thread would start a pool of its own.
        self._searchers = ThreadPoolExecutor(os.cpu_count(), "faces", lambda: torch.set_num_threads(1))
        self.batcher: Batcher[EmbeddedFace] = Batcher(self._embedded)

    @property
    def model_sha256(self) -> str:
        """Of the model to which the thresholds belong; the model would hash all its weights each time."""
        return self.comparer.calibration.model_sha256

    async def find(self, photo: bytes, *, field: str, several: SeveralFaces) -> FoundFace:
        """The face of an encoded photo.

        Args:
            photo: the content of a file.
            field: its name in the request.
            several: what to do where it shows several.

        Raises:
            Refusal: no photo, too large, no face, or several.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._searchers, self._found, photo, field)
        if found.faces > 1 and several is SeveralFaces.REFUSE:
            message = (
                f"{field}: the photo shows {found.faces} faces; send one with a single face, or add "
                f"?several_faces={SeveralFaces.CENTRED_LARGEST.value} to take the largest near its middle"
            )
            raise Refusal(422, "several_faces", message, field=field)
        return found

    async def embed(self, faces: Sequence[FoundFace]) -> list[EmbeddedFace]:
        """Embeddings and rejection scores of faces, together with those of other requests.

        Raises:
            Refusal: the model gives a face no embedding that can be compared.
        """
        try:
            return await asyncio.wrap_future(self.batcher.submit(np.stack([face.crop for face in faces])))
        except NoEmbeddingError as error:
            say(f"warning: {error}")  # it may be the model's fault
            field = faces[error.bad[0]].photo
            message = f"{field}: the model gives this face no embedding; send another photo"
            raise Refusal(422, "no_embedding", message, field=field) from error

    def verdict(self, faces: Sequence[EmbeddedFace]) -> dict[str, Any]:
        """Which faces are rejected, JSON-able; empty without a guard."""
        if self.guard is None:
            return {}
        return self.guard.verdict(
            [face.rejection_score for face in faces if face.rejection_score is not None]
        )

    def close(self) -> None:
        """Finish what was begun, and end the threads."""
        self._searchers.shutdown()
        self.batcher.close()

    def _found(self, photo: bytes, field: str) -> FoundFace:
        pixels = _decoded(photo, field)
        try:
            found = find_face(pixels, self._template)
        except InputError as error:
            message = f"{field}: no face was found. {error.fix}"
            raise Refusal(422, "no_face", message, field=field) from error
        return FoundFace(field, found.crop, found.faces)

    def _embedded(self, crops: NDArray[np.uint8]) -> list[EmbeddedFace]:
        faces = [FoundFace(f"photo {number}", crop, 1) for number, crop in enumerate(crops, 1)]
        embeddings = self.comparer.embed(faces)
        scores = [None] * len(crops) if self.guard is None else self.guard.scores(crops).tolist()
        return [EmbeddedFace(*each) for each in zip(embeddings, scores, strict=True)]


def _decoded(photo: bytes, field: str) -> NDArray[np.uint8]:
    try:
        return decode_photo(photo)
    except PhotoError as error:
        if error.reason == "too_large":
            message = f"{field}: a photo may have at most {LARGEST_PX // 10**6} megapixels; send it smaller"
            raise Refusal(413, "photo_too_large", message, field=field) from error
        way_out = WAYS_OUT.get(error.reason, "Send a photo that can be read, such as a JPEG or PNG file.")
        message = f"{field} {in_words(error.reason)}. {way_out}"
        raise Refusal(415, "not_a_photo", message, field=field) from error
