"""What visitors ask and what they are told: every event of the page as a plain method that returns HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faceverif.app import answers
from faceverif.app.fooling import GOALS, METHODS, fool
from faceverif.app.matcher import Matcher
from faceverif.app.photos import take_photo
from faceverif.app.refusal import spoken
from faceverif.app.rendering import render
from faceverif.app.reports import Shelf, find_reports
from faceverif.app.searching import Progress, open_gallery, search
from faceverif.app.sessions import FIRST, SECOND, Sessions


@dataclass(frozen=True)
class PhotoAnswer:
    """What is shown of a photo that was given.

    Attributes:
        shown: the photo with its faces, or why there are none.
        faces: how many can be chosen.
        chosen: index of the one that is compared.
    """

    shown: str
    faces: int = 0
    chosen: int = 0


class Visits:
    """The open pages of one server. A page is named by a word of the server's choice.

    Args:
        matcher: the model.
        gallery: the folder that *Who is it* begins with; empty: none.
        runs: the folder that *Reports* begins with.
        own_machine: whether only this machine reaches the page. Otherwise visitors may not name folders.
    """

    def __init__(
        self, matcher: Matcher, *, gallery: str = "", runs: str = "", own_machine: bool = True
    ) -> None:
        self.matcher, self.gallery, self.runs, self.own_machine = matcher, gallery, runs, own_machine
        self.sessions, self.shelf = Sessions(), Shelf()

    def give_photo(self, page: str, place: str, file: Path, name: str) -> PhotoAnswer:
        """Take a photo's faces, and delete its file.

        Args:
            page: whose.
            place: `FIRST` or `SECOND`.
            file: where the upload lies.
            name: how the visitor knows it.
        """
        session = self.sessions.of(page)
        session.photos.pop(place, None)
        session.fooled = session.found = None
        try:
            photo = session.photos[place] = take_photo(file, name, self.matcher.template)
            return PhotoAnswer(render("photo", photo=photo), len(photo.faces), photo.chosen)
        except Exception as error:
            return PhotoAnswer(_refused(error))
        finally:
            file.unlink(missing_ok=True)

    def choose_face(self, page: str, place: str, face: int) -> str:
        """Compare another face of a photo."""
        session = self.sessions.of(page)

        def chosen() -> str:
            photo = session.photos[place] = session.photos[place].choosing(face)
            session.fooled = session.found = None
            return render("photo", photo=photo)

        return _answer_or_reason(chosen) if place in session.photos else ""

    def results(self, page: str, point: int) -> list[str]:
        """The three results by a threshold: compared, fooled, looked up."""
        session = self.sessions.of(page)
        parts = (answers.compared, answers.fooled, answers.found_people)
        return [_answer_or_reason(lambda part=part: part(session, self.matcher, point)) for part in parts]  # type: ignore[misc]

    def attack(self, page: str, *, goal: str, method: str, levels: int, point: int) -> str:
        """Attack the first photo; `goal` and `method` as `GOALS` and `METHODS` word them."""
        session = self.sessions.of(page)

        def attacked() -> str:
            first, second = session.photos.get(FIRST), session.photos.get(SECOND)
            session.fooled = None
            session.fooled = fool(
                self.matcher, first, second, goal=GOALS[goal], method=METHODS[method], levels=levels
            )
            return answers.fooled(session, self.matcher, point)

        return _answer_or_reason(attacked)

    def open_gallery(self, page: str, folder: str, *, progress: Progress) -> str:
        """Embed the people of a folder."""
        session = self.sessions.of(page)

        def opened() -> str:
            session.gallery = session.found = None
            asked = folder if self.own_machine else self.gallery
            session.gallery = open_gallery(asked, self.matcher, progress=progress)
            return render("gallery", gallery=session.gallery)

        return _answer_or_reason(opened)

    def search(self, page: str, point: int) -> str:
        """Look the person of the first photo up in the gallery."""
        session = self.sessions.of(page)

        def searched() -> str:
            session.found = search(session.gallery, session.photos.get(FIRST), self.matcher)
            return answers.found_people(session, self.matcher, point)

        return _answer_or_reason(searched)

    def list_reports(self, folder: str) -> str:
        """The reports in a folder, as links."""

        def listed() -> str:
            found = find_reports(folder if self.own_machine else self.runs)
            return render("reports", found=found, word=self.shelf.put(found.root))

        return _answer_or_reason(listed)


def _answer_or_reason(answer: Callable[[], str]) -> str:
    """An answer, or the sentence why there is none."""
    try:
        return answer()
    except Exception as error:
        return _refused(error)


def _refused(error: Exception) -> str:
    return render("refusal", words=spoken(error))
