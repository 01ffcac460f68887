"""The model card of an export or of a model folder, from its own files; what they do not say is unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_prep.dataset.exclusions import exclusions_text
from data_prep.errors import printable
from data_prep.json_object import read_json
from data_prep.progress import say
from faceverif.exporting.check_crops import CALIBRATED
from faceverif.exporting.request import CARD_NAME
from faceverif.file_names import RESULT_NAME
from faceverif.models import MODEL_NAME, TorchEmbedder
from faceverif.models.location import SHIPPED, named_model
from faceverif.report.numbers import percent, unbroken
from faceverif.verification.calibration import CALIBRATION_NAME

if TYPE_CHECKING:
    from faceverif.exporting.export import Exported

_PARAMETERS = 1e6
# Rows of the cards' tables: what a card says of whose it is.
_FILE_ROW = re.compile(r"^\| file \| `(.+?)`", re.MULTILINE)
_HASH_ROW = re.compile(r"^\| (?:weights \| sha256|sha256 \|) `([0-9a-f]{64})` \|$", re.MULTILINE)
# Lines of a card's header, and what they say where nothing is known.
_LICENCE = re.compile(r"^(license|license_name): *(.+?) *$", re.MULTILINE)
_NO_LICENCE = {"license": "unknown", "license_name": ""}


def model_card(exported: Exported) -> str:
    """The text of README.md, with the header that the Hugging Face hub reads.

    Args:
        exported: what was written, with its checks.

    Raises:
        InputError: a result in the run's folder is damaged.
    """
    request, model = exported.request, exported.model
    place = named_model(request.model)
    text = _TEMPLATE.render(
        **_network(model),
        **_licence(model, _card_beside(place, model)),
        **_error_rates(place, model.sha256),
        name="The face recogniser of faceverif" if place == SHIPPED else _plain(place.resolve().name),
        version=version("faceverif"),
        library="onnx" if request.target == "onnx" else "pytorch",
        file=_plain(request.out.name),
        file_sha256=exported.file_sha256,
        form=exported.form,
        size_mb=f"{exported.file_bytes / 1e6:.1f}",
        embedding_dim=exported.embedding_dim,
        precision=request.precision,
        cosines=_plain(exported.cosines.text()),
        origin=_plain(exported.cosines.origin),
        calibrated=CALIBRATED,
        accuracy=None if exported.accuracy is None else _plain(exported.accuracy.text()),
        training=[_plain(fact) for fact in _training(model)],
        exported=True,
        percent=percent,
    )
    return unbroken(text)


def folder_card(folder: Path, model: TorchEmbedder, *, repo: str) -> str:
    """The same for the folder of a run or of an imported model, as it goes to the hub.

    Args:
        folder: with the model's file, and its thresholds and verifications, if there are any.
        model: from there.
        repo: its name on the hub.

    Raises:
        InputError: a result in the folder is damaged.
    """
    text = _FOLDER.render(
        **_network(model),
        **_licence(model, ""),
        **_error_rates(folder, model.sha256),
        name=_plain(repo.rpartition("/")[2]),
        repo=repo,
        version=version("faceverif"),
        embedding_dim=model.embedding_dim,
        training=[_plain(fact) for fact in _training(model)],
        exported=False,
        percent=percent,
    )
    return unbroken(text)


def is_card_of(card: str, *, file: str, sha256: str) -> bool:
    """Whether a text is a model card, and not that of another file or of other weights.

    Args:
        card: the text. A card opens with the header that the hub reads.
        file: name of the model's file. A card that names no file counts as its card.
        sha256: of the model, as its results and thresholds have it.
    """
    named, hashed = _FILE_ROW.search(card), _HASH_ROW.search(card)
    return (
        card.startswith("---\n")
        and (named is None or named[1] == _plain(file))
        and (hashed is None or hashed[1] == sha256)
    )


def _network(model: TorchEmbedder) -> dict[str, Any]:
    spec = model.spec
    crop_px = spec.checked_template().crop_px
    margin = (crop_px - spec.input_px) // 2
    parameters = sum(parameter.numel() for parameter in model.backbone.parameters())
    imported = model.provenance.get("imported", {})
    return {
        "network": _plain(imported.get("network", "unknown" if imported else "trained with faceverif")),
        "parameters": f"{parameters / _PARAMETERS:.2f}",
        "side": spec.input_px,
        "template": spec.template,
        "crop_px": crop_px,
        "margin": margin,
        "end": margin + spec.input_px,
        "model_sha256": model.sha256,
    }


def _card_beside(folder: Path, model: TorchEmbedder) -> str:
    """The card that came with a model, such as that of the package or of one from the hub; "" without one."""
    path = folder / CARD_NAME
    card = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return card if is_card_of(card, file=MODEL_NAME, sha256=model.sha256) else ""


def _licence(model: TorchEmbedder, card: str) -> dict[str, str]:
    """The licence for a card: what the weights' file says of it, or else the card that came with them.

    Args:
        model: the weights, with their provenance.
        card: the one that came with them; "" where there is none.
    """
    known = model.provenance.get("license")
    header = {"license": known} if known else dict(_LICENCE.findall(card.split("\n---\n")[0]))
    licence, named = (_plain(header.get(key, missing)) for key, missing in _NO_LICENCE.items())
    if licence == _NO_LICENCE["license"]:
        note = (
            "unknown. The terms of the training data and, for imported weights, of their publishers decide."
        )
    else:
        note = named or licence
    return {"license": licence, "license_name": named, "license_note": note}


def _training(model: TorchEmbedder) -> list[str]:
    """What the provenance says, a sentence each."""
    provenance = model.provenance
    facts = []
    if imported := provenance.get("imported"):
        origin = ", ".join(f"{key} {value}" for key, value in imported.items())
        facts.append(f"Imported from elsewhere: {origin}.")
    data = provenance.get("data")
    if isinstance(data, Mapping) and "photos" in data:
        facts.append(
            f"Photos: {data['photos']:,} of {data.get('identities', 0):,} people, from "
            f"{Path(str(data.get('path', 'unknown'))).name}, manifest "
            f"{str(data.get('manifest_sha256', 'unknown'))[:12]}."
        )
    else:
        facts.append("Photos: unknown.")
    facts.append(f"Photos left out: {exclusions_text(model.exclusions)}.")
    if isinstance(data, Mapping) and data.get("min_quality"):
        least = ", ".join(f"{name} below {value:g}" for name, value in data["min_quality"].items())
        facts.append(f"Photos left out for their quality: {data.get('below_quality', 0):,}, with {least}.")
    facts += [f"{key.capitalize()}: {provenance[key]}." for key in ("seed", "steps") if key in provenance]
    if commit := provenance.get("git_commit"):
        facts.append(f"Code: faceverif, commit {commit}.")
    return facts


def _error_rates(run: Path, sha256: str) -> dict[str, Any]:
    """Verifications and thresholds in the run's folder, as far as they are of these weights."""
    results = _of_this_model(sorted(run.glob(f"verification/*/{RESULT_NAME}")), sha256)
    calibration = _of_this_model([run / CALIBRATION_NAME], sha256)
    return {
        "verifications": [
            {
                "protocol": _plain(result["protocol"]),
                "pairs": result["pairs"],
                "accuracy": result["accuracy"],
                "accuracy_se": result["accuracy_se"],
                "eer": result["eer"],
                "data": _plain(Path(result["data"]).name),
            }
            for result in results
            if "accuracy" in result  # sets of photos and searches have none
        ],
        "calibration": calibration[0] if calibration else None,
        "groups": [
            _plain(_by_group(facts, result["protocol"]))
            for result in results
            for facts in result.get("groups", ())
        ],
    }


def _of_this_model(files: Sequence[Path], sha256: str) -> list[dict[str, Any]]:
    """What these files hold, without those of other weights: the training may have gone on since."""
    kept = []
    for file in files:
        facts = read_json(file)
        if facts.get("model_sha256") == sha256:
            kept.append(facts)
        elif facts:
            say(f"note: the card leaves out {file}, which is of another model")
    return kept


def _by_group(facts: Mapping[str, Any], protocol: str) -> str:
    """The lowest and the highest error rates of groups, in a sentence."""
    parts = []
    for kind in ("false_match", "false_non_match"):
        rates = sorted(
            (row[kind]["rate"], row["group"])
            for row in facts["rows"]
            if row["kind"] == "group" and row[kind]["rate"] is not None
        )
        if rates:
            (low, lowest), (high, highest) = rates[0], rates[-1]
            words = kind.replace("_", " ").replace("non match", "non-match")
            parts.append(f"{words} rate {percent(low)} % ({lowest}) to {percent(high)} % ({highest})")
    far = percent(facts["target_far"])
    return (
        f"By {facts['column']} on {protocol}, at a false accept rate of {far} % of all pairs: "
        f"{', '.join(parts) or 'too few pairs'}."
    )


def _plain(text: object) -> str:
    """Text from files, as Markdown shows it: in one line, and no markup."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*[]<>|" else sign for sign in printable(str(text)))
    return escaped.encode("utf-8", "backslashreplace").decode()


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # it is Markdown
)
_TEMPLATE, _FOLDER = (_TEMPLATES.get_template(name) for name in ("card.md.j2", "folder_card.md.j2"))
