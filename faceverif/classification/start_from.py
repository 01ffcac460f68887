"""Where a classifier that refines a finished one starts: its network, and its head for the same classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from faceverif.classification.classifier import Classifier
from faceverif.classification.trained import TrainedClassifier, load_classifier
from faceverif.training.start_from import FIELD, facts_of_start, give_weights


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
        model = load_classifier(run, field=FIELD)
        same = model.class_names == tuple(class_names)
        return cls(run, model, model.head.state_dict() if same else {})

    def give(self, classifier: Classifier) -> None:
        """Put the network's weights into a new classifier, and the class centres where its head has such.

        Raises:
            InputError: the run has another network.
        """
        got = f"{self.run} with {self.model.config.network.name}"
        give_weights(classifier.network, self.model.network, part="network", got=got)
        head = classifier.objective.head
        if head.can_continue(self.head):
            head.continue_from(self.head)

    def describe(self, classifier: Classifier) -> dict[str, Any]:
        """What that classifier took over, for the provenance of its run; JSON-able."""
        return facts_of_start(self.run, self.model.sha256, classifier.objective.head, self.head)
