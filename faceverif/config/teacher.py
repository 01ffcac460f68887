"""The section of a config that names a teacher: the model that a run imitates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceverif.config.paths import InputPath
from faceverif.config.section import Change, Section, broken_rule


class TeacherConfig(Section):
    """What the `distill` penalty compares with.

    Attributes:
        model: a run, an imported model, or an .onnx file.
        preprocess: the pixels that an .onnx file takes, as for `faceverif verify`.
        output: the name of an .onnx file's embedding, where its shape does not tell.
        views: `stored`, the teacher sees every crop and its mirror image once, before the training, and its
            embeddings are kept; or `live`, it sees what the student sees, augmented, in every step (Beyer et
            al., 2022).
        folder: where stored embeddings are kept; runs with the same teacher and photos share them. null: in
            the run's folder.
        layers: student layer -> teacher layer, as hints (Romero et al., 2015): the student's features shall
            equal the teacher's, and have the same shape. Needs live views.
        guided: every layer with a hint hands on the teacher's features in place of its own. So the parts of
            the student learn side by side, each from right inputs; a second run, without, joins them.
    """

    model: Annotated[InputPath, Change.FREE]
    preprocess: str | None = None
    output: str | None = None
    views: Literal["stored", "live"] = "stored"
    folder: Annotated[Path | None, Change.FREE] = None
    layers: Annotated[dict[str, str], Field(default_factory=dict)]
    guided: bool = False

    @model_validator(mode="after")
    def _hints_are_live(self) -> TeacherConfig:
        if self.layers and self.views == "stored":
            raise broken_rule("views", "must be live for hints: layers are too large to store", got="stored")
        if self.guided and not self.layers:
            raise broken_rule("guided", "needs layers with hints: name some", got="true")
        if self.folder is not None and self.views == "live":
            raise broken_rule(
                "folder", "must be left out with live views: nothing is stored", got=self.folder
            )
        return self
