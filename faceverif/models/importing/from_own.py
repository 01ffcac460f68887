"""A model file of this project, apart from its run or under another name."""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import InputError
from faceverif.backbones import Backbone
from faceverif.models.importing.incoming import ImportSettings, Incoming
from faceverif.models.importing.layouts import Pixels
from faceverif.models.model_file import load_stored_model


def from_own(file: Path, settings: ImportSettings) -> Incoming:
    """The network of a file by `save_model`, with its crops and its origin.

    Args:
        file: the file.
        settings: must be empty: the file says itself what it takes.

    Raises:
        InputError: a setting is given, or the file is damaged.
    """
    for name, value in vars(settings).items():
        if value is not None:
            raise InputError(
                f"--{name}",
                "belongs to models from elsewhere: a file by faceverif says itself what it takes",
                got=f"{value} for {file}",
                fix="Leave it out.",
            )
    embedder, config, sha256 = load_stored_model(file, field="FILE")
    backbone = embedder.backbone
    assert isinstance(backbone, Backbone)
    return Incoming(
        name=f"{config.name} by faceverif",
        sha256=sha256,
        backbone=backbone.eval(),
        config=config.model_dump(mode="json"),
        spec=embedder.spec,
        pixels=str(Pixels("rgb", config.pixel_mean, config.pixel_std)),
        provenance=embedder.provenance,
    )
