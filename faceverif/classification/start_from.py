"""Where a classifier that refines a finished one starts: its network, and its head for the same classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from data_prep.errors import InputError
from faceverif.classification.classifier import Classifier
from faceverif.classification.trained import TrainedClassifier, load_classifier

_FIELD = "training.start_from"


@dataclass(frozen=True)
class ClassifierStart:
    """What is taken over from a finished run.

    Attributes:
        run: its folder.
        model: its classifier.
        head: parameters and buffers of its head by name; empty where it was trained on other classes.
    """

    run: Path
    model: TrainedClassifier
    head: Mapping[str, Tensor]

    @classmethod
    def read(cls, run: Path, class_names: Sequence[str]) -> ClassifierStart:
        """The start that a run gives.

        Args:
            run: a folder by `train_classifier`.
            class_names: what is trained on now; class centres of other classes mean nothing.

        Raises:
            InputError: no finished run.
        """
        model = load_classifier(run, field=_FIELD)
        same = model.class_names == tuple(class_names)
        return cls(run, model, model.head.state_dict() if same else {})

    def give(self, classifier: Classifier) -> None:
        """Put the network's weights into a new classifier, and the class centres where its head has such.

        Raises:
            InputError: the run has another network.
        """
        try:
            classifier.network.load_state_dict(self.model.network.state_dict())
        except RuntimeError as error:
            raise InputError(
                _FIELD,
                "must be a run with the same network",
                got=f"{self.run} with {self.model.config.network.name}",
                fix=f"Details: {str(error).splitlines()[-1].strip()}",
            ) from error
        head = classifier.objective.head
        if head.can_continue(self.head):
            head.continue_from(self.head)

    def describe(self, classifier: Classifier) -> dict[str, Any]:
        """What that classifier took over, for the provenance of its run; JSON-able."""
        return {
            "run": str(self.run),
            "model_sha256": self.model.sha256,
            "class_weights": classifier.objective.head.can_continue(self.head),
        }
