"""What `faceverif export` is asked for. It is checked here, before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_prep.atomic import refuse_folder
from data_prep.errors import InputError
from data_prep.printed_command import printed_command

Target = Literal["onnx", "torch-export"]
Precision = Literal["float32", "half", "int8"]

ENDINGS: dict[Target, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
CARD_NAME = "README.md"


@dataclass(frozen=True)
class ExportRequest:
    """A model, and the file that is to be made of it.

    Attributes:
        model: the folder of a run or of an imported model.
        target: the kind of file.
        out: the file, new; the model card is written beside it.
        precision: of the stored weights; with int8 also of the computation.
        data: aligned crops for the checks, and for int8 to calibrate on; None: drawn people.
        protocol: pairs of `data`, for the accuracy before and after; None: it is not measured.

    Raises:
        InputError: they do not fit together, or the file cannot be written there.
    """

    model: Path
    target: Target
    out: Path
    precision: Precision = "float32"
    data: Path | None = None
    protocol: Path | None = None

    def __post_init__(self) -> None:
        self._refuse_other_model()
        self._refuse_unfit_file()
        if self.precision == "int8" and self.target != "onnx":
            raise InputError(
                "--int8", "is for ONNX Runtime", got=f"--to {self.target}", fix="Use --to onnx, or --half."
            )
        if self.protocol is not None and self.data is None:
            raise InputError(
                "--protocol",
                "needs the aligned crops that it names",
                got="no --data",
                fix="Add --data with a folder made by `faceverif align`.",
            )

    def _refuse_other_model(self) -> None:
        from faceverif.models.location import is_onnx, model_file_of  # brings OpenCV

        if is_onnx(model_file_of(self.model)):
            raise InputError(
                "--model",
                "must be a run or an imported model",
                got=f"the ONNX file {self.model}",
                fix="Import it first: "
                + printed_command("import", self.model, "--out", f"models/{self.model.stem}"),
            )

    def _refuse_unfit_file(self) -> None:
        ending = ENDINGS[self.target]
        if self.out.suffix.lower() != ending:
            raise InputError(
                "--out",
                f"must be a {ending} file for --to {self.target}",
                got=self.out,
                fix=f"Use {self.out.with_suffix(ending) if self.out.name else 'model' + ending}.",
            )
        refuse_folder(self.out)
        for path in (self.out, self.card):
            if path.exists() or path.is_symlink():
                what = "a model card" if path == self.card else "the model"
                raise InputError(
                    "--out",
                    f"must name a folder without {path.name}: {what} goes there",
                    got=f"{path}, which exists",
                    fix=f"Name a new folder, as in --out {self._new_folder() / self.out.name}.",
                )

    @property
    def card(self) -> Path:
        """Where the model card goes."""
        return self.out.parent / CARD_NAME

    def _new_folder(self) -> Path:
        names = (self.out.parent / f"{self.out.stem}-{number}" for number in range(1, 1000))
        return next(name for name in names if not name.exists())


def chosen_precision(*, half: bool, int8: bool) -> Precision:
    """The precision that the command's two options ask for.

    Raises:
        InputError: both are given.
    """
    if half and int8:
        raise InputError("--half", "cannot be combined with --int8", got="both", fix="Give one of the two.")
    return "half" if half else "int8" if int8 else "float32"
