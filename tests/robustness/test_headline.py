"""What a report says first of a model, on findings with chosen shares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from small_rejection import detection, finding, sure

from faceverif.intervals import exact_interval
from robustness.config.attacks import PatchConfig
from robustness.rejection.findings import Finding
from robustness.rejection.headline import headlines
from robustness.rejection.masking import check_masking
from robustness.rejection.pair_trial import PairTrial
from robustness.rejection.worst import WorstCase, worst_cases


def test_a_model_that_is_wrong_without_an_attack_has_no_flattering_headline(tmp_path: Path) -> None:
    """No attack succeeds where nothing was right; what is wrong and accepted counts all the same."""
    wrong = finding("fgsm", 0.1, [False] * 10, tmp_path, clean_accuracy=sure(0.1))
    assert worst_cases([wrong], rate=0.2)["a"] == WorstCase(
        label="fgsm",
        norm="linf",
        epsilon=0.1,
        images=10,
        wrong=1.0,
        low=exact_interval(10, 10)[0],
        high=1.0,
        clean_error=0.9,
        compared=1,
    )
    rejected = finding(
        "fgsm", 0.3, [False] * 10, tmp_path, rejected=[True] * 4 + [False] * 6, clean_accuracy=sure(0.1)
    )
    assert worst_cases([rejected], rate=0.2)["a"].wrong == 0.6
    [check] = [each for each in check_masking([wrong]) if each.name == "most clean images are right"]
    assert (check.verdict, check.text[:15]) == ("warning", "at most 90.0 % ")


def said(*findings: Finding) -> str:
    [headline] = headlines(findings, rate=0.2)
    return headline.text


def measured(label: str, epsilon: float, tmp_path: Path, *, success: float, undetected: float) -> Finding:
    """A finding with these shares, of 90 % correct images."""
    at_point = detection(0.2, 0.5, undetected=undetected)
    made = finding(label, epsilon, [False], tmp_path, detections=[at_point])
    made.own.success = sure(success)
    return replace(made, record=made.record.model_copy(update={"images": 100}))


def patched(tmp_path: Path, *, success: float, undetected: float) -> Finding:
    """A patch on pairs of one person, with these shares."""
    pairs = PairTrial("a", 0, "patch", "linf", 1.0, PatchConfig(name="patch"), None, "dodging")
    return replace(measured("pgd", 0.2, tmp_path, success=success, undetected=undetected), trial=pairs)


def test_the_headline_says_what_suffices_and_how_much_of_it_is_noticed(tmp_path: Path) -> None:
    """The smallest size that fools half; there, the attack that gets most past the detector."""
    weak = measured("fgsm", 0.1, tmp_path, success=0.4, undetected=0.4)
    enough = measured("pgd", 0.2, tmp_path, success=0.8, undetected=0.2)
    sly = measured("adaptive", 0.2, tmp_path, success=0.5, undetected=0.4)
    whole = measured("pgd", 1.0, tmp_path, success=1.0, undetected=1.0)
    larger = measured("pgd", 0.3, tmp_path, success=1.0, undetected=1.0)
    assert said(weak, enough, sly, larger, whole) == (
        "To fool a on at least half of the images that it classifies correctly, it is enough to change each "
        "pixel by at most 0.2 (51 of 255 grey levels): adaptive succeeds on 50 % of 90; the detector x "
        "notices 20 % of these successes at 20 % false rejections."
    )
    assert said(weak, whole) == (
        "Of the attacks tried that change each pixel by at most 0.1 (25.5 of 255 grey levels), none manages "
        "to fool a on half of the images that it classifies correctly: the most is 40 % of 90, by fgsm at "
        "epsilon 0.1; the detector x notices 0 % of these successes at 20 % false rejections."
    )
    none = measured("fgsm", 0.1, tmp_path, success=0.0, undetected=0.0)
    smaller = measured("pgd", 0.05, tmp_path, success=0.0, undetected=0.0)
    assert said(smaller, none) == (
        "Of the attacks tried that change each pixel by at most 0.1 (25.5 of 255 grey levels), none manages "
        "to fool a on any of up to 90 images that it classifies correctly."
    )


def test_a_failure_in_one_norm_hides_no_success_in_another_or_of_a_patch(tmp_path: Path) -> None:
    """Every way of measuring a change has its own sentence, whatever the order of the attacks."""
    tiny = measured("fgsm", 0.001, tmp_path, success=0.0, undetected=0.0)
    large = measured("deepfool", 3.0, tmp_path, success=1.0, undetected=0.25)
    none = "Of the attacks tried that change each pixel by at most 0.001 (0.255 of 255 grey levels), none"
    deepfool = (
        "To fool a on at least half of the images that it classifies correctly, it is enough to change an "
        "image by an l2 norm of at most 3, for pixels in [0, 1]: deepfool succeeds on 100 % of 90; the "
        "detector x notices 75 % of these successes at 20 % false rejections."
    )
    for findings in ((tiny, large), (large, tiny)):
        assert (
            said(*findings)
            == f"{none} manages to fool a on any of up to 90 images that it classifies correctly. {deepfool}"
        )
    weak = replace(tiny, trial=PairTrial("a", 0, "fgsm", "linf", 0.001, tiny.trial.attack, None, "dodging"))
    dodged = said(patched(tmp_path, success=0.75, undetected=0.3), weak)
    assert dodged == (
        f"{none} manages to hide a person from a on any of up to 90 pairs of one person that it recognises. "
        "By changing a region of the face only, patch manages to hide a person from a on 75 % of 90 pairs of "
        "one person that it recognises; the detector x notices 60 % of these successes at 20 % false "
        "rejections."
    )
    assert said(patched(tmp_path, success=0.0, undetected=0.0)) == (
        "Of the attacks tried that change a region of the face only, none manages to hide a person from a on "
        "any of up to 90 pairs of one person that it recognises."
    )


def test_where_no_small_change_of_the_whole_image_was_tried_the_headline_says_so(tmp_path: Path) -> None:
    nothing = "No attack with a limited change has finished, so nothing is known of what it takes to fool a."
    assert said(measured("pgd", 1.0, tmp_path, success=1.0, undetected=1.0)) == nothing
    assert said(measured("pgd", 0.0, tmp_path, success=0.0, undetected=0.0)) == nothing
    noise = measured("pgd", 0.1, tmp_path, success=0.0, undetected=0.0)
    control = replace(noise, trial=replace(noise.trial, label="noise", attack=None))
    assert said(control) == nothing
    control.own.clean_accuracy = sure(0.1)
    assert said(control).startswith("a decides wrongly on 90 % of 100 images without any attack, so what")
    assert said(patched(tmp_path, success=0.75, undetected=0.3)) == (
        "By changing a region of the face only, patch manages to hide a person from a on 75 % of 90 pairs "
        "of one person that it recognises; the detector x notices 60 % of these successes at 20 % false "
        "rejections."
    )


def test_the_headline_says_first_that_a_model_is_bad(tmp_path: Path) -> None:
    made = measured("fgsm", 0.1, tmp_path, success=0.0, undetected=0.0)
    for accuracy, opening in (
        (0.95, "Of the attacks tried"),
        (0.8, "a decides wrongly on 20 % of 100 images without any attack. Of the attacks tried"),
        (0.1, "a decides wrongly on 90 % of 100 images without any attack, so what follows is about the few"),
    ):
        made.own.clean_accuracy = sure(accuracy)
        assert said(made).startswith(opening)


def test_the_headline_says_last_that_few_images_were_attacked(tmp_path: Path) -> None:
    made = measured("fgsm", 0.1, tmp_path, success=1.0, undetected=0.0)
    for images, rough in ((32, True), (34, False)):  # nine tenths of them are right
        few = replace(made, record=made.record.model_copy(update={"images": images}))
        assert said(few).endswith(", so these shares are rough.") == rough
    assert "No attack was tried on more than 29 images that it classifies correctly, so" in said(
        replace(made, record=made.record.model_copy(update={"images": 32}))
    )


def test_a_trial_without_an_image_that_was_right_is_reported_and_stands_in_no_table(tmp_path: Path) -> None:
    hopeless = measured("pgd", 0.1, tmp_path, success=0.0, undetected=0.0)
    hopeless.own.success, hopeless.own.clean_accuracy = None, sure(0.0)
    assert said(hopeless) == (
        "a decides wrongly on all of 100 images without any attack, so there was nothing to attack."
    )
    usual = measured("fgsm", 0.1, tmp_path, success=0.4, undetected=0.4)
    assert said(usual, hopeless) == said(usual)
    assert worst_cases([usual, hopeless], rate=0.2)["a"].label == "fgsm"
    first, *others = check_masking([usual, hopeless])
    assert (first.name, first.verdict) == ("most clean images are right", "warning")
    assert first.text.endswith("no image of pgd 0.1 is right, so no table shows it")
    assert [each.text for each in others] == [each.text for each in check_masking([usual])[1:]]
    assert {each.verdict for each in check_masking([hopeless])[1:]} == {"not run"}
