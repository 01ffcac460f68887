"""Put a finished run into the package, as the model that commands take where none is named.

`python maintenance/ship_model.py RUN --data ALIGNED --protocol PAIRS` writes weights in float16, thresholds
from the pairs, and what the model was trained on, without the paths of this machine. The card
beside them is written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from data_prep.errors import InputError
from faceverif.config.reading import read_yaml
from faceverif.config.run import validate_run_config
from faceverif.models import MODEL_NAME, load_model, save_model
from faceverif.models.location import SHIPPED
from faceverif.verification.calibrate import calibrate
from faceverif.verification.calibration import calibration_file
from faceverif.verification.options import VerificationOptions

LARGEST_BYTES = 8_000_000
_LOCAL = {"command", "path", "run", "git_commit"}  # keys of a provenance that mean nothing elsewhere


def ship(run: Path, *, data: Path, protocol: Path, out: Path = SHIPPED) -> str:
    """Write a run's model and its thresholds into the package.

    Args:
        run: a finished run.
        data: an aligned data set that the run was not trained on.
        protocol: pairs of it that no test uses.
        out: the package's folder for it.

    Returns:
        the thresholds, in words.

    Raises:
        InputError: no finished run, a model of more than `LARGEST_BYTES`, or as `calibrate`.
    """
    trained = load_model(run / MODEL_NAME)
    config = validate_run_config(read_yaml(run / "config.yaml"), source=str(run / "config.yaml"))
    values = sum(tensor.numel() for tensor in trained.backbone.state_dict().values())
    if 2 * values > LARGEST_BYTES:
        raise InputError(
            "RUN",
            f"must hold a model of at most {LARGEST_BYTES / 1e6:g} MB in float16",
            got=f"{2 * values / 1e6:.1f} MB",
            fix="Train a smaller backbone.",
        )
    out.mkdir(parents=True, exist_ok=True)
    save_model(
        out / MODEL_NAME,
        trained.backbone,
        backbone_config=config.backbone.model_dump(mode="json"),
        spec=trained.spec,
        provenance=_without_places(trained.provenance),
        stored_as=torch.float16,
    )
    stored = load_model(out / MODEL_NAME)
    return calibrate(
        stored, data, protocol, out=calibration_file(out), options=VerificationOptions(flip=True)
    ).text()


def _without_places(provenance: Any) -> Any:
    if not isinstance(provenance, dict):
        return provenance
    return {key: _without_places(value) for key, value in provenance.items() if key not in _LOCAL}


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data: Annotated[Path, typer.Option("--data", help="Folder made by `faceverif align`.")],
    protocol: Annotated[Path, typer.Option("--protocol", help="Its pairs, for the thresholds.")],
) -> None:
    """Put a finished run into the package."""
    typer.echo(ship(run, data=data, protocol=protocol))


if __name__ == "__main__":
    typer.run(main)
