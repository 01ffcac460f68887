"""How published face networks name their layers, and which of our backbones each of them is.

Every layout is recognised by its keys and shapes. Sources: InsightFace, recognition/arcface_torch/backbones
(iresnet.py, mobilefacenet.py); AdaFace, net.py; CVLface, models/iresnet; MagFace, models/iresnet.py;
facenet-pytorch, models/inception_resnet_v1.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.backbones.iresnet import BLOCKS
from faceverif.models.sealed_tensors import below

State = Mapping[str, Tensor]
Prefixes = dict[str, str]

_NORM_EPS = 1e-5  # of our batch normalisation, PyTorch's default
_FEATURE_CHANNELS = 512  # of an iResNet's last stage
# Of an iResNet that ends with a normalisation with scale and offset.
_AFFINE_END = (
    "embed.2.bias",
    *(f"embed.3.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
)


@dataclass(frozen=True)
class Pixels:
    """What a network was fed: (x - mean) / std of pixels x in [0, 1].

    Attributes:
        colours: rgb or bgr.
        mean, std: of red, green and blue.
    """

    colours: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __str__(self) -> str:
        def plain(values: tuple[float, ...]) -> str:
            return (
                f"{values[0]:.4g}" if len(set(values)) == 1 else f"({', '.join(f'{v:.4g}' for v in values)})"
            )

        if (self.mean, self.std) == ((0, 0, 0), (1, 1, 1)):
            return f"{self.colours.upper()}, x / 255"
        return f"{self.colours.upper()}, (x - {plain(self.mean)}) / {plain(self.std)} on [0, 1]"


_ONE = torch.ones(())
_HALF = (0.5, 0.5, 0.5)
_SYMMETRIC_RGB, _SYMMETRIC_BGR = Pixels("rgb", _HALF, _HALF), Pixels("bgr", _HALF, _HALF)
_UNIT_BGR = Pixels("bgr", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_FACENET_RGB = Pixels("rgb", _HALF, (128 / 255, 128 / 255, 128 / 255))


@dataclass(frozen=True)
class Layout:
    """A published way to name the layers of a network.

    Attributes:
        markers: keys that such a file has, below a common prefix.
        describe: tensors -> name, backbone config, and where each of its layers goes in ours. It may raise
            LookupError or ValueError where the tensors only look like the layout.
        pixels: what the published training fed it.
        template: of the crops it was trained on.
        spare: layers beside the network that belong to the training.
        norm_eps: epsilon of its batch normalisation.
        doubt: what else the pixels may be, where other publishers name their layers alike.
    """

    markers: tuple[str, ...]
    describe: Callable[[State], tuple[str, dict[str, Any], Prefixes]]
    pixels: Pixels
    template: str = "arcface-112"
    spare: tuple[str, ...] = ()
    norm_eps: float = _NORM_EPS
    doubt: str | None = None


@dataclass(frozen=True)
class Recognised:
    """A file's network as one of ours.

    Attributes:
        name: of the published network.
        layout: how its layers are named there.
        config: of our backbone, without colours and normalisation.
        state: tensors under our names, the last normalisation's scale and offset folded into its statistics.
        unknown: keys of the network that have no place in it.
        left_out: keys beside the network, such as the head.
        places: where each of the file's layers goes in ours.
    """

    name: str
    layout: Layout
    config: dict[str, Any]
    state: dict[str, Tensor]
    unknown: tuple[str, ...]
    left_out: tuple[str, ...]
    places: Prefixes

    def in_file(self, key: str) -> str:
        """What the publishers call a tensor of ours."""
        layer, _, value = key.rpartition(".")
        return next((f"{theirs}.{value}" for theirs, ours in self.places.items() if ours == layer), key)


def recognise(tensors: State) -> Recognised | None:
    """The published network that these tensors are, or None.

    Args:
        tensors: under the names that their file gives them.

    Raises:
        InputError: they are two networks side by side.
    """
    for layout in LAYOUTS:
        prefix = _prefix_of(layout.markers, tensors)
        if prefix is None:
            continue
        if layout is _INSIGHTFACE and "features." in prefix:
            layout = _MAGFACE  # MagFace's wrapper calls the same network "features"
        if layout is _ADAFACE and prefix.endswith("net."):
            layout = _CVLFACE  # CVLface's wrapper calls AdaFace's network "net", and feeds it RGB
        if layout is _ADAFACE and not prefix.endswith("model."):
            layout = _BARE_IR
        own = below(prefix, tensors)
        if layout is _INSIGHTFACE and (own.get("features.weight", _ONE) != 1).any():
            layout = _LEARNT_SCALE
        try:
            name, config, places = layout.describe(own)
        except (LookupError, ValueError):  # a key, or an axis, that is not there
            continue
        state, unknown = _renamed(own, places, spare=layout.spare)
        if config["name"] == "iresnet":
            state = _with_our_norms(state, eps=layout.norm_eps)
        left_out = tuple(key for key in tensors if not key.startswith(prefix))
        return Recognised(name, layout, config, state, unknown, left_out, places)
    return None


def may_be_network(tensors: State) -> bool:
    """Whether tensors have the names of a published network; raises as `recognise` does."""
    return any(_prefix_of(layout.markers, tensors) is not None for layout in LAYOUTS)


def _prefix_of(markers: tuple[str, ...], tensors: State) -> str | None:
    """What stands before every marker, such as `module.`; None where they are not all there.

    Raises:
        InputError: two networks stand side by side, such as a teacher and a student.
    """
    first, *others = markers
    prefixes = [key.removesuffix(first) for key in tensors if key == first or key.endswith("." + first)]
    fitting = [prefix for prefix in prefixes if all(prefix + other in tensors for other in others)]
    outermost = [prefix for prefix in fitting if len(prefix) == min(map(len, fitting))]
    if len(outermost) > 1:
        raise InputError(
            "FILE",
            "must hold one network",
            got=f"{len(outermost)}, below {' and '.join(outermost)}",
            fix="Save the tensors of the one that you want, with torch.save, and import that file.",
        )
    return outermost[0] if outermost else None


def _renamed(
    own: State, places: Prefixes, *, spare: tuple[str, ...]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    state, unknown = {}, []
    for key, tensor in own.items():
        layer, _, value = key.rpartition(".")
        if value == "num_batches_tracked" or layer in spare:
            continue
        if layer in places:
            state[f"{places[layer]}.{value}"] = tensor.float()
        else:
            unknown.append(key)
    return state, tuple(unknown)


# --- iResNets: InsightFace, MagFace


def _insightface(own: State) -> tuple[str, dict[str, Any], Prefixes]:
    counts = tuple(_blocks(own, f"layer{stage}.") for stage in (1, 2, 3, 4))
    places = {"conv1": "trunk.0", "bn1": "trunk.1", "prelu": "trunk.2"}
    blocks = [f"layer{stage}.{block}" for stage, count in enumerate(counts, 1) for block in range(count)]
    layers = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")
    for place, theirs in enumerate(blocks, start=3):
        places |= {f"{theirs}.{layer}": f"trunk.{place}.body.{at}" for at, layer in enumerate(layers)}
        places |= {f"{theirs}.downsample.{at}": f"trunk.{place}.shortcut.{at}" for at in (0, 1)}
    places |= {"bn2": f"trunk.{3 + len(blocks)}", "fc": "embed.2", "features": "embed.3"}
    depth = _depth(counts)
    return f"iResNet-{depth}", _iresnet_config(depth, own["fc.weight"], shortcut="convolution"), places


# --- IR nets: AdaFace, CVLface


def _adaface(own: State) -> tuple[str, dict[str, Any], Prefixes]:
    count = _blocks(own, "body.")
    places = {f"input_layer.{at}": f"trunk.{at}" for at in range(3)}
    for block in range(count):
        theirs, ours = f"body.{block}", f"trunk.{3 + block}"
        places |= {f"{theirs}.res_layer.{at}": f"{ours}.body.{at}" for at in range(6)}
        places |= {f"{theirs}.shortcut_layer.{at}": f"{ours}.shortcut.{at}" for at in (0, 1)}
    places |= {
        "output_layer.0": f"trunk.{3 + count}",
        "output_layer.3": "embed.2",
        "output_layer.4": "embed.3",
    }
    depth = {sum(counts): depth for depth, counts in BLOCKS.items()}[count]
    name = f"IR-{101 if depth == 100 else depth}"
    return name, _iresnet_config(depth, own["output_layer.3.weight"], shortcut="subsampling"), places


def _iresnet_config(depth: int, fully_connected: Tensor, *, shortcut: str) -> dict[str, Any]:
    dim, features = fully_connected.shape
    side = math.isqrt(features // _FEATURE_CHANNELS)
    if side * side * _FEATURE_CHANNELS != features:
        raise ValueError("the fully connected layer belongs to no square input")
    return {
        "name": "iresnet",
        "depth": depth,
        "shortcut": shortcut,
        "embedding_dim": dim,
        "input_px": 16 * side,
    }


def _depth(counts: tuple[int, ...]) -> int:
    for depth, known in BLOCKS.items():
        if known == counts:
            return depth
    raise ValueError("no iResNet has these stages")


def _blocks(own: State, stage: str) -> int:
    numbers = {int(key.removeprefix(stage).partition(".")[0]) for key in own if key.startswith(stage)}
    if numbers != set(range(len(numbers))):
        raise ValueError("blocks are missing")
    return len(numbers)


def _with_our_norms(state: dict[str, Tensor], *, eps: float) -> dict[str, Tensor]:
    """The same function with our epsilon, and with a last normalisation that has neither scale nor offset."""
    for key in [key for key in state if key.endswith("running_var")]:
        state[key] = state[key] + (eps - _NORM_EPS)
    length = state["embed.2.weight"].shape[:1]
    if any(key not in state or state[key].shape != length for key in _AFFINE_END):
        # No scale, or no whole network, which is reported where it fills ours.
        return state
    scale, offset = state.pop("embed.3.weight"), state.pop("embed.3.bias")
    spread = (state["embed.3.running_var"] + _NORM_EPS).sqrt()
    if (scale == 1).all():
        state["embed.3.running_mean"] = state["embed.3.running_mean"] - offset * spread
        return state
    # (W x + b - mean) scale / spread + offset as one layer; the normalisation after it is the identity.
    factor = scale / spread
    state["embed.2.weight"] = state["embed.2.weight"] * factor[:, None]
    state["embed.2.bias"] = (state["embed.2.bias"] - state["embed.3.running_mean"]) * factor + offset
    state["embed.3.running_mean"] = torch.zeros_like(scale)
    state["embed.3.running_var"] = torch.full_like(scale, 1 - _NORM_EPS)
    return state


# --- MobileFaceNet: InsightFace

_CONVOLUTION = {"layers.0": "0", "layers.1": "1"}  # of a ConvBlock or LinearBlock; layers.2 is the PReLU


def _insightface_mobile(own: State) -> tuple[str, dict[str, Any], Prefixes]:
    places = _conv_block("layers.0", "trunk.0", "trunk.1") | _conv_block("layers.1", "trunk.2", "trunk.3")
    place = 4
    for stage in range(2, 8):
        inner = f"layers.{stage}.layers."
        repeats = [f"{inner}{block}." for block in range(_blocks(own, inner))]
        for theirs in repeats if stage % 2 else [f"layers.{stage}."]:
            places |= _bottleneck(theirs + "layers.", f"trunk.{place}.body.")
            place += 1
    places |= _conv_block("conv_sep", f"trunk.{place}", f"trunk.{place + 1}")
    places |= {f"features.layers.0.{theirs}": f"embed.{ours}" for theirs, ours in _CONVOLUTION.items()}
    places |= {"features.layers.2": "embed.4", "features.layers.3": "embed.5"}
    pooling = own["features.layers.0.layers.0.weight"]
    config = {
        "name": "mobilefacenet",
        "channel_scale": own["layers.0.layers.0.weight"].shape[0] // 64,
        "expand": "input",
        "embedding_dim": own["features.layers.2.weight"].shape[0],
        "input_px": 16 * pooling.shape[-1],
    }
    return "MobileFaceNet", config, places


def _conv_block(theirs: str, convolution: str, prelu: str) -> Prefixes:
    return {f"{theirs}.{layer}": f"{convolution}.{at}" for layer, at in _CONVOLUTION.items()} | {
        f"{theirs}.layers.2": prelu
    }


def _bottleneck(theirs: str, ours: str) -> Prefixes:
    last = {f"{theirs}2.{layer}": f"{ours}4.{at}" for layer, at in _CONVOLUTION.items()}
    return (
        _conv_block(f"{theirs}0", f"{ours}0", f"{ours}1")
        | _conv_block(f"{theirs}1", f"{ours}2", f"{ours}3")
        | last
    )


# --- Inception-ResNet: facenet-pytorch


def _facenet(own: State) -> tuple[str, dict[str, Any], Prefixes]:
    layers = {key.rpartition(".")[0] for key in own}
    places = {
        layer: f"{'embed' if layer.startswith('last_') else 'trunk'}.{layer}"
        for layer in layers
        if layer != "logits"
    }
    config = {
        "name": "inception_resnet_v1",
        "embedding_dim": own["last_linear.weight"].shape[0],
        "input_px": 160,
    }
    return "InceptionResnetV1", config, places


_INSIGHTFACE = Layout(
    ("layer1.0.bn1.weight", "conv1.weight", "fc.weight", "features.running_mean"),
    _insightface,
    _SYMMETRIC_RGB,
)
_MAGFACE = Layout(_INSIGHTFACE.markers, _insightface, _UNIT_BGR, norm_eps=2e-5)
# InsightFace leaves the last normalisation's scale at 1; MagFace learns it.
_LEARNT_SCALE = replace(
    _INSIGHTFACE,
    doubt="pixels: as InsightFace feeds them; MagFace names its layers alike, and feeds BGR, x / 255: for "
    "MagFace give --preprocess bgr-255",
)
_ADAFACE = Layout(
    ("body.0.res_layer.0.weight", "input_layer.0.weight", "output_layer.3.weight"), _adaface, _SYMMETRIC_BGR
)
# AdaFace's checkpoints hold it as "model". Without that it may also come from those who use the same code.
_BARE_IR = replace(
    _ADAFACE,
    doubt="colours: BGR, as AdaFace has them; TFace and face.evoLVe name their layers alike and take RGB: "
    "for those give --colours rgb",
)
# Its configurations (models/iresnet/configs) say color_space: RGB; a model.yaml with BGR swaps the channels.
_CVLFACE = Layout(_ADAFACE.markers, _adaface, _SYMMETRIC_RGB)
LAYOUTS: tuple[Layout, ...] = (
    _INSIGHTFACE,
    _ADAFACE,
    Layout(
        ("conv_sep.layers.0.weight", "layers.0.layers.0.weight", "features.layers.2.weight"),
        _insightface_mobile,
        _SYMMETRIC_RGB,
    ),
    Layout(
        ("last_linear.weight", "conv2d_1a.conv.weight", "repeat_1.0.conv2d.weight"),
        _facenet,
        _FACENET_RGB,
        template="facenet-160",
        spare=("logits",),
    ),
)
