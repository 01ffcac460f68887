"""MTCNN's three networks with the weights that facenet-pytorch ships, arranged for speed on a processor.

They compute what facenet-pytorch's do. Only its files are read: importing it brings torchvision, which takes
seconds. The networks take pixels in [0, 255], because the first convolution includes the normalisation; they
keep channels last; and they pool by maxima of slices, which on a processor is two to four times as fast as
`max_pool2d`. Some layers have more channels than in the file, without effect, because a multiple of eight or
sixteen is computed faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import distribution

import torch
from torch import Tensor, nn

# The weights expect (pixel - 127.5) / 128.
_PIXEL_MEAN, _PIXEL_SCALE = 127.5, 128.0


class ProposalNetwork(nn.Module):
    """Slides over pictures: is the 12 x 12 cell a face, and where exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3)  # 10 in the file
        self.prelu1 = nn.PReLU(16)
        self.conv2 = nn.Conv2d(16, 16, kernel_size=3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, kernel_size=3)
        self.prelu3 = nn.PReLU(32)
        # Two 1 x 1 convolutions in the file, which are matrix products: no face, face; four shifts.
        self.dense4 = nn.Linear(32, 8)
        weights = _read_weights("pnet")
        for kind in ("weight", "bias"):
            two = [weights.pop(f"conv4_{part}.{kind}").squeeze() for part in (1, 2)]
            weights[f"dense4.{kind}"] = torch.cat(two)
        _load_weights(self, weights, first=self.conv1)

    def forward(self, pixels: Tensor, *, filler: Sequence[tuple[slice, slice]] = ()) -> tuple[Tensor, Tensor]:
        """Judge every cell; cells lie 2 pixels apart.

        Args:
            pixels: (batch, 3, height, width) in [0, 255].
            filler: (rows, columns) of pixels that pad a picture to an even extent: the pool after the first
                convolution ignores them.

        Returns:
            Probability of a face, (batch, rows, columns), and box shifts, (batch, rows, columns, 4).
        """
        x = self.prelu1(self.conv1(pixels))
        for rows, columns in filler:
            x[:, :, _seen_last(rows), _seen_last(columns)] = -torch.inf
        x = _pooled(x, 2)
        x = self.prelu2(self.conv2(x))
        x = self.prelu3(self.conv3(x)).permute(0, 2, 3, 1)
        none, face, shifts, _ = self.dense4(x).split((1, 1, 4, 2), dim=3)
        # The second of a softmax over two, which `softmax` computes many times as slowly.
        return (face - none).sigmoid().squeeze(3), shifts


class RefinementNetwork(nn.Module):
    """Judges crops of 24 x 24 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3)  # 28 in the file
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 48, kernel_size=3)
        self.prelu2 = nn.PReLU(48)
        self.conv3 = nn.Conv2d(48, 64, kernel_size=2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)
        _load_weights(self, _read_weights("rnet"), first=self.conv1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of a face, (batch,), and box shifts, (batch, 4)."""
        x = _pooled(self.prelu1(self.conv1(pixels)), 3)
        x = _pooled(self.prelu2(self.conv2(x)), 3)
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flattened(x)))
        return self.dense5_1(x).softmax(dim=1)[:, 1], self.dense5_2(x)


class OutputNetwork(nn.Module):
    """Judges crops of 48 x 48 pixels and finds the landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3)
        self.prelu1 = nn.PReLU(32)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.prelu2 = nn.PReLU(64)
        self.conv3 = nn.Conv2d(64, 64, kernel_size=3)
        self.prelu3 = nn.PReLU(64)
        self.conv4 = nn.Conv2d(64, 128, kernel_size=2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)
        _load_weights(self, _read_weights("onet"), first=self.conv1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probability of a face, (batch,), box shifts, (batch, 4), and landmarks.

        Landmarks are (batch, 5, 2): (x, y) as fractions of the box.
        """
        x = _pooled(self.prelu1(self.conv1(pixels)), 3)
        x = _pooled(self.prelu2(self.conv2(x)), 3)
        x = _pooled(self.prelu3(self.conv3(x)), 2)
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_flattened(x)))
        # The weights put five x before five y.
        landmarks = self.dense6_3(x).unflatten(1, (2, 5)).transpose(1, 2)
        return self.dense6_1(x).softmax(dim=1)[:, 1], self.dense6_2(x), landmarks


def _seen_last(extent: slice) -> slice:
    # A 3 x 3 window has the index of its first row and column; it sees the filler if it ends on it.
    return slice(max(extent.start - 2, 0), extent.stop - 2)


def _read_weights(name: str) -> dict[str, Tensor]:
    """The weights that facenet-pytorch ships under a name."""
    file = distribution("facenet-pytorch").locate_file(f"facenet_pytorch/data/{name}.pt")
    weights: dict[str, Tensor] = torch.load(str(file), weights_only=True)
    return weights


@torch.no_grad()
def _load_weights(network: nn.Module, weights: dict[str, Tensor], *, first: nn.Conv2d) -> None:
    """Take weights for pixels in [0, 255]; what a layer has beyond them is zero and changes nothing."""
    for name, parameter in network.named_parameters():
        parameter.zero_()[tuple(map(slice, weights[name].shape))] = weights[name]
    weight, bias = first.parameters()
    weight.div_(_PIXEL_SCALE)
    bias.sub_(_PIXEL_MEAN * weight.sum(dim=(1, 2, 3)))
    network.requires_grad_(False).eval().to(memory_format=torch.channels_last)


def _pooled(x: Tensor, window: int) -> Tensor:
    """Max pooling with stride 2; what is left over at the end gets a smaller window (`ceil_mode`)."""
    for dim in (2, 3):
        x = _pooled_along(x, dim, window)
    return x


def _pooled_along(x: Tensor, dim: int, window: int) -> Tensor:
    size = x.shape[dim]
    bins = -(-(size - window) // 2) + 1
    parts = [_every_other(x, dim, offset, bins) for offset in range(window)]
    pooled = parts[0]
    for part in parts[1:]:
        if part.shape[dim] == bins:
            pooled = torch.maximum(pooled, part)
        else:  # the last window is cut off
            inner = pooled.narrow(dim, 0, part.shape[dim])
            torch.maximum(inner, part, out=inner)
    return pooled


def _every_other(x: Tensor, dim: int, offset: int, bins: int) -> Tensor:
    part = x[:, :, offset::2] if dim == 2 else x[:, :, :, offset::2]
    return part.narrow(dim, 0, min(bins, part.shape[dim]))


def _flattened(x: Tensor) -> Tensor:
    # The weights come from a framework that counts columns before rows and channels last.
    return x.permute(0, 3, 2, 1).flatten(1)
