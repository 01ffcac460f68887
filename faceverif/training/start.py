"""Where a run that refines another one starts: softmax first, then a head that finds no way of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.errors import InputError
from faceverif.embedder import MODEL_NAME, TorchEmbedder, load_model
from faceverif.training.checkpoint import checkpoint_path, read_checkpoint
from faceverif.training.recognition_model import RecognitionModel


@dataclass(frozen=True)
class Start:
    """What is taken over from a finished run.

    Attributes:
        run: its folder.
        model: its exported backbone.
        class_weights: (classes, dim) of its head; null where it has none, or was trained on other people.
    """

    run: Path
    model: TorchEmbedder
    class_weights: Tensor | None

    @classmethod
    def read(cls, run: Path, identities: Sequence[str]) -> Start:
        """The start that a run gives.

        Args:
            run: a finished one; its class weights lie in its checkpoint.
            identities: who is trained on now; class weights of others mean nothing.

        Raises:
            InputError: no finished run, or a checkpoint by another version.
        """
        model = load_model(run / MODEL_NAME)
        if not checkpoint_path(run).is_file():
            return cls(run, model, None)
        content = read_checkpoint(run, field="training.start_from")
        same = content.get("identities") == list(identities)
        return cls(run, model, content["objective"].get("head.weight") if same else None)

    def give(self, model: RecognitionModel) -> None:
        """Put the backbone's weights into a new model, and the class weights where its head has such.

        Raises:
            InputError: the run has another backbone.
        """
        try:
            model.backbone.load_state_dict(self.model.backbone.state_dict())
        except RuntimeError as error:
            raise InputError(
                "training.start_from",
                "must be a run with the same backbone",
                got=self.run,
                fix=f"Details: {str(error).splitlines()[-1].strip()}",
            ) from error
        own = dict(model.objective.head.named_parameters()).get("weight")
        if own is not None and self.class_weights is not None and own.shape == self.class_weights.shape:
            with torch.no_grad():
                own.copy_(self.class_weights)

    def describe(self) -> dict[str, Any]:
        """For the provenance of the run that starts here; JSON-able."""
        return {
            "run": str(self.run),
            "model_sha256": self.model.sha256,
            "class_weights": self.class_weights is not None,
        }
