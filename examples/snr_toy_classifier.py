"""The toy classifier of Sec. 3.1 of Ghobadzadeh & Lashkari, "Signal to Noise Ratio Loss Function".

    python examples/snr_toy_classifier.py           # --tiny: fewer draws, to see that it runs

Ten binary variables x_i are 1 with probability theta_i. In the first class theta_i is below p_i, in the
second it is at least p_i. Both classifiers are linear. The paper's classifier weights x_i with arccos(p_i);
the likelihood ratio with maximum likelihood estimates weights it with -log(p_i).

The paper gives two accuracies, 0.87 and 0.85, but neither the distribution of theta nor the thresholds. We
read it as follows. One uniform draw u per vector gives all its theta_i: u p_i in the first class, p_i + u
(1 - p_i) in the second. The threshold is half-way between the mean scores of the classes, found on separate
draws. For comparison we also take one draw per theta_i, and the most accurate threshold.

The paper's weights follow from arcsin(theta), which does not solve its Eq. 12. The solution is
2 arcsin(sqrt(theta)); squared as Eq. 14 asks, it gives the weights 4 arccos(sqrt(p_i))^2 of the last column
(`examples/parametric_classifier.py` has the classifier for any density).

With the half-way threshold the paper's classifier is one to two hundredths better, as in the paper. With
the most accurate threshold there is no difference: both classifiers then choose the second class if one
rare variable (p = 0.001) or two others are 1.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RARE = 0.001
P = np.array([RARE] * 4 + [0.1] * 6)
WEIGHTS = {
    "proposed": np.arccos(P),
    "likelihood ratio": -np.log(P),
    "Eq. 12 solved": 4 * np.arccos(np.sqrt(P)) ** 2,
}
PUBLISHED = {"proposed": 0.87, "likelihood ratio": 0.85}

Vectors = NDArray[np.bool_]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """Equally many vectors of both classes.

    Attributes:
        first, second: (vectors, variables) each.
    """

    first: Vectors
    second: Vectors


def draw(vectors: int, *, levels_per_vector: int, generator: np.random.Generator) -> Draws:
    """Vectors of both classes.

    Args:
        vectors: number per class.
        levels_per_vector: 1: one u for all theta_i of a vector; 10: one u for each.
        generator: source of the random numbers.
    """
    below, above = generator.random((2, vectors, levels_per_vector))
    theta = below * P, P + above * (1 - P)
    first, second = (generator.random((vectors, len(P))) < each for each in theta)
    return Draws(first, second)


def halfway(first: Scores, second: Scores) -> float:
    """The threshold in the middle between the mean scores of the classes."""
    return float((first.mean() + second.mean()) / 2)


def most_accurate(first: Scores, second: Scores) -> float:
    """The threshold that classifies most of these scores correctly."""
    # Sums of equal weights differ in their last bits; rounding makes them one candidate.
    places = np.unique(np.round(np.concatenate((first, second)), 9)) + 1e-6
    return float(max(places, key=lambda place: accuracy(first, second, threshold=place)))


def accuracy(first: Scores, second: Scores, *, threshold: float) -> float:
    """Share of vectors classified correctly; scores above the threshold mean the second class."""
    return float(((first <= threshold).mean() + (second > threshold).mean()) / 2)


def accuracies(*, vectors: int, levels_per_vector: int, best: bool, seed: int = 0) -> dict[str, float]:
    """Accuracy of both classifiers.

    Args:
        vectors: number per class, drawn once for the thresholds and once for the accuracies.
        levels_per_vector: see `draw`.
        best: use the most accurate threshold instead of the half-way one.
        seed: seed of the random numbers.
    """
    generator = np.random.default_rng(seed)
    chosen_on, tested_on = (
        draw(vectors, levels_per_vector=levels_per_vector, generator=generator) for _ in range(2)
    )
    choose = most_accurate if best else halfway
    return {
        name: accuracy(
            tested_on.first @ weights,
            tested_on.second @ weights,
            threshold=choose(chosen_on.first @ weights, chosen_on.second @ weights),
        )
        for name, weights in WEIGHTS.items()
    }


def main() -> None:
    """Print the accuracies under every reading beside the paper's."""
    vectors = 1_000 if "--tiny" in sys.argv else 200_000
    print(f"{'':38}" + "".join(f"{name:>18}" for name in WEIGHTS))
    print(f"{'paper':38}" + "".join(f"{accuracy:18.3f}" for accuracy in PUBLISHED.values()))
    for levels, reading in ((1, "one u per vector"), (len(P), "one u per variable")):
        for best, threshold in ((False, "half-way"), (True, "best")):
            found = accuracies(vectors=vectors, levels_per_vector=levels, best=best)
            name = f"{reading}, {threshold} threshold"
            print(f"{name:38}" + "".join(f"{found[weights]:18.3f}" for weights in WEIGHTS))


if __name__ == "__main__":
    main()
