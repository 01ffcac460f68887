"""Where a run that refines a finished one starts: its backbone, and its class weights for the same people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from data_prep.errors import InputError
from faceverif.heads import Head
from faceverif.heads.moments import ClassMoments
from faceverif.models import MODEL_NAME, PreprocessingSpec, TorchEmbedder, load_model
from faceverif.models.sealed_tensors import below
from faceverif.training.checkpoint import checkpoint_path, only_a_whole_checkpoint, read_checkpoint
from faceverif.training.recognition_model import RecognitionModel
from faceverif.verification.seen_photos import training_sets

FIELD = "training.start_from"


@dataclass(frozen=True)
class Start:
    """What is taken over from a finished run.

    Attributes:
        run: its folder.
        model: its exported backbone.
        head: parameters and buffers of its head by name; empty where it was trained on other people, or the
            head of the new run starts from its data.
        moments: of its embeddings of the photos that are trained on now; None where no head starts there.
    """

    run: Path
    model: TorchEmbedder
    head: Mapping[str, Tensor] = field(default_factory=dict)
    moments: ClassMoments | None = None

    @classmethod
    def read(cls, run: Path, identities: Sequence[str], *, spec: PreprocessingSpec) -> Start:
        """The start that a run gives.

        Args:
            run: a finished one; its class weights lie in its checkpoint.
            identities: who is trained on now; class weights of others mean nothing.
            spec: the crops that are trained on now.

        Raises:
            InputError: no finished run, one on other crops, or a checkpoint by another version.
        """
        model = load_model(run / MODEL_NAME, field=FIELD)
        if model.spec != spec:
            raise InputError(
                FIELD,
                f"must be a run on the same crops: {_in_words(spec)}",
                got=f"{run}: {_in_words(model.spec)}",
                fix="Start from another run, or align the photos as for that one.",
            )
        if not checkpoint_path(run).is_file():
            return cls(run, model)
        alone = f"move it away: {run / MODEL_NAME} is then taken alone, without class weights."
        with only_a_whole_checkpoint(run, field=FIELD, fix=f"Copy the file again, or {alone}"):
            content = read_checkpoint(run)
            same = content.get("identities") == list(identities)
            head = below("head.", content["objective"]) if same else {}
            if not all(isinstance(tensor, Tensor) for tensor in head.values()):
                raise TypeError("no tensor")
        return cls(run, model, head)

    def give(self, model: RecognitionModel) -> None:
        """Put the backbone's weights into a new model, and the class weights where its head has such.

        Raises:
            InputError: the run has another backbone, or one that normalises pixels in another way.
        """
        give_weights(model.backbone, self.model.backbone, part="backbone", got=self.run)
        self._refuse_other_pixels(model)
        if model.objective.head.can_continue(self.head):
            model.objective.head.continue_from(self.head)
        if self.moments is not None:
            model.objective.head.start_at(self.moments)

    def describe(self, model: RecognitionModel) -> dict[str, Any]:
        """What that model took over, for the provenance of its run; JSON-able."""
        facts = facts_of_start(self.run, self.model.sha256, model.objective.head, self.head)
        return facts | {"training_sets": training_sets(self.model.provenance)}

    def _refuse_other_pixels(self, model: RecognitionModel) -> None:
        """Normalisation is no tensor of the model file, so equal shapes do not tell."""
        theirs, ours = (_pixels(each.backbone) for each in (self.model, model))
        if theirs != ours:
            mean, std = theirs
            raise InputError(
                FIELD,
                "must be a model that takes pixels as backbone.pixel_mean and backbone.pixel_std say",
                got=f"{self.run}, which normalises with mean {mean} and std {std}",
                fix=f"Set backbone.pixel_mean: {mean} and backbone.pixel_std: {std}.",
            )


def give_weights(own: nn.Module, theirs: nn.Module, *, part: str, got: object) -> None:
    """Put the weights of a finished run's network into a new one.

    Args:
        own: the new one.
        theirs: the other.
        part: what the config calls it.
        got: the run, for the message.

    Raises:
        InputError: they are not the same network.
    """
    try:
        own.load_state_dict(theirs.state_dict())
    except RuntimeError as error:
        details = f"Details: {str(error).splitlines()[-1].strip()}"
        raise InputError(FIELD, f"must be a run with the same {part}", got=got, fix=details) from error


def facts_of_start(run: Path, sha256: str, head: Head, trained: Mapping[str, Tensor]) -> dict[str, Any]:
    """What every provenance says of the run that was started from; JSON-able.

    Args:
        run: its folder.
        sha256: of its model.
        head: the new one.
        trained: parameters and buffers of the run's head, or none.
    """
    return {"run": str(run), "model_sha256": sha256, "class_weights": head.can_continue(trained)}


def _in_words(spec: PreprocessingSpec) -> str:
    return f"{spec.template} {spec.template_sha256[:12]} {spec.colour_order}, input_px {spec.input_px}"


def _pixels(backbone: nn.Module) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that a backbone normalises pixels with, as a config writes them."""
    gain, offset = (backbone.get_buffer(name).flatten() for name in ("pixel_gain", "pixel_offset"))
    mean, std = -offset / gain, 1 / gain
    return _rounded(mean), _rounded(std)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) + 0.0 for value in values.tolist()]
