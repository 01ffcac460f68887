"""Who of a gallery is on a photo, or nobody: at a stated rate of strangers who are taken for somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.detection.faces import POLICY
from data_prep.errors import InputError, printable
from data_prep.progress import progress
from faceverif.identification.enrolment import Enrolled, Match, enrol, left_out_note
from faceverif.identification.naming_threshold import (
    NamingThreshold,
    bounded_threshold,
    load_strangers,
    measured_threshold,
)
from faceverif.models import Embedder, load_embedder
from faceverif.verification.calibration import load_calibration
from faceverif.verification.photo_faces import embed_faces, find_face


@dataclass(frozen=True)
class Identification:
    """A photo's answer.

    Attributes:
        photo: its path.
        threshold: somebody is named from this similarity on.
        matches: the most similar person and the runner-up; fewer in a gallery of one, none with an error.
        faces: how many the photo shows.
        error: why it could not be searched; empty otherwise.
    """

    photo: str
    threshold: float
    matches: tuple[Match, ...] = ()
    faces: int = 0
    error: str = ""

    @property
    def person(self) -> str | None:
        """Who it is; None for nobody of the gallery."""
        return (
            self.matches[0].person if self.matches and self.matches[0].similarity >= self.threshold else None
        )

    def text(self) -> str:
        """One line for a terminal."""
        if self.error:
            return printable(f"error: {self.error}")
        best, *others = self.matches
        after = f"; next {others[0].person} {others[0].similarity:.4f}" if others else ""
        if self.person is None:
            said = f"nobody of the gallery: most similar is {best.person}, {best.similarity:.4f} <"
        else:
            said = f"{best.person}: similarity {best.similarity:.4f} >="
        return printable(f"{self.photo}: {said} {self.threshold:.4f}{after}")

    def notes(self) -> list[str]:
        """What the user should know beside the answer."""
        notes = []
        if self.faces > 1:
            notes.append(f"{self.photo} shows {self.faces} faces: the {POLICY} was taken")
        if self.person is not None and self.matches[1:] and self.matches[1].similarity >= self.threshold:
            notes.append(
                f"{self.photo}: {self.matches[1].person} reaches the threshold too; is one person enrolled "
                "under two names?"
            )
        return notes

    def as_json(self) -> dict[str, Any]:
        """The answer, JSON-able."""
        best, runner_up = [*self.matches, None, None][:2]
        return {
            "photo": self.photo,
            "person": self.person,
            "similarity": None if best is None else best.similarity,
            "most_similar": None if best is None else best._asdict(),
            "runner_up": None if runner_up is None else runner_up._asdict(),
            "faces": self.faces,
            "error": self.error or None,
        }


@dataclass(frozen=True)
class Identifier:
    """A gallery, a model and a threshold.

    Attributes:
        embedder: the model.
        flip: whether embeddings are averaged with those of mirrored crops.
        enrolled: the gallery.
        decision: from which similarity on somebody is named.
    """

    embedder: Embedder
    flip: bool
    enrolled: Enrolled
    decision: NamingThreshold

    @classmethod
    def load(
        cls,
        model: Path,
        gallery: Path,
        *,
        fpir: float,
        strangers: Path | None = None,
        preprocess: str | None = None,
        output: str | None = None,
        thresholds: Path | None = None,
    ) -> Identifier:
        """Enrol a gallery, and choose the threshold.

        Args:
            model, preprocess, output: as for `load_embedder`.
            gallery: a folder of photos, or an aligned set.
            fpir: the rate of strangers who may be taken for somebody, above 0.
            strangers: an aligned set to measure it on; None: bounded by the model's calibration.
            thresholds: a file by `faceverif calibrate --out`; None: the one with the model.

        Raises:
            InputError: see `load_embedder`, `enrol`, `bounded_threshold` and `measured_threshold`.
        """
        embedder = load_embedder(model, preprocess=preprocess, output=output)
        if strangers is None:
            calibration = load_calibration(
                model, model_sha256=embedder.sha256, file=thresholds, preprocess=preprocess, output=output
            )
            bounded = partial(bounded_threshold, calibration, fpir=fpir)
            enrolled = enrol(gallery, embedder, flip=calibration.flip, admit=bounded)
            return cls(embedder, calibration.flip, enrolled, bounded(len(enrolled.photos)))
        others = load_strangers(strangers, fpir=fpir)
        enrolled = enrol(gallery, embedder, flip=True)
        measured = measured_threshold(others, enrolled, embedder, flip=True, fpir=fpir)
        return cls(embedder, True, enrolled, measured)

    def identify(self, photo: Path) -> Identification:
        """Who is on a photo; raises as `find_face` does."""
        face = find_face(photo, self.embedder.spec.checked_template())
        embedding = embed_faces(self.embedder, [face], flip=self.flip)[0]
        matches = self.enrolled.most_similar(embedding, count=2)
        return Identification(str(photo), self.decision.threshold, tuple(matches), face.faces)

    def identify_each(self, photos: Sequence[Path]) -> list[Identification]:
        """Who is on each photo; one that cannot be searched says why, and stops no other."""
        answers = []
        with progress("identify", total=len(photos), unit="photos") as advance:
            for photo in photos:
                try:
                    answers.append(self.identify(photo))
                except InputError as error:
                    answers.append(Identification(str(photo), self.decision.threshold, error=str(error)))
                advance(1, "")
        return answers

    def notes(self) -> list[str]:
        """What the user should know of gallery and threshold."""
        return [*self.decision.notes(), *left_out_note(self.enrolled)]

    def as_json(self) -> dict[str, Any]:
        """What every answer rests on, JSON-able."""
        return {
            "model": self.embedder.name,
            "model_sha256": self.embedder.sha256,
            "flip": self.flip,
            "gallery": {
                "people": len(self.enrolled.people),
                "photos": len(self.enrolled.photos),
                "left_out": {photo.photo: reason for photo, reason in self.enrolled.left_out.items()},
                "people_without_photo": list(self.enrolled.lost),
            },
            **self.decision.as_json(),
        }
