"""What each part of the page says: plain functions from a session to HTML."""

from __future__ import annotations

from faceverif.app.fooling import Fooled
from faceverif.app.matcher import Decision, Matcher
from faceverif.app.photos import TakenPhoto
from faceverif.app.rendering import rate_text, render
from faceverif.app.scale import scale_of
from faceverif.app.sessions import FIRST, SECOND, Session
from faceverif.verification.compare import doubts


def compared(session: Session, matcher: Matcher, point: int) -> str:
    """The decision about the two photos, or what is still missing."""
    photos = [session.photos.get(place) for place in (FIRST, SECOND)]
    first, second = photos
    if first is None or second is None:
        return render("hint", words="Give two photos above: upload them, drop them, or use the webcam.")
    similarity = float(matcher.embed(first.face.crop) @ matcher.embed(second.face.crop))
    decision = matcher.decide(similarity, point)
    return render(
        "compared",
        photos=[first, second],
        decision=decision,
        drawn=scale_of(matcher.calibration, decision.point.threshold, [("these photos", similarity)]),
        calibration=matcher.calibration,
        rejected=_rejections(matcher, first, second),
        notes=doubts(matcher.calibration, decision.point),
    )


def fooled(session: Session, matcher: Matcher, point: int) -> str:
    """The last attack, by the threshold that is chosen now."""
    found = session.fooled
    if found is None:
        return render("hint", words="Choose an attack. It changes the first photo; the second stays.")
    before, after = (
        matcher.decide(similarity, point)
        for similarity in (found.attacked.similarity_before, found.attacked.similarity_after)
    )
    marks = [("before", before.similarity), ("after", after.similarity)]
    return render(
        "fooled",
        fooled=found,
        before=before,
        after=after,
        reached=found.reached(after.point.threshold),
        headline=_headline(found, after),
        detector=_detector_text(found),
        drawn=scale_of(matcher.calibration, after.point.threshold, marks),
        calibration=matcher.calibration,
    )


def found_people(session: Session, matcher: Matcher, point: int) -> str:
    """The last search, by the threshold that is chosen now."""
    found = session.found
    if found is None:
        return render("hint", words="Open a gallery, then search it for the person on the first photo.")
    matches = found.decisions(matcher, point)
    best, decision = matches[0]
    known = f"Most likely {best.person}" if decision.same else "Nobody in the gallery"
    bound = found.bound_for_strangers(decision.point.far)
    return render("found", found=found, matches=matches, headline=known, bound=bound)


def far_label(matcher: Matcher, point: int) -> str:
    """Above the slider: the false accept rate that is chosen."""
    chosen = matcher.decide(0.0, point).point
    return f"False accept rate: {rate_text(chosen.far)} (one of {1 / chosen.far:,.0f} strangers is accepted)"


def _headline(found: Fooled, after: Decision) -> str:
    threshold = after.point.threshold
    if found.needless(threshold):
        return f"{after.words}, as before the attack"
    if found.reached(threshold):
        return f"The attack succeeded: {after.words.lower()}"
    return f"The attack failed: {after.words.lower()}"


def _detector_text(found: Fooled) -> str:
    if found.noticed is None:
        return "this model has no guard that could notice it"
    before, after = found.noticed
    said = "noticed the attack: the changed photo is rejected" if after else "did not notice the attack"
    return said + ("; it rejects the unchanged photo too" if before else "")


def _rejections(matcher: Matcher, first: TakenPhoto, second: TakenPhoto) -> dict[str, bool]:
    """By photo; empty without a guard."""
    verdicts = {
        f"{place} photo, {photo.name}": matcher.rejected(photo.face.crop)
        for place, photo in (("First", first), ("Second", second))
    }
    return {name: verdict for name, verdict in verdicts.items() if verdict is not None}
