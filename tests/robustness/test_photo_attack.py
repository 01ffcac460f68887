"""`faceverif.attack` moves the similarity where it should, within epsilon, in pictures with 8 bits."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
import torch
from drawn_photos import drawn_photos
from PIL import Image
from small_faces import face, pattern_embedder

import faceverif
from data_prep.errors import InputError
from faceverif.cli.rejection import AttackName
from faceverif.own_packages import refuse_foreign_robustness
from faceverif.perturbation.threat_model import ThreatModel
from robustness.config.chosen import CHOICES
from robustness.photo_attack import impersonate, with_8_bits

MODEL = faceverif.Recogniser(pattern_embedder(input_px=96))
ONE, OTHER = (face(person, 1, side=112) for person in (0, 1))


def attacked(*photos: Any, **more: Any) -> faceverif.AttackedPhoto:
    return faceverif.attack(*photos, **({"model": MODEL, "aligned": True, "steps": 5} | more))


@pytest.mark.parametrize(("goal", "sign"), [("impersonation", 1), ("dodging", -1)])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_the_similarity_goes_where_the_goal_wants_it(name: str, goal: str, sign: int) -> None:
    settings = {} if name == "fgsm" else {"steps": 5}
    found = faceverif.attack(
        ONE, OTHER, model=MODEL, aligned=True, name=name, goal=goal, epsilon=8 / 255, **settings
    )
    assert sign * (found.similarity_after - found.similarity_before) > 0.01
    assert 0 < found.largest_change <= 8
    assert found.attacked.dtype == np.uint8
    np.testing.assert_array_equal(found.clean + found.change, found.attacked)
    before, after, other = MODEL.embed(np.stack([ONE, found.attacked, OTHER]))
    assert found.similarity_before == pytest.approx(before @ other, abs=1e-6)
    assert found.similarity_after == pytest.approx(after @ other, abs=1e-6)


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_the_demo_attacks_with_it(name: str) -> None:
    found = impersonate(ONE, OTHER, MODEL, name, 2 / 255)
    wanted = attacked(ONE, OTHER, name=name, epsilon=2 / 255, steps=None)
    np.testing.assert_array_equal(found.attacked, wanted.attacked)


def test_only_what_the_model_sees_is_changed() -> None:
    change = attacked(ONE, OTHER).change
    assert np.abs(change[8:-8, 8:-8]).max() > 0
    change[8:-8, 8:-8] = 0
    assert not change.any()


def test_more_steps_and_a_larger_epsilon_reach_further() -> None:
    def reached(**more: Any) -> float:
        return attacked(ONE, OTHER, **more).similarity_after

    assert reached(steps=20, epsilon=8 / 255) > reached(steps=1, epsilon=2 / 255) + 0.01


def test_a_photo_alone_can_be_dodged() -> None:
    found = attacked(ONE, goal="dodging")
    assert found.similarity_before == pytest.approx(1, abs=1e-6)
    assert found.similarity_after < 0.99


def test_pictures_are_attacked_as_arrays_are() -> None:
    found = attacked(Image.fromarray(ONE), Image.fromarray(OTHER))
    np.testing.assert_array_equal(found.attacked, attacked(ONE, OTHER).attacked)


@pytest.mark.parametrize("levels", [0, 1, 2.5, 7.9])
def test_rounding_to_8_bits_stays_within_epsilon(levels: float) -> None:
    assert attacked(ONE, OTHER, epsilon=levels / 255).largest_change <= levels


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 2.0])
def test_rounding_stays_within_epsilon_in_l2_too_and_shrinks_no_more_than_it_must(epsilon: float) -> None:
    """Of 0.2 to 4.6 grey levels per pixel: rounding shortens the first, and lengthens the others."""
    drawn = np.random.default_rng(0)
    clean = drawn.integers(20, 235, (64, 64, 3), dtype=np.uint8)
    change = drawn.normal(size=clean.shape)
    change *= epsilon / np.linalg.norm(change)
    image = torch.from_numpy((clean / 255 + change).astype(np.float32)).permute(2, 0, 1)
    rounded = with_8_bits(clean, image, ThreatModel("l2", epsilon)).astype(float) - clean
    plain = np.rint((clean / 255 + change) * 255) - clean
    most = 255 * epsilon + 1e-3
    if np.linalg.norm(plain) <= most:
        np.testing.assert_array_equal(rounded, plain)
    else:
        assert most - 0.5 < np.linalg.norm(rounded) <= most
        assert (rounded * plain >= 0).all()


@pytest.mark.parametrize("name", ["pgd", "evolutionary"])
def test_an_attack_in_l2_keeps_its_size_in_8_bits(name: str) -> None:
    more = {"norm": "l2"} if name == "pgd" else {"threshold": 0.5, "steps": None, "queries": 20}
    change = attacked(ONE, OTHER, name=name, epsilon=0.5, **more).change / 255
    assert 0.4 < np.linalg.norm(change) <= 0.5 + 1e-6


def test_photos_are_aligned_first(tmp_path: Path) -> None:
    (photo,) = drawn_photos(tmp_path, identities=1, photos=1)
    found = attacked(photo, goal="dodging", aligned=False)
    np.testing.assert_array_equal(found.clean, faceverif.align(photo, template=MODEL.template))


@pytest.mark.parametrize(
    ("photos", "changes", "complaint"),
    [
        ((ONE, OTHER), {"name": "cw"}, "name: must be a known attack; got cw"),
        ((ONE, OTHER), {"name": "fgsm"}, "steps: is not a key of the settings of fgsm"),
        ((ONE, OTHER), {"steps": 0}, "steps: input should be greater than or equal to 1"),
        ((ONE, OTHER), {"name": "patch", "colours": 1}, "colours: input should be"),
        (
            (ONE, OTHER),
            {"source": faceverif.Recogniser(pattern_embedder())},
            "source: must take the crops of",
        ),
        ((ONE, OTHER), {"goal": "theft"}, "goal: must be a known one; got theft"),
        ((ONE, OTHER), {"epsilon": 8}, "epsilon: must be at most 1"),
        ((ONE, OTHER), {"epsilon": 0.001}, "epsilon: must be at least 1 / 255"),
        (
            (ONE, OTHER),
            {"source": MODEL, "name": "evolutionary", "threshold": 0.3, "steps": None},
            "source: must be left out with evolutionary, which asks for decisions",
        ),
        ((ONE,), {}, "reference: must be a photo of the other person"),
        ((ONE[:50], OTHER), {}, r"as an aligned crop it must be \(112, 112, 3\).*got uint8 \(50, 112, 3\)"),
        ((ONE, OTHER), {"model": "gone"}, "^model: there is no such file or folder; got gone"),
        ((ONE, OTHER), {"model": MODEL.embedder}, "^model: must be a model by faceverif.load"),
        ((ONE, OTHER), {"source": ["gone"]}, "^source: there is no such file or folder; got gone"),
        ((ONE, OTHER), {"source": [MODEL, MODEL]}, "^source: must hold different models; got .* twice"),
        ((ONE, OTHER), {"source": 5}, "^source: must be a model by faceverif.load"),
        ((ONE, OTHER), {"epsilon": "0.1"}, "^epsilon: must be a finite number; got '0.1'"),
        ((ONE, OTHER), {"threshold": float("nan")}, "^threshold: must be a finite number; got nan"),
        ((ONE, OTHER), {"seed": -1}, "^seed: must be a whole number from 0 to .*; got -1"),
        ((ONE, OTHER), {"seed": "a"}, "^seed: must be a whole number from 0 to .*; got 'a'"),
        ((ONE, OTHER), {"source": [None]}, "^source: must be a model by faceverif.load"),
        (("a.jpg", OTHER), {}, "got 'a.jpg'"),
        (("a.jpg", OTHER), {"aligned": False}, "photo: must be a readable picture; got a.jpg"),
        # Said before the model is loaded:
        ((ONE,), {"model": "gone"}, "reference: must be a photo of the other person"),
        ((ONE, "b.jpg"), {"aligned": False, "model": "gone"}, "must be a readable picture; got b.jpg"),
    ],
)
def test_wrong_arguments_are_named(photos: Any, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        attacked(*photos, **changes)


def test_numbers_may_be_those_of_numpy() -> None:
    numbers = {"steps": np.int64(2), "epsilon": np.float64(8 / 255), "seed": np.int64(3)}
    found, wanted = attacked(ONE, OTHER, **numbers), attacked(ONE, OTHER, steps=2, epsilon=8 / 255, seed=3)
    np.testing.assert_array_equal(found.attacked, wanted.attacked)


def test_the_command_offers_every_attack_that_needs_no_more_than_a_model_and_two_photos() -> None:
    assert set(get_args(AttackName)) == set(CHOICES)


def test_another_package_of_this_name_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuse_foreign_robustness()
    other = ModuleType("robustness")
    other.__file__ = str(tmp_path / "site-packages" / "robustness" / "__init__.py")
    monkeypatch.setitem(sys.modules, "robustness", other)
    with pytest.raises(InputError, match=r"comes with faceverif.*site-packages"):
        faceverif.attack  # noqa: B018 - the access is the test
    monkeypatch.delitem(sys.modules, "robustness")
    (tmp_path / "robustness").mkdir()
    (tmp_path / "robustness" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"got .*robustness/__init__"):
        refuse_foreign_robustness()
