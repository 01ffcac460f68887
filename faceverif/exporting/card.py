"""The model card of an export or of a model folder, from its own files; what they do not tell is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data_prep.dataset.exclusions import exclusions_text
from data_prep.errors import printable
from data_prep.json_object import read_json
from faceverif.exporting.check_crops import CALIBRATED
from faceverif.models import TorchEmbedder
from faceverif.report.numbers import percent
from faceverif.verification.calibration import CALIBRATION_NAME
from faceverif.verification.files import RESULT_NAME

if TYPE_CHECKING:
    from faceverif.exporting.export import Exported

_PARAMETERS = 1e6


def model_card(exported: Exported) -> str:
    """The text of README.md, with the header that the Hugging Face hub reads.

    Args:
        exported: what was written, with its checks.

    Raises:
        InputError: a result in the run's folder is damaged.
    """
    request, model = exported.request, exported.model
    return _TEMPLATE.render(
        **_network(model),
        **_error_rates(request.model),
        name=_plain(request.model.resolve().name),
        version=version("faceverif"),
        library="onnx" if request.target == "onnx" else "pytorch",
        file=_plain(request.out.name),
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


def folder_card(folder: Path, model: TorchEmbedder, *, repo: str) -> str:
    """The same for the folder of a run or of an imported model, as it goes to the hub.

    Args:
        folder: with the model's file, and its thresholds and verifications, if there are any.
        model: from there.
        repo: its name on the hub.

    Raises:
        InputError: a result in the folder is damaged.
    """
    return _FOLDER.render(
        **_network(model),
        **_error_rates(folder),
        name=_plain(repo.rpartition("/")[2]),
        repo=repo,
        version=version("faceverif"),
        embedding_dim=model.embedding_dim,
        training=[_plain(fact) for fact in _training(model)],
        exported=False,
        percent=percent,
    )


def _network(model: TorchEmbedder) -> dict[str, Any]:
    spec = model.spec
    crop_px = spec.checked_template().crop_px
    margin = (crop_px - spec.input_px) // 2
    told = model.provenance.get("license")
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
        "license": _plain(told or "unknown"),
        "license_note": _plain(told)
        if told
        else "unknown. The terms of the training data and, for imported weights, of their publishers decide.",
    }


def _training(model: TorchEmbedder) -> list[str]:
    """What the provenance tells, a sentence each."""
    provenance = model.provenance
    facts = []
    if imported := provenance.get("imported"):
        told = ", ".join(f"{key} {value}" for key, value in imported.items())
        facts.append(f"Imported from elsewhere: {told}.")
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


def _error_rates(run: Path) -> dict[str, Any]:
    """Verifications and thresholds in the run's folder."""
    results = [read_json(path) for path in sorted(run.glob(f"verification/*/{RESULT_NAME}"))]
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
        ],
        "calibration": read_json(run / CALIBRATION_NAME),
    }


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
