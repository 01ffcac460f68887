"""What the page in the browser does and says, without Gradio."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from app_photos import Photos, write_photos
from pages import plain

import faceverif
from data_prep.errors import InputError
from faceverif.address import Address, listen
from faceverif.app import answers
from faceverif.app.fooling import Fooled, fool
from faceverif.app.matcher import Matcher, _guard_beside
from faceverif.app.photos import TakenPhoto, take_photo
from faceverif.app.pictures import magnified, with_boxes
from faceverif.app.refusal import Refusal, spoken
from faceverif.app.reports import Shelf, find_reports
from faceverif.app.scale import scale_of
from faceverif.app.searching import open_gallery, search
from faceverif.app.sessions import FIRST, SECOND, Session, Sessions
from faceverif.app.uploads import temporary_uploads
from faceverif.app.visits import Visits
from faceverif.cli import browser
from faceverif.models.location import SHIPPED
from faceverif.verification.compare import Comparer
from faceverif.verification.score_histogram import BINS, bin_edges
from robustness.guard import GUARD_NAME, Guard, GuardedModel

STRICT = 3  # index of FAR 0.0001


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher.load(SHIPPED)


@pytest.fixture(scope="module")
def taken(photos: Photos, matcher: Matcher) -> dict[str, TakenPhoto]:
    named = {"first": photos.first, "second": photos.second, "same": photos.same, "both": photos.both}
    return {name: take_photo(path, path.name, matcher.template) for name, path in named.items()}


def session_of(first: TakenPhoto, second: TakenPhoto) -> Session:
    return Session(photos={FIRST: first, SECOND: second})


# --- photos


def test_several_faces_are_all_taken_and_one_is_chosen(taken: dict[str, TakenPhoto]) -> None:
    both = taken["both"]
    assert (both.found, len(both.faces), both.chosen) == (2, 2, 0)
    other = both.choosing(1)
    assert not np.array_equal(other.face.crop, both.face.crop)
    with pytest.raises(Refusal, match="shows 2 faces"):
        both.choosing(2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "No face was found in holiday.jpg. Choose a photo with a face"),
        ("huge", "holiday.jpg has more than 50 megapixels. Make it smaller"),
        ("text", "holiday.jpg is not a picture. Choose another photo."),
    ],
)
def test_what_is_no_photo_of_a_face_gets_a_sentence(
    photos: Photos, matcher: Matcher, name: str, said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        take_photo(getattr(photos, name), "holiday.jpg", matcher.template)


def test_an_unreadable_file_gets_a_sentence(tmp_path: Path, matcher: Matcher) -> None:
    with pytest.raises(Refusal, match=r"gone\.jpg could not be read"):
        take_photo(tmp_path / "none.jpg", "gone.jpg", matcher.template)


def test_boxes_are_drawn_where_the_faces_are() -> None:
    drawn = with_boxes(np.zeros((1280, 640, 3), np.uint8), np.array([[100.0, 200, 300, 400]]), main=0)
    assert drawn.shape == (640, 320, 3)
    rows, columns = np.nonzero(drawn.any(axis=2))
    np.testing.assert_allclose(
        [columns.min(), columns.max(), rows.min(), rows.max()], [50, 150, 100, 200], atol=2
    )


def test_a_change_is_magnified_to_the_full_range_around_grey() -> None:
    change = np.zeros((2, 2, 3), np.int16)
    change[0, 0] = [4, -4, 2]
    picture, times = magnified(change)
    assert times == 31
    assert picture[0, 0].tolist() == [128 + 124, 128 - 124, 128 + 62]
    assert magnified(np.zeros((2, 2, 3), np.int16))[1] == 1


# --- comparing


def test_the_page_decides_as_the_command_does(
    photos: Photos, taken: dict[str, TakenPhoto], matcher: Matcher
) -> None:
    compared = Comparer.load(SHIPPED, far=0.01).compare(photos.first, photos.same)
    similarity = float(matcher.embed(taken["first"].face.crop) @ matcher.embed(taken["same"].face.crop))
    decision = matcher.decide(similarity, matcher.usual_point)
    assert decision.similarity == pytest.approx(compared.similarity, abs=1e-5)
    assert (decision.point, decision.same) == (compared.point, compared.same)
    page = answers.compared(session_of(taken["first"], taken["same"]), matcher, matcher.usual_point)
    assert "Same person" in page
    assert "95 % interval 0.940 to 1.064 %" in plain(page)


def test_a_stricter_rate_turns_the_decision(taken: dict[str, TakenPhoto], matcher: Matcher) -> None:
    session = session_of(taken["first"], taken["same"])
    assert "Same person</h2>" in answers.compared(session, matcher, 1)
    assert "Different people</h2>" in answers.compared(session, matcher, STRICT)
    assert matcher.decide(0.4, 99).point.far == 0.0001
    assert answers.far_label(matcher, STRICT) == (
        "False accept rate: 0.01 % (one of 10,000 strangers is accepted)"
    )


def test_a_missing_photo_is_asked_for(taken: dict[str, TakenPhoto], matcher: Matcher) -> None:
    assert "Give two photos" in answers.compared(Session(photos={FIRST: taken["first"]}), matcher, 0)


class PickyGuard:
    """Rejects crops that are brighter than a grey level, as a guard that scores them would."""

    def __init__(self, threshold: float) -> None:
        self.point = SimpleNamespace(rejects=lambda scores: np.asarray(scores) > threshold)

    def scores(self, crops: np.ndarray) -> np.ndarray:
        return crops.mean(axis=(1, 2, 3))


def test_a_guard_rejects_a_photo(taken: dict[str, TakenPhoto], matcher: Matcher) -> None:
    bright, dark = sorted((taken["first"], taken["second"]), key=lambda photo: -photo.face.crop.mean())
    between = (bright.face.crop.mean() + dark.face.crop.mean()) / 2
    guarded = replace(matcher, guard=PickyGuard(between))
    page = answers.compared(session_of(bright, dark), guarded, 0)
    assert "Rejected</h2>" in page
    assert page.count("<b>rejected</b>") == 1
    assert "First photo, 01.jpg: <b>rejected</b>" in " ".join(page.split())
    assert "has no guard" in answers.compared(session_of(bright, dark), matcher, 0)


@pytest.mark.parametrize(("clean", "rate"), [(999, 0.01), (99, 0.01), (19, 0.05)])
def test_a_guard_rejects_at_one_percent_or_at_what_its_photos_resolve(
    clean: int, rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard("mahalanobis", None, np.arange(clean, dtype=float), "drawn photos")  # type: ignore[arg-type]
    monkeypatch.setattr(
        "faceverif.app.matcher.load_guard",
        lambda path, rate: GuardedModel(None, None, guard, guard.point(rate)),  # type: ignore[arg-type]
    )
    assert _guard_beside(tmp_path) is None
    (tmp_path / GUARD_NAME).touch()
    found = _guard_beside(tmp_path)
    assert found is not None
    assert found.point.false_rejection_rate == rate


def test_names_of_files_are_text_not_html(taken: dict[str, TakenPhoto], matcher: Matcher) -> None:
    evil = replace(taken["first"], name="<img src=x onerror=alert(1)>.jpg")
    page = answers.compared(session_of(evil, taken["same"]), matcher, 0)
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


# --- the scale


def test_marks_and_outlines_share_one_axis(matcher: Matcher) -> None:
    drawn = scale_of(matcher.calibration, 0.3, [("low", -0.35), ("high", 1.0)])
    low, high = drawn.marks
    assert high.percent == pytest.approx(100)
    assert 0 <= low.percent < drawn.threshold.percent < 100
    # Places are linear in the similarity, and the ticks stand on the same line.
    per_unit = (high.percent - low.percent) / 1.35
    for tick in drawn.ticks:
        assert tick.percent == pytest.approx(low.percent + per_unit * (tick.value + 0.35), abs=1e-6)
    scores = matcher.calibration.scores
    assert scores is not None
    fullest = int(np.argmax(scores.genuine))
    peak = low.percent + per_unit * (bin_edges()[fullest + 1] + 0.35)
    assert f"V4.00H{peak:.2f}" in drawn.genuine
    assert "threshold 0.300" in drawn.text


def test_a_calibration_without_scores_still_has_a_scale(
    taken: dict[str, TakenPhoto], matcher: Matcher
) -> None:
    old = replace(matcher, calibration=matcher.calibration.model_copy(update={"scores": None}))
    page = answers.compared(session_of(taken["first"], taken["same"]), old, 0)
    assert "calibrated by an earlier version" in page
    assert "<svg" not in page


def test_the_models_stored_scores_agree_with_its_thresholds(matcher: Matcher) -> None:
    scores = matcher.calibration.scores
    assert scores is not None
    edges = bin_edges()
    for point in matcher.points:
        above = [place for place in range(BINS) if edges[place] >= point.threshold]
        surely = sum(scores.impostor[place] for place in above)
        maybe = surely + scores.impostor[above[0] - 1]
        assert surely <= point.false_accepts <= maybe


# --- fooling


def fooled_by(matcher: Matcher, taken: dict[str, TakenPhoto], **changes: Any) -> Fooled:
    settings = {"goal": "impersonation", "method": "fgsm", "levels": 8} | changes
    return fool(matcher, taken["first"], taken["second"], **settings)


def test_an_attack_raises_or_lowers_the_similarity_within_epsilon(
    taken: dict[str, TakenPhoto], matcher: Matcher
) -> None:
    up = fooled_by(matcher, taken)
    assert up.attacked.similarity_after > up.attacked.similarity_before
    assert up.attacked.largest_change <= 8
    down = fool(matcher, taken["first"], None, goal="dodging", method="fgsm", levels=2)
    assert down.attacked.similarity_before == pytest.approx(1, abs=1e-5)
    assert down.attacked.similarity_after < 1
    assert down.noticed is None
    assert list(up.pictures)[-1] == "Compared with the second photo"
    assert list(down.pictures)[-1] == "Compared with itself, unchanged"
    page = answers.fooled(Session(fooled=down), matcher, 1)
    assert "The aligned face was changed" in page  # the saved photo is the command's task


def test_the_decision_and_the_detector_are_judged_at_the_chosen_rate(
    taken: dict[str, TakenPhoto], matcher: Matcher
) -> None:
    found = fooled_by(matcher, taken)
    session = Session(fooled=replace(found, attacked=replace(found.attacked, similarity_after=0.4)))
    assert "The attack succeeded: same person" in answers.fooled(session, matcher, 1)
    assert "The attack failed: different people" in answers.fooled(session, matcher, STRICT)
    session.fooled = replace(
        found, attacked=replace(found.attacked, similarity_before=0.5, similarity_after=0.6)
    )
    assert "Same person, as before the attack" in answers.fooled(session, matcher, STRICT)
    for noticed, said in (
        ((False, True), "noticed the attack: the changed photo is rejected<"),
        ((False, False), "did not notice the attack<"),
        ((True, True), "it rejects the unchanged photo too"),
    ):
        assert said in answers.fooled(Session(fooled=replace(found, noticed=noticed)), matcher, 0)


def test_a_patch_takes_any_colour_and_the_others_epsilon(
    taken: dict[str, TakenPhoto], matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, asked = faceverif.attack, []

    def quick(*given: Any, **more: Any) -> Any:
        asked.append((more["name"], round(255 * more["epsilon"])))
        return plain(*given, **more, **({"steps": 1, "samples": 1} if more["name"] == "patch" else {}))

    monkeypatch.setattr(faceverif, "attack", quick, raising=False)
    patched = fooled_by(matcher, taken, method="patch")
    assert (asked, patched.levels) == ([("patch", 255)], 255)
    changed = np.any(patched.attacked.change != 0, axis=2)
    assert 0 < changed.mean() < 0.5  # glasses leave most of the face alone


def test_an_attack_without_its_photos_is_refused(taken: dict[str, TakenPhoto], matcher: Matcher) -> None:
    with pytest.raises(Refusal, match="Give a first photo"):
        fool(matcher, None, None, goal="dodging", method="pgd", levels=8)
    with pytest.raises(Refusal, match="Give a second photo"):
        fool(matcher, taken["first"], None, goal="impersonation", method="pgd", levels=8)
    with pytest.raises(Refusal, match="1 to 32"):
        fooled_by(matcher, taken, levels=200)


# --- who is it


def test_the_person_of_a_photo_is_found_in_a_gallery(
    photos: Photos, taken: dict[str, TakenPhoto], matcher: Matcher, tmp_path: Path
) -> None:
    for name, path in (("Ann/1.jpg", photos.same), ("Cem.jpg", photos.second), ("notes.jpg", photos.text)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(path.read_bytes())
    done: list[tuple[int, int]] = []
    gallery = open_gallery(str(tmp_path), matcher, progress=lambda *each: done.append(each))
    assert done == [(0, 3), (1, 3), (2, 3)]
    assert (gallery.people, gallery.left_out) == (2, ("notes.jpg",))
    found = search(gallery, taken["first"], matcher)
    assert [member.person for member, _ in found.people] == ["Ann", "Cem"]
    assert "Most likely Ann" in answers.found_people(Session(found=found), matcher, 1)
    assert "Nobody in the gallery" in answers.found_people(Session(found=found), matcher, STRICT)
    assert found.bound_for_strangers(0.1) == pytest.approx(0.2)
    # By chance no pair of the calibration was accepted: that promises nothing.
    lucky = [point.model_copy(update={"measured_far": 0.0}) for point in matcher.calibration.points]
    luckily = replace(matcher, calibration=matcher.calibration.model_copy(update={"points": tuple(lucky)}))
    far = luckily.decide(0.0, 1).point.far
    page = answers.found_people(Session(found=found), luckily, 1)
    assert f"At most {200 * far:.1f} % of the searches" in plain(page)
    assert found.bound_for_strangers(0.7) == 1


def test_a_gallery_that_is_none_is_refused(tmp_path: Path, photos: Photos, matcher: Matcher) -> None:
    for folder, said in (("", "There is no folder"), (str(tmp_path), "holds no photos")):
        with pytest.raises(Refusal, match=said):
            open_gallery(folder, matcher, progress=lambda *_: None)
    (tmp_path / "a.png").write_bytes(photos.empty.read_bytes())
    with pytest.raises(Refusal, match="No face was found on any of the 1 photo in"):
        open_gallery(str(tmp_path), matcher, progress=lambda *_: None)
    with pytest.raises(Refusal, match="Open a gallery first"):
        search(None, None, matcher)


# --- reports


def test_reports_are_found_newest_first_and_only_they_are_handed_out(tmp_path: Path) -> None:
    for age, place in enumerate(("new/report.html", "deep/verification/lfw/report.html")):
        page = tmp_path / "runs" / place
        page.parent.mkdir(parents=True)
        page.write_text(f"<html><title>{place} &amp; more</title></html>")
        os.utime(page, (1e9 - age, 1e9 - age))
    (tmp_path / "runs/new/secret.txt").write_text("no")
    (tmp_path / "report.html").write_text("outside")
    (tmp_path / "runs/report-link.html").symlink_to(tmp_path / "report.html")
    found = find_reports(str(tmp_path / "runs"))
    root, places = found.root, [report.place for report in found.pages]
    assert places == ["new/report.html", "deep/verification/lfw/report.html"]
    assert found.pages[0].title == "new/report.html & more"
    shelf = Shelf()
    word = shelf.put(root)
    assert shelf.put(root) == word
    assert shelf.page(word, "new/report.html") == root / "new/report.html"
    for place in ("new/secret.txt", "../report.html", "report-link.html", "none/report.html"):
        assert shelf.page(word, place) is None
    assert shelf.page("guess", "new/report.html") is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_a_report_that_cannot_be_read_hides_no_other(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.html").write_text("<title>Good</title>")
    (tmp_path / "report-gone.html").symlink_to(tmp_path / "none")
    (tmp_path / "report-circle.html").symlink_to(tmp_path / "report-circle.html")
    (tmp_path / "report-folder.html").mkdir()
    os.mkfifo(tmp_path / "report-pipe.html")
    (tmp_path / "report-mine.html").write_text("<title>Mine</title>")
    plain = Path.open

    def opened(path: Path, *given: Any, **more: Any) -> Any:
        if path.name == "report-mine.html":  # rights do not stop root
            raise PermissionError(path)
        return plain(path, *given, **more)

    monkeypatch.setattr(Path, "open", opened)
    page = " ".join(Visits(matcher).list_reports(str(tmp_path)).split())
    assert "Good" in page
    assert "4 more left out: no readable file of this folder." in page
    (tmp_path / "report.html").unlink()
    assert "holds no report that can be read" in Visits(matcher).list_reports(str(tmp_path))


def test_a_folder_without_reports_is_refused(tmp_path: Path) -> None:
    for folder, said in (
        (str(tmp_path), "holds no report"),
        ("/no/such", "There is no folder"),
        ("", "no folder"),
    ):
        with pytest.raises(Refusal, match=said):
            find_reports(folder)


# --- visits, sessions, address, errors


def test_a_visit_from_the_first_photo_to_the_attack(
    photos: Photos, matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits(matcher)
    for place, source in ((FIRST, photos.both), (SECOND, photos.second)):
        upload = tmp_path / "upload"
        upload.write_bytes(source.read_bytes())
        given = visits.give_photo("ann", place, upload, source.name)
        assert "<figure" in given.shown
        assert not upload.exists()
    before = visits.results("ann", 1)[0]
    upload.write_bytes(photos.first.read_bytes())
    given = visits.give_photo("ann", FIRST, upload, "a.jpg")
    assert (given.faces, given.chosen) == (1, 0)
    assert visits.results("ann", 1)[0] != before
    assert "Give two photos" in visits.results("bob", 1)[0]
    page = visits.attack("ann", goal="Not be recognised", method="FGSM, one step", levels=4, point=1)
    assert "4 were allowed" in page
    assert visits.results("ann", 1)[1] == page
    assert visits.choose_face("ann", FIRST, 0) != ""
    assert "4 were allowed" not in visits.results("ann", 1)[1]  # it was another face
    assert "choose one of them" in visits.choose_face("ann", FIRST, 7)
    assert visits.choose_face("bob", FIRST, 0) == ""
    monkeypatch.setattr("faceverif.app.visits.take_photo", lambda *_: 1 / 0)
    assert "Something went wrong in faceverif" in visits.give_photo("ann", FIRST, tmp_path / "x", "x").shown


def test_visitors_from_elsewhere_name_no_folders(matcher: Matcher, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<title>Secret</title>")
    mine, theirs = Visits(matcher), Visits(matcher, own_machine=False)
    assert "Secret" in mine.list_reports(str(tmp_path))
    assert "Secret" not in theirs.list_reports(str(tmp_path))
    assert "holds no photos" in mine.open_gallery("ann", str(tmp_path), progress=lambda *_: None)
    refused = theirs.open_gallery("ann", str(tmp_path), progress=lambda *_: None)
    assert "There is no folder" in refused
    assert str(tmp_path) not in refused


def test_pages_do_not_see_each_other_and_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, taken: dict[str, TakenPhoto]
) -> None:
    sessions = Sessions()
    sessions.of("a").photos[FIRST] = taken["first"]
    assert sessions.of("b").photos == {}
    assert sessions.of("a").photos[FIRST] is taken["first"]
    sessions.forget("a")
    assert sessions.of("a").photos == {}
    sessions.forget("never seen")
    later = time.monotonic() + 4000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    sessions.of("c")
    assert len(sessions) == 1


def test_without_gradio_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceverif.extras.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"^app: needs .* got no gradio\. .*: pip install 'faceverif\[app\]'"
    ):
        browser.app()


def test_a_busy_port_and_a_foreign_host_are_one_line() -> None:
    with listen(Address("127.0.0.1", 0)) as taken_port:
        port = taken_port.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"--port: must be free; got {port}, which is in use\. Give another"
        ):
            listen(Address("127.0.0.1", port))
    for host in ("203.0.113.7", "no such host", "a..b"):
        with pytest.raises(InputError, match="--host: must be an address of this machine"):
            listen(Address(host, 0))
    assert Address("127.0.0.1", 1).own_machine
    assert not Address("0.0.0.0", 1).own_machine
    assert Address("::1", 80).url == "http://[::1]:80"


def test_uploads_lie_in_a_folder_that_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    with temporary_uploads() as uploads:
        assert os.environ["GRADIO_TEMP_DIR"] == str(uploads.folder)
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (uploads.folder / "photo.jpg").touch()
    assert not uploads.folder.exists()
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_a_bug_is_a_sentence_on_the_page_and_a_trace_on_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "Something went wrong in faceverif" in spoken(KeyError("secret"))
    assert "KeyError: 'secret'" in capsys.readouterr().err
    assert spoken(InputError("x", "must be y", got="z", fix="Do w.")) == "x must be y; got z. Do w."
