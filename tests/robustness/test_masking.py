"""The checks for masked gradients, on findings with chosen scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from small_rejection import finding, sure

from robustness.rejection.findings import (
    Finding,
)
from robustness.rejection.masking import check_masking, checks_for
from robustness.rejection.report import CheckCount, summed_checks


def verdicts(*findings: Finding) -> dict[str, str]:
    return {check.name: check.verdict for check in check_masking(findings)}


def test_signs_of_masked_gradients(tmp_path: Path) -> None:
    sound = verdicts(
        finding("fgsm", 0.0, [False] * 4, tmp_path, unsteady=[]),
        finding("fgsm", 0.1, [True, False, False, False], tmp_path),
        finding("targeted_fgsm", 0.1, [False, False, True], tmp_path),
        finding("square", 0.1, [True, False, False, False], tmp_path),
        finding("pgd", 0.1, [True, True, False], tmp_path),
        finding("pgd", 1.0, [True, True, True], tmp_path),
        *(finding(name, 0.1, [True, True, False], tmp_path) for name in ("apgd", "fab", "autoattack")),
        finding("adaptive", 0.1, [True, True, False], tmp_path),
        finding("deepfool", 2.0, [True, False, True], tmp_path),
        finding("carlini_wagner", 2.0, [True, False], tmp_path),
    )
    assert set(sound) == set(checks_for(None))
    assert set(sound.values()) == {"pass"}
    masked = verdicts(
        finding(
            "fgsm",
            0.0,
            [False] * 4,
            tmp_path,
            unsteady=["the model"],
            auc=sure(0.6),
            clean_accuracy=sure(0.1),
        ),
        finding("fgsm", 0.1, [True, True, True, False], tmp_path, zero_gradient_share=0.5),
        finding("targeted_fgsm", 0.1, [True, True, True, False], tmp_path),
        finding("square", 0.1, [True, True, False, True], tmp_path),
        finding("pgd", 0.1, [True, False, False, True], tmp_path),
        finding("pgd", 1.0, [True, False, False, False], tmp_path),
        *(finding(name, 0.1, [True, False, False, False], tmp_path) for name in ("apgd", "fab")),
        finding("autoattack", 0.1, [False] * 4, tmp_path),
        finding("adaptive", 0.1, [True, False, False, False], tmp_path),
        finding("deepfool", 2.0, [True, False, True], tmp_path),
        finding("carlini_wagner", 2.0, [False, False], tmp_path),
    )
    assert set(masked) == set(checks_for(None))
    assert set(masked.values()) == {"warning"}


def texts(*findings: Finding) -> dict[str, tuple[str, str]]:
    return {check.name: (check.verdict, check.text) for check in check_masking(findings)}


def test_each_size_has_its_own_share_without_a_gradient(tmp_path: Path) -> None:
    """Gradients that vanish at a small epsilon are not made good by a large one."""
    found = texts(
        finding("pgd", 0.1, [True], tmp_path, zero_gradient_share=0.5),
        finding("pgd", 0.3, [True], tmp_path),
    )
    assert found["gradients are not zero"] == (
        "warning",
        "at most 50.0 % of the images gave pgd 0.1 no gradient",
    )


def test_who_knows_the_detector_must_get_more_past_it(tmp_path: Path) -> None:
    """Success alone is not compared: rejected successes are none, on the images that both were tried on."""
    name = "attacks that know the detector have no fewer undetected successes"
    adaptive = finding("adaptive", 0.1, [True, True], tmp_path, rejected=[False, True])
    pgd = finding("pgd", 0.1, [True, True, True], tmp_path, rejected=[True, True, False])
    assert texts(adaptive, pgd)[name] == ("pass", "at 20 % false rejections, pgd 0.1: 1 against 0 of 2")
    fgsm = finding("fgsm", 0.1, [True, True, True], tmp_path)
    assert texts(adaptive, fgsm)[name] == ("warning", "at 20 % false rejections, fgsm 0.1: 1 against 2 of 2")


def test_each_adaptive_attack_is_compared_at_the_rate_that_it_knows(tmp_path: Path) -> None:
    """A score of 0.6 is above the threshold of 20 % and below that of 5 %."""
    name = "attacks that know the detector have no fewer undetected successes"
    at_20 = finding("adaptive", 0.3, [True, True], tmp_path / "20", rate=0.2)
    at_5 = finding("adaptive", 0.1, [True, True], tmp_path / "5", rate=0.05, rejected=[0.6, 0.6])
    pgd = [finding("pgd", size, [True, True], tmp_path, rejected=[0.0, 1.0]) for size in (0.1, 0.3)]
    expected = (
        "at 5 % false rejections, pgd 0.1: 2 against 1 of 2; at 20 % false rejections, pgd 0.3: 2 against"
    )
    for findings in ((at_20, at_5, *pgd), (*pgd, at_5, at_20)):
        assert texts(*findings)[name] == ("pass", f"{expected} 1 of 2")
    weak = finding("adaptive", 0.1, [True, False], tmp_path / "5", rate=0.05, rejected=[0.7, 0.0])
    verdict, text = texts(at_20, weak, *pgd)[name]
    assert verdict == "warning"
    assert "pgd 0.1: 0 against 1 of 2; at 20 %" in text


def test_a_conspicuous_larger_epsilon_is_said_to_flatter(tmp_path: Path) -> None:
    verdict, text = texts(
        finding("pgd", 0.1, [True, True, False], tmp_path),
        finding("pgd", 1.0, [True, True, True], tmp_path, rejected=[True, True, True]),
    )["a larger epsilon has no fewer undetected successes"]
    assert verdict == "warning"
    assert text.startswith("pgd 1: 0 of 3 undetected, at 0.1: 2. An attack may stay within the smaller ball")


def test_a_check_without_its_attacks_is_not_run(tmp_path: Path) -> None:
    found = verdicts(finding("fgsm", 0.1, [True, False], tmp_path))
    assert found.pop("gradients are not zero") == found.pop("most clean images are right") == "pass"
    assert set(found.values()) == {"not run"}


def test_what_is_missing_is_said_and_attacks_that_were_not_tried_are_not_named(tmp_path: Path) -> None:
    found = texts(
        finding("fgsm", 0.1, [True, False], tmp_path),
        finding("pgd", 0.2, [True, False], tmp_path),
    )
    assert {name for name in found if "is no weaker than" in name} == {
        "pgd is no weaker than fgsm",
        "white box is no weaker than black box",
    }
    assert found["pgd is no weaker than fgsm"] == ("not run", "pgd and fgsm have no size in common")
    box = "white box is no weaker than black box"
    assert found[box] == ("not run", "no black-box attack has finished")
    square = finding("square", 0.1, [True, False], tmp_path)
    assert texts(square)[box] == ("not run", "no attack of many gradient steps has finished")


def test_only_images_that_both_were_tried_on_are_compared(tmp_path: Path) -> None:
    """PGD saw two images, and fooled both; FGSM fooled one of these, and two others."""
    found = verdicts(
        finding("fgsm", 0.1, [True, False, True, True], tmp_path),
        finding("pgd", 0.1, [True, True], tmp_path),
    )
    assert found["pgd is no weaker than fgsm"] == "pass"


def test_a_pass_hides_no_check_that_was_not_run() -> None:
    name = "white box is no weaker than black box"

    def check(verdict: str, training: int, goal: str | None = None) -> dict[str, Any]:
        text = f"{verdict} {training}"
        return {
            "model": "a",
            "training": training,
            "goal": goal,
            "name": name,
            "verdict": verdict,
            "text": text,
        }

    checks = [
        check("pass", 0),
        check("not run", 1),
        check("not run", 2),
        check("pass", 0, "dodging"),
        check("warning", 1, "dodging"),
    ]
    assert summed_checks(checks) == {
        name: [
            CheckCount("warning", "dodging", 1, "a, training 1", "warning 1"),
            CheckCount("not run", None, 2, "a, training 1", "not run 1"),
            CheckCount("pass", None, 1, "a, training 0", "pass 0"),
            CheckCount("pass", "dodging", 1, "a, training 0", "pass 0"),
        ]
    }
