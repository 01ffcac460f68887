"""The promises of every attack, and what each method adds to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from toy_models import (
    BRIGHT,
    CLASSES,
    DARK,
    SCALE,
    Bands,
    band_images,
    carlini_wagner,
    lgm_model,
    momentum_ascent,
    pgd,
    softmax_model,
    success_rate,
)

from data_prep.errors import InputError
from faceverif.heads.softmax import SoftmaxHead
from faceverif.perturbation.norm import Norm
from faceverif.perturbation.threat_model import ThreatModel
from robustness.attacked_model import AttackedModel, GradientCount, Watched
from robustness.attacks import ATTACKS, Attack
from robustness.attacks.adaptive import Adaptive
from robustness.attacks.apgd import APGD
from robustness.attacks.autoattack import AutoAttack
from robustness.attacks.deepfool import DeepFool
from robustness.attacks.fab import FAB
from robustness.attacks.feature_matching import FeatureMatching
from robustness.attacks.fgsm import FGSM
from robustness.attacks.goal import Goal
from robustness.attacks.mi_fgsm import MIFGSM
from robustness.attacks.square import Square
from robustness.attacks.sweep import Sweep
from robustness.attacks.targeted_fgsm import TargetedFGSM
from robustness.attacks.transfer import Transfer
from robustness.detectors import build_detector
from robustness.detectors.rejection_threshold import calibrate
from robustness.features import extract_features
from robustness.no_head import NoObjective
from robustness.rejection.outcome import Verdicts

MODEL = lgm_model()
IMAGES, LABELS = band_images(12)


@cache
def adaptive() -> Adaptive:
    clean = extract_features(MODEL, *band_images(300, seed=5))
    detector = build_detector("lgm_class", MODEL).fit(clean)
    point = calibrate(detector.score(clean), 0.05)
    return Adaptive(detector, Sweep(point.threshold, weights=(0.0, 1.0), steps=4, restarts=2))


SMALL: dict[str, Callable[[], Attack]] = {
    "fgsm": FGSM,
    "targeted_fgsm": TargetedFGSM,
    "pgd": lambda: pgd(steps=5, restarts=2),
    "mi_fgsm": lambda: MIFGSM(momentum_ascent(steps=5, diversity=0.5, smoothing_px=1)),
    "apgd": lambda: APGD(steps=6, restarts=2, loss="dlr", targets=0),
    "fab": lambda: FAB(steps=5, targets=2),
    "autoattack": lambda: AutoAttack(steps=5, targets=2, queries=20),
    "deepfool": lambda: DeepFool(steps=5),
    "carlini_wagner": lambda: carlini_wagner(steps=15, search_steps=5, step=0.2),
    "square": lambda: Square(queries=30),
    "transfer": lambda: Transfer(pgd(steps=5), softmax_model()),
    "adaptive": adaptive,
    "feature_matching": lambda: FeatureMatching(extract_features(MODEL, IMAGES, LABELS), steps=5, restarts=1),
}


@pytest.mark.parametrize(
    ("name", "goal"), [(name, goal) for name in SMALL for goal in sorted(ATTACKS[name].goals)]
)
def test_a_single_class_is_not_called_robust(name: str, goal: str) -> None:
    """It is always right, and there is no second class to lead to."""
    attack = SMALL[name]()
    alone = NoObjective(embedding_dim=CLASSES)
    alone.head = SoftmaxHead(classes=1, embedding_dim=CLASSES)
    threat = ThreatModel(min(attack.norms), 0.1, targeted=goal == "targeted")
    with pytest.raises(InputError, match="classes: must be two or more; got 1"):
        attack(AttackedModel(Bands(), alone).eval(), IMAGES, 0 * LABELS, threat=threat, seed=0)


def threats(attack: Attack, epsilon: float) -> list[ThreatModel]:
    return [ThreatModel(norm, epsilon, "targeted" in attack.goals) for norm in sorted(attack.norms)]


def test_every_attack_of_the_registry_is_tested_here() -> None:
    assert SMALL.keys() == ATTACKS.keys()


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=3, derandomize=True)
@given(epsilon=st.floats(0.001, 1))
def test_ball_box_and_the_clean_image_at_the_centre(name: str, epsilon: float) -> None:
    attack = SMALL[name]()
    for threat in threats(attack, epsilon):
        before = IMAGES.clone()
        result = attack(MODEL, IMAGES, LABELS, threat=threat, seed=1, portion=8)
        assert torch.equal(IMAGES, before)
        assert result.images.shape == IMAGES.shape
        assert result.images.dtype == torch.float32
        assert result.images.min() >= 0
        assert result.images.max() <= 1
        assert (threat.sizes(IMAGES, result.images) <= epsilon + 2e-6).all()
        torch.testing.assert_close(result.sizes, threat.sizes(IMAGES, result.images))
        for features, images in ((result.clean, IMAGES), (result.attacked, result.images)):
            torch.testing.assert_close(features, extract_features(MODEL, images, LABELS))


@pytest.mark.parametrize("name", SMALL)
def test_epsilon_zero_leaves_the_images(name: str) -> None:
    attack = SMALL[name]()
    result = attack(MODEL, IMAGES, LABELS, threat=threats(attack, 0.0)[0], seed=1)
    assert torch.equal(result.images, IMAGES)
    assert not result.success.any()
    assert result.zero_gradient is None


@pytest.mark.parametrize("name", SMALL)
def test_images_that_are_all_wrong_already_can_be_asked_for(name: str) -> None:
    attack = SMALL[name]()
    result = attack(MODEL, IMAGES, (LABELS + 1) % 3, threat=threats(attack, 0.1)[0], seed=1)
    assert not result.success.any()
    assert not result.clean_correct.any()


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"targeted_fgsm", "transfer"}))
def test_an_epsilon_without_bounds_reaches_everything(name: str) -> None:
    attack = SMALL[name]()
    for norm in attack.norms:
        threat = ThreatModel(norm, 1.0 if norm == "linf" else 5.0)
        result = attack(MODEL, IMAGES, LABELS, threat=threat, seed=1)
        assert success_rate(result) == 1.0, norm


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"fgsm", "deepfool"}))
def test_no_gradients_are_left_and_every_portion_is_small(name: str) -> None:
    model = lgm_model()
    attack = SMALL[name]()
    attack(model, IMAGES, LABELS, threat=threats(attack, 0.3)[0], seed=1, portion=7)
    assert isinstance(model.network, Bands)
    assert model.network.largest_batch <= 7
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_fixes_the_result_and_the_generator_goes_on_as_before(name: str) -> None:
    attack = SMALL[name]()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    results = [attack(MODEL, IMAGES, LABELS, threat=threats(attack, 0.2)[0], seed=4) for _ in range(2)]
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(results[0].images, results[1].images)


def test_fgsm_is_the_sign_of_the_gradient() -> None:
    result = FGSM()(MODEL, IMAGES, LABELS, threat=ThreatModel("linf", 0.1), seed=0)
    asked = IMAGES.clone().requires_grad_()
    F.cross_entropy(MODEL(asked), LABELS).backward()
    MODEL.zero_grad(set_to_none=True)
    assert asked.grad is not None
    torch.testing.assert_close(result.images, (IMAGES + 0.1 * asked.grad.sign()).clamp(0, 1))


def test_fgsm_costs_two_forward_passes_an_image_and_leaves_what_detectors_need() -> None:
    model = lgm_model()
    result = FGSM()(model, IMAGES, LABELS, threat=ThreatModel("linf", 0.1), seed=0, portion=5)
    assert isinstance(model.network, Bands)
    assert model.network.images == 2 * len(IMAGES)
    assert torch.equal(result.clean.embeddings, extract_features(MODEL, IMAGES, LABELS, portion=5).embeddings)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_pgd_step_from_the_image_is_fgsm(norm: Norm) -> None:
    threat = ThreatModel(norm, 0.2)
    one_step = pgd(steps=1, step=1.0, random_start=False)(MODEL, IMAGES, LABELS, threat=threat, seed=0)
    assert torch.equal(one_step.images, FGSM()(MODEL, IMAGES, LABELS, threat=threat, seed=0).images)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_is_no_weaker_than_one_step_towards_either_goal(loss: str, targeted: bool) -> None:
    threat = ThreatModel("linf", 0.32, targeted)
    one = pgd(steps=1, step=1.0, loss=loss)  # type: ignore[arg-type]
    many = pgd(steps=20, restarts=3, loss=loss)  # type: ignore[arg-type]
    weak, strong = (attack(MODEL, IMAGES, LABELS, threat=threat, seed=2) for attack in (one, many))
    assert success_rate(strong) >= success_rate(weak)
    assert success_rate(strong) == 1.0


def test_targets_are_the_second_most_likely_class_or_those_given() -> None:
    threat = ThreatModel("linf", 0.5, targeted=True)
    second = MODEL(IMAGES).topk(2, dim=1).indices[:, 1]
    result = TargetedFGSM()(MODEL, IMAGES, LABELS, threat=threat, seed=0, portion=5)
    assert result.targets is not None
    assert torch.equal(result.targets, second)
    other = 3 - LABELS - second
    towards = TargetedFGSM()(MODEL, IMAGES, LABELS, threat=threat, seed=0, targets=other)
    assert towards.targets is not None
    assert torch.equal(towards.targets, other)
    assert torch.equal(towards.success, (towards.attacked.predicted == other) & towards.clean_correct)
    assert success_rate(towards) > 0.5


def test_targeted_fgsm_follows_the_whole_training_loss_of_each_image_alone() -> None:
    threat = ThreatModel("linf", 0.2, targeted=True)
    result = TargetedFGSM()(MODEL, IMAGES, LABELS, threat=threat, seed=0)
    assert result.targets is not None
    for image, target, attacked in zip(IMAGES, result.targets, result.images, strict=True):
        asked = image[None].clone().requires_grad_()
        distances = 0.5 * (MODEL.embed(asked) - MODEL.head.centres()).square().sum(dim=1)
        margin_logits = -distances - F.one_hot(target, 3) * distances
        loss = F.cross_entropy(margin_logits[None], target[None]) + 0.1 * distances[target]
        (gradient,) = torch.autograd.grad(loss, asked)
        torch.testing.assert_close(attacked, (image - 0.2 * gradient[0].sign()).clamp(0, 1))


def test_success_counts_only_what_was_right_before() -> None:
    wrong = LABELS.clone()
    wrong[:3] = (wrong[:3] + 1) % 3
    result = FGSM()(MODEL, IMAGES, wrong, threat=ThreatModel("linf", 0.01), seed=0)
    assert not result.success.any()
    assert result.attacked.correct.sum() == 9


def test_zero_gradients_of_a_saturated_softmax_are_counted_and_the_margin_gets_through() -> None:
    saturated, threat = softmax_model(sharpness=1e4), ThreatModel("linf", 0.4)
    fooled = FGSM()(saturated, IMAGES, LABELS, threat=threat, seed=0)
    assert Verdicts.of(fooled).zero_gradient_share == 1.0
    assert torch.equal(fooled.images, IMAGES)
    margin = pgd(steps=10, loss="margin")(saturated, IMAGES, LABELS, threat=threat, seed=0)
    assert Verdicts.of(margin).zero_gradient_share == 0.0
    assert success_rate(margin) == 1.0
    fgsm = FGSM()(MODEL, IMAGES, LABELS, threat=threat, seed=0)
    assert Verdicts.of(fgsm).zero_gradient_share == 0.0
    # Other gradients that the attack adds to the pixels, here of the norm, do not hide it.
    watched = Watched(saturated, IMAGES)
    asked = IMAGES.clone().requires_grad_()
    (F.cross_entropy(watched(asked), LABELS) + asked.square().sum()).backward()
    assert watched.gradients.zero is not None
    assert watched.gradients.zero.all()


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(),
        pgd(steps=1, step=1.0, random_start=False),
        MIFGSM(momentum_ascent(steps=1), loss="cross_entropy"),
    ],
    ids=lambda attack: type(attack).__name__,
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_is_as_long_where_the_cross_entropy_has_nearly_no_gradient(attack: Attack, norm: Norm) -> None:
    """With 45 logits between the classes the gradient is about 1e-19, and its square is 0 in float32."""
    sharp = softmax_model(sharpness=45 / (SCALE * (BRIGHT - DARK)))
    images, labels = band_images(6, noise=0.0)
    assert Goal(labels).margin(sharp(images)).min() > 44
    result = attack(sharp, images, labels, threat=ThreatModel(norm, 0.1), seed=0)
    assert Verdicts.of(result).zero_gradient_share == 0.0
    torch.testing.assert_close(result.sizes, torch.full((6,), 0.1))


class Rooted(Bands):
    """A root that is always 0: the answers are finite, and the gradient of one pixel is NaN."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels) + (0 * pixels[:, 0, 0, :1]).sqrt()


@pytest.mark.parametrize("name", SMALL)
def test_a_model_whose_gradients_are_nan_is_not_called_robust(name: str) -> None:
    """The sign of NaN is 0: in linf such an attack stood still there, and no check noticed."""
    attack, model = SMALL[name](), AttackedModel(Rooted(), MODEL.objective).eval()
    for threat in threats(attack, 0.2):
        if attack.traits.black_box:
            assert attack(model, IMAGES, LABELS, threat=threat, seed=0).images.isfinite().all()
            continue
        with pytest.raises(InputError, match=r"^model: must have finite gradients.* for 12 of 12 images\. "):
            attack(model, IMAGES, LABELS, threat=threat, seed=0)


@pytest.mark.parametrize("name", SMALL)
def test_every_image_has_its_mark_where_some_are_wrong_from_the_start(name: str) -> None:
    """Attacks leave such images alone, even a whole portion of them."""
    attack, wrong = SMALL[name](), LABELS.clone()
    wrong[:3] = (LABELS[:3] + 1) % 3
    threat = ThreatModel(sorted(attack.norms)[0], 0.2, targeted="untargeted" not in attack.goals)
    result = attack(MODEL, IMAGES, wrong, threat=threat, seed=0, portion=2)
    assert (result.zero_gradient is None) == attack.traits.black_box
    if result.zero_gradient is not None:
        assert result.zero_gradient.shape == (12,)
        assert not result.zero_gradient[3:].any()


def test_the_first_gradient_of_each_image_is_looked_at_wherever_it_stands_in_a_batch() -> None:
    count, pixels = GradientCount(4), torch.rand(4, 1, 2, 2)

    def ask(which: list[int], factors: list[float]) -> None:
        asked = pixels[which].requires_grad_()
        (count.watched(asked).flatten(1).sum(dim=1) * torch.tensor(factors)).sum().backward()

    with count.of(torch.tensor([1, 3])):
        ask([1, 3], [0.0, 1.0])
        with count.of(torch.tensor([1])):
            ask([3], [0.0])  # not its first
    assert count.zero is not None
    assert count.zero.tolist() == [False, True, False, False]
    ask([0, 1, 2, 3], [0.0, 1.0, 1.0, 0.0])
    assert count.zero.tolist() == [True, True, False, False]


def test_square_and_transfer_ask_for_no_gradient_and_get_past_a_mask() -> None:
    saturated, threat = softmax_model(sharpness=1e4), ThreatModel("linf", 0.4)
    for attack in (Square(queries=100), Transfer(pgd(steps=10), softmax_model())):
        result = attack(saturated, IMAGES, LABELS, threat=threat, seed=0)
        assert result.zero_gradient is None
        assert success_rate(result) > 0.9


def test_square_changes_squares() -> None:
    torch.manual_seed(0)
    clean = torch.full((2, 3, 12, 12), 0.5)

    class Never(Watched):
        def forward(self, pixels: Tensor) -> Tensor:
            return F.one_hot(torch.zeros(len(pixels), dtype=torch.int64), 3) * 10 - pixels[:, :, 0, 0]

    goal, threat = Goal(torch.zeros(2, dtype=torch.int64)), ThreatModel("linf", 0.1)
    changed = Square(queries=50).perturb(Never(MODEL, clean), clean, goal, threat=threat)
    torch.testing.assert_close((changed - clean).abs(), torch.full_like(clean, 0.1))


def test_deepfool_and_carlini_wagner_find_smaller_changes_than_their_budget() -> None:
    threat = ThreatModel("l2", 5.0)
    for attack in (DeepFool(steps=50), carlini_wagner(steps=30, search_steps=5, step=0.1)):
        result = attack(MODEL, IMAGES, LABELS, threat=threat, seed=0)
        assert success_rate(result) == 1.0
        # Half the brightness between two bands of six pixels each: sqrt(12) * 0.3, with noise.
        assert result.sizes.max() < 1.6


def test_carlini_wagner_leaves_an_image_that_it_cannot_fool() -> None:
    attack = carlini_wagner(steps=1, search_steps=1, step=1e-6)
    result = attack(MODEL, IMAGES, LABELS, threat=ThreatModel("l2", 0.5), seed=0)
    assert torch.equal(result.images, IMAGES)


def test_feature_matching_takes_the_embedding_to_a_guide() -> None:
    guides = extract_features(MODEL, *band_images(30, seed=9))
    threat = ThreatModel("linf", 1.0)
    attack = FeatureMatching(guides, steps=200, restarts=1)
    result = attack(MODEL, IMAGES, LABELS, threat=threat, seed=0)
    embeddings = extract_features(MODEL, result.images, LABELS).embeddings
    distances = torch.cdist(embeddings, guides.embeddings)
    nearest, which = distances.min(dim=1)
    assert nearest.max() < 0.1  # two classes are 5 apart
    assert (guides.labels[which] != LABELS).all()
    one_class = guides.take(guides.labels == 0)
    with pytest.raises(InputError, match="guides: must hold a clean image of another class"):
        FeatureMatching(one_class, steps=1, restarts=1)(MODEL, IMAGES, LABELS, threat=threat, seed=0)


class WithDropout(Bands):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda model: model.train(), "model: must be in evaluation mode.* got the model in training"),
        (lambda model: model.network.dropout.train(), "got network.dropout in training mode"),
        (lambda model: model.half(), "model: must be in float32"),
    ],
)
def test_a_model_that_hides_from_attacks_is_refused(
    break_it: Callable[[AttackedModel], object], message: str
) -> None:
    model = AttackedModel(WithDropout(), lgm_model().objective).eval()
    break_it(model)
    for act in (
        lambda: FGSM()(model, IMAGES, LABELS, threat=ThreatModel("linf", 0.1), seed=0),
        lambda: extract_features(model, IMAGES, LABELS),
    ):
        with pytest.raises(InputError, match=message):
            act()


def test_a_network_in_training_mode_is_not_switched_silently() -> None:
    model = AttackedModel(Bands().train(), lgm_model().objective)
    with pytest.raises(InputError, match="must be in evaluation mode"):
        FGSM()(model, IMAGES, LABELS, threat=ThreatModel("linf", 0.1), seed=0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES * 255, LABELS, r"images: pixels must lie in \[0, 1\]; got 0 to 25"),
        (IMAGES - 0.5, LABELS, r"pixels must lie in \[0, 1\]"),
        (IMAGES * torch.nan, LABELS, r"pixels must lie in \[0, 1\]"),
        ((IMAGES * 255).byte(), LABELS, "images: must be float32"),
        (IMAGES.double(), LABELS, "images: must be float32"),
        (IMAGES[:0], LABELS[:0], r"images: must be \(N, C, H, W\), N >= 1"),
        (IMAGES, LABELS + 1, r"labels: must lie in \[0, 3\); got 3"),
    ],
)
def test_bad_images_are_refused(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FGSM()(MODEL, images, labels, threat=ThreatModel("linf", 0.1), seed=0)


def test_autocast_is_refused() -> None:
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(InputError, match="model: must be attacked without autocast"),
    ):
        FGSM()(MODEL, IMAGES, LABELS, threat=ThreatModel("linf", 0.1), seed=0)


def test_goals_and_norms_that_a_method_does_not_know_are_refused() -> None:
    with pytest.raises(InputError, match="targeted: FGSM is untargeted only; got targeted"):
        FGSM()(MODEL, IMAGES, LABELS, threat=ThreatModel("linf", 0.1, targeted=True), seed=0)
    with pytest.raises(InputError, match="norm: must be one that Square knows: linf; got l2"):
        Square(queries=1)(MODEL, IMAGES, LABELS, threat=ThreatModel("l2", 0.1), seed=0)
    with pytest.raises(InputError, match="targets: are for targeted threat models"):
        FGSM()(MODEL, IMAGES, LABELS, threat=ThreatModel("linf", 0.1), seed=0, targets=LABELS)
    targeted, targets = ThreatModel("linf", 0.1, targeted=True), (LABELS + 1) % CLASSES
    targets[:2] = LABELS[:2]
    with pytest.raises(InputError, match=r"targets: must be other classes .* got the true class for 2 of"):
        TargetedFGSM()(MODEL, IMAGES, LABELS, threat=targeted, seed=0, targets=targets)


def test_an_attack_that_makes_a_nan_does_not_pass() -> None:
    class Broken(Attack):
        def perturb(self, model: Watched, images: Tensor, goal: Goal, *, threat: ThreatModel) -> Tensor:
            return images * torch.nan

    with pytest.raises(RuntimeError, match="Broken left the ball"):
        Broken()(MODEL, IMAGES, LABELS, threat=ThreatModel("linf", 0.1), seed=0)
