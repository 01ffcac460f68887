"""The second minimum of W-Softmax (Li & Wang, 2020, Eq. 12), reached by refining a classifier that works.

    python examples/wsoftmax_minimum.py           # --tiny: a few steps, to see that it runs

The pull towards the true class raises the other classes' logits where products are positive and lowers them
where products are negative. A long embedding whose products with all class weights are negative therefore
has a small loss too. A small network is trained on ten clusters with weight-normalised softmax until about
one point in a hundred is wrong and none has only negative products. Then it is refined with the same loss,
and with W-Softmax.

On a raw embedding, most points end with only negative products, at a fraction of the loss and with as many
errors. With PReLU and batch normalisation without offset behind the embedding layer none does, and the loss
stays high: the margin acts.
"""

from __future__ import annotations

import copy
import sys

import torch
from torch import Tensor, nn

from faceverif.backbones.last_layers import last_layers as behind
from faceverif.config.backbones import LastLayers
from faceverif.criteria.cross_entropy import cross_entropy
from faceverif.heads.wsoftmax import WSoftmaxHead
from faceverif.report.numbers import percent

CLASSES, INPUTS = 10, 16
EMBEDDING = CLASSES - 1  # the paper's minimum; larger values give the same result
STEPS, BATCH, POINTS = 1500, 128, 5000
Figures = tuple[float, float, float]


def draw(means: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Points around the means of random classes, and the classes."""
    labels = torch.randint(CLASSES, (points,))
    return means[labels] + 0.8 * torch.randn(points, INPUTS), labels


def train(network: nn.Module, head: WSoftmaxHead, points: Tensor, labels: Tensor, *, steps: int) -> float:
    """SGD with the paper's momentum, rate and decay; returns the loss of the last tenth."""
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
    losses = []
    network.train()
    for _ in range(steps):
        batch = torch.randint(len(points), (BATCH,))
        output = head(network(points[batch]), labels[batch])
        loss = cross_entropy(output.margin_logits, labels[batch]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


@torch.no_grad()
def judge(network: nn.Module, head: WSoftmaxHead, points: Tensor, labels: Tensor) -> tuple[float, float]:
    """The share of errors, and the share of points whose products with all class weights are negative."""
    network.eval()
    products = head.logits(network(points))
    wrong = products.argmax(dim=1) != labels
    return wrong.float().mean().item(), (products < 0).all(dim=1).float().mean().item()


def refinements(last_layers: LastLayers, seed: int, *, steps: int = STEPS) -> dict[str, Figures]:
    """Training loss, errors and share of only negative products, for the start and each refinement."""
    torch.manual_seed(seed)
    means = torch.randn(CLASSES, INPUTS)
    seen, unseen = draw(means, POINTS), draw(means, POINTS)
    network = nn.Sequential(nn.Linear(INPUTS, 64), nn.PReLU(), nn.Linear(64, EMBEDDING))
    network.extend(behind(last_layers, EMBEDDING))
    start = WSoftmaxHead(classes=CLASSES, embedding_dim=EMBEDDING, alpha=0.0)
    found = {"start": (train(network, start, *seen, steps=steps), *judge(network, start, *unseen))}
    for name, alpha in (("softmax again", 0.0), ("W-Softmax", 1.0)):
        refined = copy.deepcopy(network)
        head = WSoftmaxHead(classes=CLASSES, embedding_dim=EMBEDDING, alpha=alpha)
        head.load_state_dict(start.state_dict())
        found[name] = (train(refined, head, *seen, steps=steps), *judge(refined, head, *unseen))
    return found


def main() -> None:
    """Print the three figures of each refinement for three seeds."""
    steps = 20 if "--tiny" in sys.argv else STEPS
    print(f"{'':12s}{'':14s}{'seed':>6s}{'loss':>9s}{'errors':>9s}{'only negative products':>25s}")
    for last_layers in ("none", "prelu_norm"):
        for seed in range(3):
            for name, (loss, errors, negative) in refinements(last_layers, seed, steps=steps).items():
                rates = f"{percent(errors):>7} %{percent(negative, 1):>23} %"
                print(f"{last_layers:12s}{name:14s}{seed:6d}{loss:9.4f}{rates}")


if __name__ == "__main__":
    main()
