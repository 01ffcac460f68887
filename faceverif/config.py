"""One YAML a run: the pydantic models behind it, and how it is read.

The models are the reference of every key. Keys without a default must be written; a key that does not exist
is an error, and so is a value of the wrong type.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from data_prep.errors import InputError
from faceverif.config_base import BROKEN_RULE, Count, NotNegative, Positive, Section, Share
from faceverif.objective_config import ObjectiveConfig


class DataConfig(Section):
    """What is trained on.

    Attributes:
        path: a folder made by `faceverif align`; or aligned crops in InsightFace's train.rec or in WebDataset
            shards, the file or its folder.
        min_photos_per_identity: people with fewer aligned photos are left out.
        exclude: a list of photos and identities to leave out, as `faceverif data audit` writes it.
        held_out_per_identity: so many photos are kept from the training, to attack or to calibrate on people
            whom the model knows, of every person who has that many beyond min_photos_per_identity; the seed
            chooses them. null: none.
    """

    path: Path
    min_photos_per_identity: Count = 1
    exclude: Path | None = None
    held_out_per_identity: Count | None = None


class _BackboneSection(Section):
    """Attributes: embedding_dim; input_px (side of the input); dropout before the embedding layer."""

    embedding_dim: Count = 512
    input_px: Annotated[int, Field(ge=32, le=512, multiple_of=8)] = 112
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class MobileFaceNetConfig(_BackboneSection):
    """MobileFaceNet."""

    name: Literal["mobilefacenet"]


class IResNetConfig(_BackboneSection):
    """The residual net of ArcFace.

    Attributes:
        depth: 18, 34, 50 or 100.
        width: channels of the stem, doubled from stage to stage; the paper's is 64.
        stem_stride: the paper's is 1; 2 quarters the work, for small machines.
    """

    name: Literal["iresnet"]
    depth: Literal[18, 34, 50, 100]
    width: Count = 64
    stem_stride: Literal[1, 2] = 1


class SphereFaceNetConfig(_BackboneSection):
    """The residual net of SphereFace; no batch normalisation."""

    name: Literal["sphereface"]
    depth: Literal[20, 36, 64]


class LGMResNetConfig(_BackboneSection):
    """The 27-convolution net of the L-GM and center-loss papers; no batch normalisation."""

    name: Literal["lgm_resnet"]


BackboneConfig = Annotated[
    MobileFaceNetConfig | IResNetConfig | SphereFaceNetConfig | LGMResNetConfig, Field(discriminator="name")
]


class SGDConfig(Section):
    """Stochastic gradient descent; weight decay spares biases, norms and PReLU slopes.

    Attributes:
        nesterov: look ahead along the momentum.
    """

    name: Literal["sgd"]
    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 5e-4

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGDConfig:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class AdamWConfig(Section):
    """AdamW; weight decay spares biases, norms and PReLU slopes."""

    name: Literal["adamw"]
    learning_rate: Positive
    weight_decay: NotNegative = 0.05


OptimizerConfig = Annotated[SGDConfig | AdamWConfig, Field(discriminator="name")]


class _ScheduleSection(Section):
    """Attributes: epochs, fractions too, over which learning rate and margin grow from nothing."""

    warmup_epochs: NotNegative = 0.0
    margin_warmup_epochs: NotNegative = 0.0


class StepConfig(_ScheduleSection):
    """The learning rate is multiplied by `factor` at each of the epochs."""

    name: Literal["step"]
    at_epochs: tuple[Positive, ...]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1


class PolynomialConfig(_ScheduleSection):
    """The learning rate falls to zero as (1 - progress) ^ power."""

    name: Literal["polynomial"]
    power: Positive = 2.0


class CosineConfig(_ScheduleSection):
    """The learning rate falls to zero along half a cosine."""

    name: Literal["cosine"]


ScheduleConfig = Annotated[StepConfig | PolynomialConfig | CosineConfig, Field(discriminator="name")]


class AugmentationConfig(Section):
    """What happens to a photo before the model sees it; all off unless written.

    Attributes:
        flip: chance of a mirrored photo.
        shift_px: the input window moves by up to that many pixels each way. With crops larger than the input
            this is the random crop: 4 for 120 out of 128.
        zoom: the size changes by a factor of up to 1 + zoom, either way.
        rotation_deg: turns by up to that angle, either way.
        brightness, contrast, saturation: factors from 1 - x to 1 + x.
        grey: chance of losing all colour.
        low_resolution: chance of being seen at a half, a third or a quarter of the resolution.
        erase: chance that a rectangle of 2 to 20 % of the area turns grey.
    """

    flip: Share = 0.0
    shift_px: Annotated[int, Field(ge=0)] = 0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 0.0
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    grey: Share = 0.0
    low_resolution: Share = 0.0
    erase: Share = 0.0


class TrainingConfig(Section):
    """How long and in which portions.

    Attributes:
        epochs: passes over the photos. Photos beyond the last whole batch sit out, others in every epoch.
        batch_size: photos per optimizer step, whatever the number of processes.
        accumulate: parts in which a process works off its share of a batch, to save memory.
        precision: 32-true, or bf16-mixed where the machine has bfloat16 units (others are slower with it).
        clip_norm: longest gradient (backbone and head together); null: no limit.
        ema_decay: per step; the exponential moving average of the backbone is what is verified and exported.
            null: the backbone itself.
        workers: processes that decode crops, at most one per core; 0: the training process itself.
        log_every_steps: one row of metrics.csv each.
        checkpoint_every_minutes: besides one after every epoch.
        start_from: a finished run whose backbone is refined, and whose class weights where the head has such
            and the people are the same (W-Softmax: softmax first); null: from scratch.
    """

    epochs: Count
    batch_size: Annotated[int, Field(ge=2)] = 128
    accumulate: Count = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    clip_norm: Positive | None = 5.0
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    workers: Annotated[int, Field(ge=0)] = 2
    log_every_steps: Count = 20
    checkpoint_every_minutes: NotNegative = 5.0
    start_from: Path | None = None


class VerificationConfig(Section):
    """A protocol to run during and after training.

    Attributes:
        name: the folder below RUN/verification.
        data: as data.path.
        protocol: its pairs: LFW's pairs.txt or pairsDevTest.txt, or a CSV.
        every_epochs: how often; after the last epoch it always runs.
        flip: average the embedding with that of the mirrored crop.
        subtract_mean: subtract the mean embedding of the other folds.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    data: Path
    protocol: Path
    every_epochs: Count = 1
    flip: bool = True
    subtract_mean: bool = False


class RunConfig(ObjectiveConfig):
    """A training run: an objective, and everything around it."""

    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig
    backbone: BackboneConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig
    verification: tuple[VerificationConfig, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> RunConfig:
        names = [entry.name for entry in self.verification]
        if len(set(names)) != len(names):
            raise ValueError("two entries of verification have the same name")
        return self


Config = TypeVar("Config", bound=Section)

# Characters of a value that a message repeats.
_LONGEST_SHOWN = 80


def load_run_config(path: Path, overrides: list[str]) -> RunConfig:
    """A training run's YAML; see `load_config`."""
    return load_config(RunConfig, path, overrides)


def validate_run_config(settings: dict[str, Any], *, source: str) -> RunConfig:
    """A training run of plain settings; see `validate_config`."""
    return validate_config(RunConfig, settings, source=source)


def load_config(model: type[Config], path: Path, overrides: list[str]) -> Config:
    """Read a YAML.

    Args:
        model: what it must be.
        path: the file.
        overrides: `a.b=c`, in the order given; the value is read as YAML, list entries go by number.

    Raises:
        InputError: no such file, not YAML, an unknown key, or a value that breaks a rule.
    """
    settings = read_yaml(path)
    for override in overrides:
        settings = override_settings(settings, override)
    return validate_config(model, settings, source=str(path))


def validate_config(model: type[Config], settings: dict[str, Any], *, source: str) -> Config:
    """The config of plain settings.

    Args:
        model: what they must be.
        settings: nested mappings, as YAML gives them.
        source: where they come from, for the message.

    Raises:
        InputError: an unknown key, or a value that breaks a rule.
    """
    try:
        # As JSON, because strict types then still let a list be a tuple and a string a path.
        return model.model_validate_json(json.dumps(settings, default=str), strict=True)
    except ValidationError as error:
        raise _as_input_error(error, model=model, source=source) from None


class _Loader(yaml.SafeLoader):
    """YAML where `5e-4` is a number, which PyYAML takes for text, and a key that stands twice an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """PyYAML keeps the last of two equal keys, and says nothing."""
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if len(set(keys)) < len(keys):
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise yaml.constructor.ConstructorError(None, None, f"key {twice} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: no such file, or no mapping in it.
    """
    if not path.is_file():
        raise InputError("config", "must be a YAML file", got=path, fix="configs/ holds examples.")
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise InputError(
            "config", "must be valid YAML", got=path, fix=f"The parser says: {problem}"
        ) from None
    if not isinstance(settings, dict):
        raise InputError("config", "must be a mapping of keys", got=path, fix="configs/ holds examples.")
    return settings


def override_settings(settings: dict[str, Any], override: str) -> dict[str, Any]:
    """Settings with `a.b=c` carried out; whether the key means anything is for the models to say."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InputError("--set", "must be KEY=VALUE", got=override, fix="Example: --set head.margin=0.4")
    try:
        return _replaced(settings, path.split("."), yaml.load(text, Loader=_Loader))
    except yaml.YAMLError:
        raise InputError("--set", "the value must be YAML", got=override, fix="Put it in quotes.") from None
    except KeyError as error:
        raise InputError(
            "--set", "the key must exist", got=override, fix=f"There is no {error.args[0]} at that place."
        ) from None


def _replaced(place: Any, keys: list[str], value: Any) -> Any:
    """A copy of nested settings with the value at `keys` replaced; sections left out so far are made."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(place, dict):
        child = {} if place.get(key) is None else place[key]
        return place | {key: _replaced(child, rest, value)}
    if isinstance(place, list) and key.isdigit() and int(key) < len(place):
        index = int(key)
        return [*place[:index], _replaced(place[index], rest, value), *place[index + 1 :]]
    raise KeyError(key)


def _as_input_error(error: ValidationError, *, model: type[Section], source: str) -> InputError:
    """The first of pydantic's complaints in one line, with the key path as the user wrote it."""
    # Unknown keys first: a key missed elsewhere is most often one of them, misspelt.
    errors = _without_consequences(error.errors(include_url=False))
    first, *others = sorted(errors, key=lambda each: each["type"] != "extra_forbidden")
    path, sections = _locate(first["loc"], model)
    more = f" ({len(others)} more after this one.)" if others else ""
    if first["type"] == "extra_forbidden":
        known = sorted({key for section in sections for key in section.model_fields})
        return InputError(
            path, f"is not a key of {source}", got=_short(first["input"]), fix=_suggest(path, known) + more
        )
    fix = f"Mend it in {source} or by --set.{more}"
    if first["type"] == "union_tag_invalid":
        name = first["input"]["name"]
        return InputError(
            f"{path}.name", f"must be one of {first['ctx']['expected_tags']}", got=name, fix=fix
        )
    if first["type"] == "union_tag_not_found":
        return InputError(f"{path}.name", "must be given", got="nothing", fix=fix)
    if first["type"] == BROKEN_RULE:
        broken = first["ctx"]
        key = ".".join(filter(None, (path, broken["key"])))
        return InputError(key, broken["rule"], got=broken["got"], fix=fix)
    got = "nothing" if first["type"] == "missing" else _short(first["input"])
    rule = first["msg"].removeprefix("Value error, ")
    return InputError(path or "config", rule[0].lower() + rule[1:], got=got, fix=fix)


def _without_consequences(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Pydantic calls a list too short as well whose entries are wrong: the entries say it."""
    places = [each["loc"] for each in errors]
    return [
        each
        for each in errors
        if each["type"] != "too_short"
        or not any(place[: len(each["loc"])] == each["loc"] != place for place in places)
    ]


def _short(value: object) -> object:
    """A value for a message, where a whole section would hide the rest."""
    return value if len(str(value)) <= _LONGEST_SHOWN else "what stands there now"


def _suggest(path: str, known: list[str]) -> str:
    parent, _, key = path.rpartition(".")
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"Did you mean {parent + '.' if parent else ''}{close[0]}?"
    return f"Known here: {', '.join(known)}."


def _locate(location: tuple[int | str, ...], model: type[Section]) -> tuple[str, list[type[Section]]]:
    """Pydantic's location -> the key path, and the section(s) that the last key was looked for in.

    Pydantic puts the tag of a union into its locations (head, cosface, margin), which no user wrote.
    """
    path: list[str] = []
    sections: list[type[Section]] = [model]
    parents = sections
    for part in location:
        tagged = [section for section in sections if part in _tags(section)]
        if tagged and len(sections) > 1:
            sections = tagged
            continue
        path.append(str(part))
        parents = sections
        if isinstance(part, str):
            sections = [
                child
                for section in parents
                if part in section.model_fields
                for child in _sections_in(section.model_fields[part].annotation)
            ]
    return ".".join(path), parents


def _tags(section: type[Section]) -> tuple[Any, ...]:
    return get_args(section.model_fields["name"].annotation) if "name" in section.model_fields else ()


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for inner in get_args(annotation) for section in _sections_in(inner)]
