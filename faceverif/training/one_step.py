"""One step of a training, the same for faces and for images: gradients, checks, update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from data_prep.errors import InputError
from data_prep.progress import say
from faceverif.checked_tensors import DeferredChecks
from faceverif.config.adversarial import AdversarialConfig
from faceverif.config.optimisation import OptimizerConfig, ScheduleConfig
from faceverif.heads.sharding import sharded_names
from faceverif.objective import LearningModel
from faceverif.training.adversarial import Robustness, hardening, measure_robustness
from faceverif.training.clipping import clip_spread_gradients
from faceverif.training.fabric import leave_to_processes
from faceverif.training.logs.step_figures import StepFigures
from faceverif.training.optimizer import build_optimizer, set_learning_rate
from faceverif.training.randomness import counted_seed
from faceverif.training.schedule import attack_share, learning_rate_factor, margin_progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = TypeVar("Batch")


class _Length(Protocol):
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def clip_norm(self) -> float | None: ...
    @property
    def adversarial(self) -> AdversarialConfig | None: ...
    @property
    def noise(self) -> float: ...


class LearningSettings(Protocol):
    """What a config of faces or of images says of the learning."""

    @property
    def seed(self) -> int:
        """Of every random draw."""
        ...

    @property
    def optimizer(self) -> OptimizerConfig:
        """Which, with its rates."""
        ...

    @property
    def schedule(self) -> ScheduleConfig:
        """Of rate and margin."""
        ...

    @property
    def training(self) -> _Length:
        """How long, and with which changes of the images."""
        ...


class OneStep(ABC, Generic[Batch]):
    """A model and its optimizer, and the step that changes them.

    Every random draw is made from the seed and the number of the step, so a step depends on nothing but the
    state that a checkpoint holds.

    Args:
        config: seed, optimizer, schedule, epochs and the longest gradient.
        fabric: device, precision and processes.
        network: called on pictures and labels it gives an `ObjectiveOutput`.
        steps_per_epoch: for schedules, which count in epochs.
        parts: in how many a process works off its share of a batch.

    Attributes:
        attacking: whether adversarial training attacks; a rehearsal turns it off to measure what it costs.
    """

    def __init__(
        self,
        config: LearningSettings,
        fabric: Fabric,
        network: LearningModel,
        *,
        steps_per_epoch: int,
        parts: int = 1,
    ) -> None:
        self.config, self._parts = config, parts
        self.attacking = True
        self.fabric, self.network, self.steps_per_epoch = fabric, network, steps_per_epoch
        self.optimizer = build_optimizer(config.optimizer, network)
        seen = hardening(network, attack=config.training.adversarial, noise=config.training.noise)
        self._hardened = seen is not network
        self._spread = {name for name, _ in sharded_names(network)}
        leave_to_processes(seen)
        self.model, self._fabric_optimizer = fabric.setup(seen, self.optimizer)

    @abstractmethod
    def parts(self, batch: Batch, *, step: int) -> Iterator[tuple[Tensor, Tensor, *tuple[Any, ...]]]:
        """A process's share of a batch in equal parts.

        Each is augmented pictures, labels, and what the network takes besides.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Tensors and plain values that the next step depends on, the same on any number of processes.

        All processes call it together; the first one's is whole.
        """

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""

    def learning_rate(self, step: int) -> float:
        """Of the step with that number, counted from 0."""
        epoch, epochs = (step + 1) / self.steps_per_epoch, self.config.training.epochs
        factor = learning_rate_factor(self.config.schedule, epoch=epoch, epochs=epochs)
        return self.config.optimizer.learning_rate * factor

    def margin_progress(self, step: int) -> float:
        """Of the step with that number, counted from 0."""
        return margin_progress(self.config.schedule, epoch=step / self.steps_per_epoch)

    def attack_share(self, step: int) -> float:
        """Of the attack's epsilon in force at the step with that number; 0 without an attack."""
        attack = self.config.training.adversarial
        if attack is None or not self.attacking:
            return 0.0
        return attack_share(attack, epoch=(step + 1) / self.steps_per_epoch)

    def compute_gradients(
        self, batch: Batch, *, step: int, stop: bool = False, save: bool = False
    ) -> StepFigures:
        """Forward and backward over this process's share of a batch; the gradients are averaged and clipped.

        The device is read once, at the end.

        Args:
            batch: the share.
            step: number of the step, counted from 0.
            stop: this process was asked to stop after it.
            save: this process wants a checkpoint after it.

        Raises:
            InputError: labels or embeddings break a rule of the head or of a penalty.
        """
        self.network.train()
        self.network.objective.set_margin_progress(self.margin_progress(step))
        torch.manual_seed(counted_seed(self.config.seed, "dropout", step, self.fabric.global_rank))
        self._fabric_optimizer.zero_grad(set_to_none=True)
        with DeferredChecks() as checks:
            try:
                measured = self._measured(batch, step=step)
            except RuntimeError:
                checks.refuse()  # what a check will refuse may have been the cause
                raise
        longest = self.config.training.clip_norm or float("inf")
        norm = self._clip_gradients(longest)
        asked = torch.tensor((stop, save), dtype=torch.float32).to(measured)
        shared = torch.hstack([measured, checks.failed.to(measured), asked])
        figures = (self.fabric.all_reduce(shared, reduce_op="mean"), norm)
        values = torch.hstack([torch.as_tensor(each) for each in figures]).tolist()
        loss, hits, negative, failed, stops, saves, length = values
        if failed:
            checks.refuse()
            self._refuse_elsewhere()
        return StepFigures(loss, hits, negative, length, stop=stops > 0, save=saves > 0)

    def update(self, *, step: int) -> None:
        """Move the weights along the gradients that `compute_gradients` left."""
        set_learning_rate(self.optimizer, self.learning_rate(step))
        self._fabric_optimizer.step()

    def robustness(self, pictures: Tensor, labels: Tensor, *, step: int) -> Robustness:
        """How the model withstands what it is trained against; warns of overfitting to one step.

        Where classes are spread, all processes call it together, and the first one warns.

        Args:
            pictures: (N, C, H, W), uint8 or in [0, 1].
            labels: (N,) int64.
            step: steps made so far.

        Raises:
            ValueError: the training is not adversarial.
        """
        attack = self.config.training.adversarial
        if attack is None:
            raise ValueError("robustness is of adversarial training")
        seed = counted_seed(self.config.seed, "robustness", step)
        found = measure_robustness(self.network, pictures, labels, config=attack, seed=seed)
        # Bounds are no attack of one step that a model could learn by heart.
        if attack.attack != "ibp" and self.fabric.is_global_zero and (warning := found.warning()):
            say(f"warning: {warning}")
        return found

    def end_epoch(self) -> None:
        """To be called after the last step of an epoch."""
        self.network.objective.end_epoch()

    def _measured(self, batch: Batch, *, step: int) -> Tensor:
        """(3,) loss, accuracy and all-negative share, on the device; leaves the gradients of its share."""
        count = self._parts
        measured = torch.zeros(3, device=self.fabric.device)
        extra = (self.attack_share(step),) if self._hardened else ()
        for number, (pictures, labels, *more) in enumerate(self.parts(batch, step=step), start=1):
            self.network.objective.start_draws(counted_seed(self.config.seed, "margins", step, number))
            with self.fabric.no_backward_sync(self.model, enabled=number < count):
                output = self.model(pictures, labels, *extra, *more)
                loss = output.loss / count
                highest, predicted = output.head.highest()
                shares = torch.stack((predicted == labels, highest < 0)).float().mean(dim=1) / count
                self.fabric.backward(loss)
            measured += torch.hstack((loss.detach(), shares))
        return measured

    def _clip_gradients(self, longest: float) -> Tensor | None:
        if self._spread:
            return clip_spread_gradients(self.network, self._spread, longest=longest)
        return self.fabric.clip_gradients(
            self.model, self._fabric_optimizer, max_norm=longest, error_if_nonfinite=False
        )

    def _refuse_elsewhere(self) -> None:
        """Stop together with the process whose labels or embeddings are refused; alone there is none."""
        if self.fabric.world_size > 1:
            raise InputError(
                "training",
                "labels and embeddings must be valid in every process",
                got="others in another process",
                fix="Its message says which.",
            )
