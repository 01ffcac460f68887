"""Aligned crops -> batches: decoded in worker processes, handed over as uint8."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data_prep.alignment import refuse_unfit_input
from data_prep.counted import counted
from data_prep.dataset.exclusions import ExclusionList
from data_prep.dataset.manifest import AlignedDataset, Status
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.quality.least import of_least_quality
from faceverif.config.run import DataConfig
from faceverif.heads.moments import ClassMoments
from faceverif.training.order import RemainingBatches
from faceverif.training.randomness import counted_generator
from faceverif.verification.embeddings import EmbeddedPhotos

# Sockets have names of up to 103 bytes (macOS); multiprocessing adds /pymp-12345678/listener-12345678.
_LONGEST_TEMPORARY_FOLDER = 103 - 32


@dataclass(frozen=True)
class TrainingPhotos:
    """What is trained on: crops that a face was found for, and whose they are.

    Attributes:
        dataset: the aligned data set that they are of.
        rows: (photos,) int64, the data set's row of each crop.
        labels: (photos,) int64, an index into identities.
        identities: names, sorted.
        held_out: rows of the photos of the same people that are kept from the training.
        exclusions: the list of what was left out; None where there is none.
        least_quality: measure -> the least value that a photo must have.
        below_quality: number of photos that do not have it.
    """

    dataset: AlignedDataset
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    identities: tuple[str, ...]
    held_out: NDArray[np.int64]
    exclusions: ExclusionList | None
    least_quality: Mapping[str, float]
    below_quality: int

    @property
    def sha256(self) -> str:
        """Hash of the manifest, or of it and of what leaves photos out: another one for other photos."""
        decisive = [self.dataset.sha256]
        decisive += [] if self.exclusions is None else [self.exclusions.sha256]
        decisive += [f"{name}={value!r}" for name, value in sorted(self.least_quality.items())]
        return decisive[0] if len(decisive) == 1 else hashlib.sha256(" ".join(decisive).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def class_moments(self, embedded: EmbeddedPhotos) -> ClassMoments:
        """Class means and the covariance within the classes of these photos' embeddings."""
        embeddings = torch.from_numpy(embedded.of(self.rows))
        return ClassMoments.of(embeddings, torch.from_numpy(self.labels))


class Batch(NamedTuple):
    """A process's share of a batch.

    Attributes:
        crops: (batch, crop_px, crop_px, 3) uint8 RGB; where features are stored, those of the crop and of its
            mirror image, (batch, 2, ...) float32.
        labels: (batch,) int64.
        photos: (batch,) int64, which of the training photos.
    """

    crops: Tensor
    labels: Tensor
    photos: Tensor


def load_training_photos(config: DataConfig, *, input_px: int, seed: int) -> TrainingPhotos:
    """Read the manifest and choose the photos to train on.

    Args:
        config: where they lie, how many a person must have, which are left out and how many held out.
        input_px: what the backbone takes from the middle of each crop.
        seed: of the run; it chooses what is held out.

    Raises:
        InputError: no data set, crops that do not fit the input, missing files, a list of exclusions that
            does not fit, a quality that is not known or that no photo has, nobody or one person left, or
            nobody with enough photos to hold some out.
    """
    dataset = load_aligned(config.path)
    refuse_unfit_input(dataset.template, input_px=input_px)
    exclusions = None if config.exclude is None else ExclusionList.read(config.exclude)
    least = config.min_quality.values
    trainable = _trainable(dataset, exclusions)
    rows = of_least_quality(dataset, trainable, least)
    below = len(trainable) - len(rows)
    names, labels = dataset.people(rows)
    counts = np.bincount(labels)
    kept = counts >= config.min_photos_per_identity
    if kept.sum() < 2:
        raise _too_few(dataset, kept, config)
    rows, labels = rows[kept[labels]], (np.cumsum(kept) - 1)[labels[kept[labels]]]
    apart = _held_out(labels, config, seed=seed)
    held_out, rows, labels = rows[apart], rows[~apart], labels[~apart]
    missing = dataset.crops.missing(rows)
    if missing:
        raise InputError(
            "data",
            "every crop of the manifest must exist",
            got=f"{len(missing)} missing in {config.path}, the first {missing[0]}",
            fix=dataset.crops.way_out,
        )
    people = tuple(names[kept].tolist())
    return TrainingPhotos(dataset, rows, labels, people, held_out, exclusions, least, below)


def refuse_long_temporary_folder(workers: int) -> None:
    """Stop before a training whose loader processes could not open their sockets, which lie in that folder.

    A loader process that cannot open one leaves the training waiting for ever.

    Raises:
        InputError: there are such processes, and the folder's name is too long.
    """
    folder = tempfile.gettempdir()
    if workers and len(os.fsencode(folder)) > _LONGEST_TEMPORARY_FOLDER:
        raise InputError(
            "TMPDIR",
            f"must have at most {_LONGEST_TEMPORARY_FOLDER} bytes: loader processes open sockets in it",
            got=folder,
            fix="Set it for this command, TMPDIR=/tmp, or set training.workers=0.",
        )


def _held_out(labels: NDArray[np.int64], config: DataConfig, *, seed: int) -> NDArray[np.bool_]:
    """(photos,) True for those kept from the training: see `DataConfig`."""
    wanted = config.held_out_per_identity or 0
    needed = config.min_photos_per_identity + wanted
    counts = np.bincount(labels)
    chosen = np.zeros(len(labels), dtype=bool)
    shuffled = torch.randperm(len(labels), generator=counted_generator(seed, "held out")).numpy()
    by_person = shuffled[np.argsort(labels[shuffled], kind="stable")]
    turn = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen[by_person] = turn < wanted
    chosen &= counts[labels] >= needed
    if wanted and not chosen.any():
        raise InputError(
            "data.held_out_per_identity",
            f"one person or more must have {needed} aligned photos, to hold out {wanted} and train on others",
            got=f"at most {counts.max()} in {config.path}",
            fix="Lower it, or align more photos of each person.",
        )
    return chosen


def _too_few(dataset: AlignedDataset, kept: NDArray[np.bool_], config: DataConfig) -> InputError:
    """The error of a data set in which fewer than two people are left; `kept` says which, (people,)."""
    each = counted(config.min_photos_per_identity, "aligned photo")
    got = f"{kept.sum()} of {counted(len(kept), 'person')} in {config.path}"
    fix = "Align more people, or lower data.min_photos_per_identity."
    if len(dataset) and not dataset.has_identity().any():
        got = f"{counted(len(dataset), 'photo')} without an identity in {config.path}"
        fix = "Put the photos into a folder per person, and align that."
    return InputError("data", f"must hold two people or more with {each} each", got=got, fix=fix)


def _trainable(dataset: AlignedDataset, exclusions: ExclusionList | None) -> NDArray[np.int64]:
    """Rows of aligned photos of known people that are not left out."""
    rows = dataset.with_status(Status.ALIGNED)
    rows = rows[dataset.has_identity()[rows]]
    return rows if exclusions is None else rows[exclusions.kept(dataset)[rows]]


class CropReader(Dataset[tuple[Batch, int | None]]):
    """Decodes the crops of a batch; runs in the worker processes.

    Beside the batch stands the row of a crop that cannot be decoded: see `Crops.decoded`.
    """

    def __init__(self, photos: TrainingPhotos) -> None:
        self.crops, self.rows = photos.dataset.crops, photos.rows
        self.labels = torch.from_numpy(photos.labels)

    def __getitem__(self, photos: list[int]) -> tuple[Batch, int | None]:
        side, rows, index = self.crops.crop_px, self.rows[photos], torch.tensor(photos)
        crops = torch.empty(len(photos), side, side, 3, dtype=torch.uint8)
        for place, crop in enumerate(self.crops.decoded(rows)):
            if crop is None:
                return Batch(crops, self.labels[index], index), int(rows[place])
            crops[place] = torch.from_numpy(crop)
        return Batch(crops, self.labels[index], index), None


def read_batches(
    photos: TrainingPhotos, order: RemainingBatches, *, workers: int, pin: bool
) -> Iterator[Batch]:
    """The batches in that order, decoded ahead of time by at most one worker process per core.

    Args:
        photos: what is trained on.
        order: which photos make which batch.
        workers: processes that decode; 0 decodes in this one.
        pin: page-locked memory, for quick copies to a GPU.

    Raises:
        InputError: a crop cannot be decoded or has another size than the manifest says.
    """
    workers = min(workers, os.cpu_count() or 1)
    loader = DataLoader(
        CropReader(photos),
        batch_size=None,  # the sampler yields whole batches, and the reader fills them in one go
        sampler=order,
        num_workers=workers,
        multiprocessing_context="spawn" if workers and not photos.dataset.crops.survives_fork else None,
        worker_init_fn=_quiet_worker,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        generator=torch.Generator(),  # else starting the workers would draw from the global one
    )
    for batch, unreadable in loader:
        if unreadable is not None:
            raise photos.dataset.crops.unreadable(unreadable)
        yield Batch(*batch)


def _quiet_worker(worker: int) -> None:
    # OpenCV's own threads would fight with the other workers and with the training step.
    cv2.setNumThreads(0)
    # Ctrl-C in a terminal, `timeout` and torchrun signal every process of the training. It ends its workers
    # itself, after the step, and they end without it when it is gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
