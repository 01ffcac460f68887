"""The model that is attacked: a network and its objective, for embeddings and margin-free logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.heads import Head
from faceverif.images.labelled import as_pixels
from faceverif.objective import Objective
from robustness.queries import QueryCount


class AttackedModel(nn.Module):
    """Pixels in [0, 1] -> embeddings, margin-free logits, and the loss of the training.

    Args:
        network: (batch, C, H, W) in [0, 1] -> (batch, dim) raw embeddings; normalises the pixels itself.
        objective: head, criterion and penalties, with what they have learnt.
    """

    def __init__(self, network: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective
        # The user should learn of parts in training mode; they are not switched silently.
        self.training = network.training or objective.training

    @property
    def head(self) -> Head:
        """What compares embeddings with classes."""
        return self.objective.head

    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim)."""
        return self.network(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Margin-free logits, (batch, classes)."""
        return self.head.logits(self.embed(pixels))

    def training_loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Criterion with margin and weighted penalties, summed over the batch."""
        return self.objective(embeddings, labels).loss * len(labels)


class GradientCount:
    """Marks images whose gradient was zero everywhere when an attack first asked for one.

    Args:
        batch: how many images are attacked.

    Attributes:
        zero: (batch,) bool, on the CPU; False where no gradient was asked for. None until there was one.
    """

    def __init__(self, batch: int) -> None:
        self.zero: Tensor | None = None
        self._asked = torch.zeros(batch, dtype=torch.bool)
        self._which = torch.arange(batch)

    @contextmanager
    def of(self, some: Tensor) -> Iterator[None]:
        """Inside, what the model sees are some of the images, named by their index."""
        all_of_them, self._which = self._which, self._which[some.cpu()]
        try:
            yield
        finally:
            self._which = all_of_them

    def watched(self, pixels: Tensor) -> Tensor:
        """The same pixels; the first gradient that flows back to each image is marked, and every one checked.

        Raises:
            InputError: in the backward pass, where a gradient is not finite.
        """
        if not pixels.requires_grad:
            return pixels
        # A view of its own: other gradients of the pixels do not count.
        view = pixels.view_as(pixels)
        view.register_hook(self._look)
        return view

    def _look(self, gradient: Tensor) -> None:
        _refuse_no_number(gradient)
        first = ~self._asked[self._which]
        if self.zero is None:
            self.zero = torch.zeros_like(self._asked)
        if first.any():
            nothing = (gradient == 0).flatten(1).all(dim=1).cpu()
            self.zero[self._which[first]] = nothing[first]
            self._asked[self._which] = True


def _refuse_no_number(gradient: Tensor) -> None:
    """Stop on NaN: its sign is 0, so an attack in linf would stand still there and the model look robust."""
    finite = gradient.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        raise InputError(
            "model",
            "must have finite gradients, which attacks follow",
            got=f"NaN or infinity for {int((~finite).sum()):,} of {len(finite):,} images",
            fix="Check its weights, and look for a root, a logarithm or a division that meets 0.",
        )


def joined_marks(marks: Sequence[Tensor | None], portions: Sequence[Tensor]) -> Tensor | None:
    """Marks of all images, (N,) bool; False in a portion that has none, and None where none has any.

    Args:
        marks: of each portion, (n,) bool; None for a portion that an attack found done before it began.
        portions: (n, ...), what each is of.
    """
    if all(mark is None for mark in marks):
        return None
    there = [
        torch.zeros(len(portion), dtype=torch.bool) if mark is None else mark
        for mark, portion in zip(marks, portions, strict=True)
    ]
    return torch.cat(there)


class Watched(AttackedModel):
    """The same model; it counts zero gradients and remembers the embeddings of the clean images.

    Args:
        model: what is attacked.
        clean: (batch, C, H, W) the images before the attack.

    Attributes:
        gradients: the count of those that are zero.
        queries: where a black-box attack counts what it asks.
    """

    def __init__(self, model: AttackedModel, clean: Tensor) -> None:
        super().__init__(model.network, model.objective)
        self.gradients, self.queries = GradientCount(len(clean)), QueryCount()
        self._clean = clean
        self._remembered: Tensor | None = None

    def embed(self, pixels: Tensor) -> Tensor:
        """Raw embeddings, (batch, dim)."""
        embeddings = self.network(self.gradients.watched(pixels))
        if self._remembered is None and torch.equal(pixels, self._clean):
            self._remembered = embeddings.detach()
        return embeddings

    @torch.no_grad()
    def clean_embeddings(self) -> Tensor:
        """(batch, dim) of the clean images, without a forward pass if the attack has asked for them."""
        return self.embed(self._clean) if self._remembered is None else self._remembered


def answers_differ(first: Tensor, second: Tensor) -> bool:
    """Whether two answers to the same question differ by more than rounding."""
    return not torch.allclose(first, second, rtol=1e-4, atol=1e-5)


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters; the CPU if it has none."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def embedded(network: nn.Module, images: Tensor, *, portion: int = 500) -> Iterator[Tensor]:
    """Raw embeddings of any number of images, portion by portion, without gradients, on the network's device.

    Args:
        network: pixels in [0, 1] -> (batch, dim).
        images: (N, C, H, W), uint8, or float32 in [0, 1].
        portion: images at once; memory does not depend on N.

    Raises:
        InputError: a network in training mode, or pixels out of range.
    """
    refuse_unfit_model(network)
    if images.dtype != torch.uint8:
        refuse_bad_pixels(images)
    device = device_of(network)
    for some in images.split(portion):
        with torch.no_grad():
            yield network(in_box(some.to(device)))


def in_box(images: Tensor) -> Tensor:
    """Images of either type as float32 in [0, 1]."""
    return as_pixels(images) if images.dtype == torch.uint8 else images


def embeddings_of(network: nn.Module, images: Tensor) -> Tensor:
    """(N, dim) on the CPU; see `embedded`."""
    return torch.cat([some.cpu() for some in embedded(network, images)])


def refuse_unfit_model(model: nn.Module) -> None:
    """Stop on a model whose attack would look weaker than it is.

    Raises:
        InputError: a part is in training mode, a parameter is not float32, or autocast is on.
    """
    training = next((name or "the model" for name, part in model.named_modules() if part.training), None)
    if training is not None:
        raise InputError(
            "model",
            "must be in evaluation mode: dropout and batch statistics hide it from the attack",
            got=f"{training} in training mode",
            fix="Call model.eval().",
        )
    other = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()} - {torch.float32}
    if other:
        raise InputError(
            "model",
            "must be in float32: small gradients vanish in less",
            got=", ".join(map(str, other)),
            fix="Call model.float().",
        )
    if torch.is_autocast_enabled(device_of(model).type):
        raise InputError(
            "model",
            "must be attacked without autocast: small gradients vanish in bfloat16",
            got="autocast",
            fix="Leave the autocast block before attacking.",
        )


def refuse_bad_pixels(images: Tensor, *, field: str = "images") -> None:
    """Stop on images that are not float32 in [0, 1].

    Raises:
        InputError: another type, shape or range, or no image at all.
    """
    if images.ndim != 4 or len(images) == 0:
        raise InputError(field, "must be (N, C, H, W), N >= 1", got=tuple(images.shape), fix="Stack them.")
    if images.dtype != torch.float32:
        raise InputError(
            field, "must be float32 in [0, 1]", got=images.dtype, fix="8-bit images: images.float() / 255."
        )
    low, high = (float(bound) for bound in torch.aminmax(images))
    if not (low >= 0 and high <= 1):
        raise InputError(
            field,
            "pixels must lie in [0, 1]",
            got=f"{low:.4g} to {high:.4g}",
            fix="Undo the normalisation: it belongs in the model.",
        )


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradient reaches the model's parameters in this block; afterwards they require gradients as before.

    Raises:
        RuntimeError: a gradient reached them.
    """
    needing = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter in needing:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in needing:
            parameter.requires_grad_(True)
    if any(parameter.grad is not gradient for parameter, gradient in before):
        raise RuntimeError("an attack left gradients in the model's parameters")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators start from a seed in this block and are restored afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
