"""Heads as training runs them, each beside the oracle that its logits must equal.

The formulas are in `tests/oracles/heads.py`. Here stand the settings under which they are compared, and what
a head knows beyond a sample: running statistics, draws, the stage of a curriculum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from heads import (
    adaface_oracle,
    arcface_oracle,
    cosface_oracle,
    cosine,
    curricularface_oracle,
    lgm_oracle,
    lsoftmax_oracle,
    magface_oracle,
    normalised_softmax_oracle,
    quality_oracle,
    shared_lgm_oracle,
    softmax_oracle,
    sphereface_oracle,
    subcenter_arcface_oracle,
    wsoftmax_oracle,
)
from torch import Tensor
from torch.func import functional_call

from faceverif.heads import HEADS, Head

Row = list[float]
# Logits of one sample, from its embedding and the weights of all classes.
OfSample = Callable[[Row, list[Row]], Row]
SEED = 11


class Batch(NamedTuple):
    """What a head has seen: it takes statistics of this without a gradient.

    Attributes:
        x: embeddings, raw.
        weights: of the classes.
        labels: own classes.
        progress: of the margin.
    """

    x: list[Row]
    weights: list[Row]
    labels: list[int]
    progress: float

    def norms(self) -> Row:
        return [math.hypot(*row) for row in self.x]

    def own_cosines(self) -> Row:
        return [cosine(x, self.weights[label]) for x, label in zip(self.x, self.labels, strict=True)]


def weight_alone(weight: Tensor) -> dict[str, Tensor]:
    return {"weight": weight}


class Case(NamedTuple):
    """A head with settings, none of which is a default.

    Attributes:
        head: its name in the registry.
        settings: as in a config.
        of_sample: the batch, the number of a sample in it, and the settings -> the oracle of that sample.
        given: weights of the classes, (classes, dim) -> the head's parameters and buffers.
    """

    head: str
    settings: dict[str, Any]
    of_sample: Callable[..., OfSample]
    given: Callable[[Tensor], dict[str, Tensor]] = weight_alone


def built(name: str, *, classes: int, embedding_dim: int) -> Head:
    """The head of a case, in training mode."""
    torch.manual_seed(0)
    case = CASES[name]
    return HEADS[case.head](classes=classes, embedding_dim=embedding_dim, **case.settings)


def logits_in_training(head: Head, name: str, x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The margin logits that a training step computes, with these class weights in the head."""
    head.start_draws(SEED)
    output = functional_call(head.to(x.dtype), CASES[name].given(weight), (x, labels))
    logits: Tensor = output.margin_logits
    return logits


def training_logits(name: str, x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """`logits_in_training` of a new head."""
    head = built(name, classes=len(weight), embedding_dim=x.shape[1])
    return logits_in_training(head, name, x, weight, labels)


def oracle_of(
    name: str, x: Tensor, weight: Tensor, labels: Tensor, *, progress: float = 1.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """The oracle's logits of other embeddings and weights, with the statistics of these."""
    case, batch = CASES[name], Batch(x.tolist(), weight.tolist(), labels.tolist(), progress)
    samples = [case.of_sample(batch, place, **case.settings) for place in range(len(x))]

    def logits(x: Tensor, weight: Tensor) -> Tensor:
        rows = [of(row, weight.tolist()) for of, row in zip(samples, x.tolist(), strict=True)]
        return torch.tensor(rows, dtype=torch.float64)

    return logits


def of_softmax(batch: Batch, place: int) -> OfSample:
    return lambda x, weights: softmax_oracle(x, weights, biases(len(weights)).tolist())


def of_normalised_softmax(batch: Batch, place: int, *, scale: float) -> OfSample:
    return partial(normalised_softmax_oracle, scale=scale)


def of_cosface(batch: Batch, place: int, *, scale: float, margin: float) -> OfSample:
    return partial(cosface_oracle, label=batch.labels[place], scale=scale, margin=batch.progress * margin)


def of_arcface(batch: Batch, place: int, *, scale: float, margin_rad: float) -> OfSample:
    margin_rad *= batch.progress
    return partial(arcface_oracle, label=batch.labels[place], scale=scale, margin_rad=margin_rad)


def of_adaface(batch: Batch, place: int, *, scale: float, margin: float, h: float, step: float) -> OfSample:
    norms = torch.tensor(batch.norms(), dtype=torch.float64)
    mean = (1 - step) * 20 + step * norms.mean().item()
    deviation = (1 - step) * 100 + step * norms.std().item()
    quality = quality_oracle(norms[place].item(), mean=mean, deviation=deviation, h=h)
    margin *= batch.progress
    return partial(adaface_oracle, label=batch.labels[place], quality=quality, scale=scale, margin=margin)


def of_magface(
    batch: Batch,
    place: int,
    *,
    scale: float,
    lower_norm: float,
    upper_norm: float,
    lower_margin_rad: float,
    upper_margin_rad: float,
) -> OfSample:
    return partial(
        magface_oracle,
        label=batch.labels[place],
        scale=scale,
        norms=(lower_norm, upper_norm),
        margins_rad=(batch.progress * lower_margin_rad, batch.progress * upper_margin_rad),
    )


def of_curricularface(
    batch: Batch, place: int, *, stage_before: float, scale: float, margin_rad: float
) -> OfSample:
    own = batch.own_cosines()
    stage = 0.99 * stage_before + 0.01 * sum(own) / len(own)
    margin_rad *= batch.progress
    return partial(
        curricularface_oracle, label=batch.labels[place], stage=stage, scale=scale, margin_rad=margin_rad
    )


def drawn_margin(
    batch: Batch, place: int, *, margin: float, spread: float, largest: float, assign: str
) -> float:
    """ElasticFace, Sec. 3: m + sigma e, in ElasticFace+ the larger the farther from the own class."""
    generator = torch.Generator().manual_seed(SEED)
    normal = torch.randn(len(batch.x), generator=generator, dtype=torch.float64).tolist()
    margins = [min(max(batch.progress * (margin + spread * e), 0.0), largest) for e in normal]
    if assign == "random":
        return margins[place]
    own = batch.own_cosines()
    closer = sum(each > own[place] for each in own)
    return sorted(margins)[closer]


def of_elastic_arcface(
    batch: Batch, place: int, *, scale: float, margin_rad: float, spread: float, assign: str
) -> OfSample:
    margin = drawn_margin(batch, place, margin=margin_rad, spread=spread, largest=math.pi / 2, assign=assign)
    return partial(arcface_oracle, label=batch.labels[place], scale=scale, margin_rad=margin)


def of_elastic_cosface(
    batch: Batch, place: int, *, scale: float, margin: float, spread: float, assign: str
) -> OfSample:
    margin = drawn_margin(batch, place, margin=margin, spread=spread, largest=2.0, assign=assign)
    return partial(cosface_oracle, label=batch.labels[place], scale=scale, margin=margin)


def of_subcenter_arcface(
    batch: Batch, place: int, *, scale: float, margin_rad: float, centres_per_class: int
) -> OfSample:
    margin_rad *= batch.progress
    return lambda x, weights: subcenter_arcface_oracle(
        x,
        centres_of(torch.tensor(weights, dtype=torch.float64))[:, :centres_per_class].tolist(),
        batch.labels[place],
        scale=scale,
        margin_rad=margin_rad,
    )


def of_multiplied_angle(
    batch: Batch, place: int, *, oracle: Callable[..., Row], margin: int, smallest_lambda: float
) -> OfSample:
    share = batch.progress / (1 + smallest_lambda)
    return partial(oracle, label=batch.labels[place], margin=margin, share=share)


def of_wsoftmax(batch: Batch, place: int, *, alpha: float) -> OfSample:
    return partial(wsoftmax_oracle, label=batch.labels[place], alpha=batch.progress * alpha)


def of_lgm(batch: Batch, place: int, *, alpha: float, covariance: str) -> OfSample:
    label, alpha = batch.labels[place], batch.progress * alpha

    def of_sample(x: Row, means: list[Row]) -> Row:
        if covariance == "shared":
            return shared_lgm_oracle(x, means, whitening(len(x)).tolist(), label, alpha=alpha)
        variances = log_variances(covariance, len(means), len(x)).expand(len(means), len(x))
        return lgm_oracle(x, means, variances.tolist(), label, alpha=alpha)

    return of_sample


def biases(classes: int) -> Tensor:
    return torch.linspace(-0.7, 1.1, classes, dtype=torch.float64)


def centres_of(weight: Tensor) -> Tensor:
    """Three centres of every class, made of the weights of all: (classes, 3, dim)."""
    return torch.stack([weight, weight - 2 * weight.roll(2, dims=0), weight + weight.roll(1, dims=0)], dim=1)


def log_variances(covariance: str, classes: int, dim: int) -> Tensor:
    diagonal = torch.linspace(-1.5, 1.0, classes * dim, dtype=torch.float64).reshape(classes, dim)
    return {"identity": torch.zeros(classes, 1), "isotropic": diagonal[:, :1], "diagonal": diagonal}[
        covariance
    ]


def whitening(dim: int) -> Tensor:
    """W of a shared precision W W', upper triangular: its determinant is the product of the diagonal."""
    full = torch.linspace(-0.8, 0.9, dim * dim, dtype=torch.float64).reshape(dim, dim)
    return full.triu(1) + torch.linspace(0.5, 1.6, dim, dtype=torch.float64).diag()


def gaussian(covariance: str, *, alpha: float) -> Case:
    def given(means: Tensor) -> dict[str, Tensor]:
        if covariance == "shared":
            return {"means": means, "whitening": whitening(means.shape[1]).to(means.dtype)}
        variances = log_variances(covariance, *means.shape).to(means.dtype)
        return {"means": means, "log_variances": variances.clone()}

    return Case("lgm", {"alpha": alpha, "covariance": covariance}, of_lgm, given)


def curricular(stage: float) -> Case:
    return Case(
        "curricularface",
        {"scale": 16.0, "margin_rad": 0.4},
        partial(of_curricularface, stage_before=stage),
        lambda weight: {"weight": weight, "stage": weight.new_tensor(stage)},
    )


def elastic(head: str, margin: str, **settings: Any) -> Case:
    of_sample = of_elastic_arcface if head == "elastic_arcface" else of_elastic_cosface
    settings[margin] = settings.pop("mean")
    return Case(head, {"scale": 16.0, **settings}, of_sample)


def multiplied(head: str, oracle: Callable[..., Row], *, margin: int, smallest_lambda: float) -> Case:
    settings = {"margin": margin, "smallest_lambda": smallest_lambda}
    return Case(head, settings, partial(of_multiplied_angle, oracle=oracle))


CASES: dict[str, Case] = {
    "softmax": Case("softmax", {}, of_softmax, lambda w: {"weight": w, "bias": biases(len(w)).to(w.dtype)}),
    "normalised_softmax": Case("normalised_softmax", {"scale": 16.0}, of_normalised_softmax),
    "cosface": Case("cosface", {"scale": 16.0, "margin": 0.3}, of_cosface),
    "arcface": Case("arcface", {"scale": 16.0, "margin_rad": 0.4}, of_arcface),
    "arcface, often beyond the bend": Case("arcface", {"scale": 16.0, "margin_rad": 1.5}, of_arcface),
    "adaface": Case("adaface", {"scale": 16.0, "margin": 0.45, "h": 0.9, "step": 1.0}, of_adaface),
    "adaface, running": Case("adaface", {"scale": 16.0, "margin": 0.3, "h": 2.0, "step": 0.9}, of_adaface),
    "magface": Case(
        "magface",
        {
            "scale": 16.0,
            "lower_norm": 2.0,
            "upper_norm": 9.0,
            "lower_margin_rad": 0.2,
            "upper_margin_rad": 0.7,
        },
        of_magface,
    ),
    "curricularface": curricular(0.0),
    "curricularface, later": curricular(0.6),
    "elastic_arcface": elastic("elastic_arcface", "margin_rad", mean=0.3, spread=0.1, assign="by_angle"),
    "elastic_arcface, wide": elastic("elastic_arcface", "margin_rad", mean=0.8, spread=1.0, assign="random"),
    "elastic_cosface": elastic("elastic_cosface", "margin", mean=0.3, spread=0.1, assign="random"),
    "elastic_cosface, wide": elastic("elastic_cosface", "margin", mean=0.5, spread=2.0, assign="by_angle"),
    "subcenter_arcface": Case(
        "subcenter_arcface",
        {"scale": 16.0, "margin_rad": 0.4, "centres_per_class": 2},
        of_subcenter_arcface,
        lambda weight: {"weight": centres_of(weight)[:, :2]},
    ),
    "subcenter_arcface, three": Case(
        "subcenter_arcface",
        {"scale": 16.0, "margin_rad": 0.5, "centres_per_class": 3},
        of_subcenter_arcface,
        lambda weight: {"weight": centres_of(weight)},
    ),
    "sphereface": multiplied("sphereface", sphereface_oracle, margin=3, smallest_lambda=1.0),
    **{
        f"sphereface {m}": multiplied("sphereface", sphereface_oracle, margin=m, smallest_lambda=0.4)
        for m in (1, 2, 3, 4)
    },
    "lsoftmax": multiplied("lsoftmax", lsoftmax_oracle, margin=2, smallest_lambda=3.0),
    "lsoftmax, psi alone": multiplied("lsoftmax", lsoftmax_oracle, margin=4, smallest_lambda=0.0),
    "wsoftmax": Case("wsoftmax", {"alpha": 0.8}, of_wsoftmax),
    **{f"wsoftmax {alpha}": Case("wsoftmax", {"alpha": alpha}, of_wsoftmax) for alpha in (0.0, 1.0, 1.5)},
    "lgm": gaussian("diagonal", alpha=0.6),
    "lgm, identity": gaussian("identity", alpha=1.0),
    "lgm, isotropic": gaussian("isotropic", alpha=0.3),
    "lgm, shared": gaussian("shared", alpha=0.4),
    "lgm, no margin": gaussian("diagonal", alpha=0.0),
}
# By head; the first case of each has its name.
SETTINGS: dict[str, dict[str, Any]] = {
    name: case.settings for name, case in CASES.items() if name == case.head
}
