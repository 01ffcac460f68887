"""What is compared by IJB's lists, checked before anything is embedded and before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.dataset.manifest import AlignedDataset
from data_prep.dataset.packed import load_aligned
from data_prep.errors import InputError
from data_prep.ijb import (
    IjbFiles,
    SearchProtocol,
    TemplateProtocol,
    load_search_protocol,
    load_template_protocol,
)
from faceverif.template_matching.options import Pooling
from faceverif.template_matching.photos import PooledPhotos, photos_there
from faceverif.verification.options import Score, VerificationOptions


@dataclass(frozen=True, kw_only=True)
class PoolingTask:
    """Which crops are pooled into IJB templates, and how.

    Attributes:
        dataset: where the crops of the photos are.
        photos: what these contribute.
        pooling: what a photo counts.
        flip: average each embedding with that of the mirrored crop.
    """

    dataset: AlignedDataset
    photos: PooledPhotos
    pooling: Pooling
    flip: bool


@dataclass(frozen=True, kw_only=True)
class SearchTask(PoolingTask):
    """What is searched.

    Attributes:
        protocol: galleries and probes.
    """

    protocol: SearchProtocol

    @classmethod
    def of(
        cls, lists: IjbFiles, data: Path, pooling: Pooling, *, flip: bool, allow_partial: bool
    ) -> SearchTask:
        """Read the lists and find their photos; arguments and errors as of `TemplateTask.of`."""
        dataset = load_aligned(data)
        protocol = load_search_protocol(lists, allow_partial=allow_partial)
        if allow_partial and not (there := photos_there(protocol.photos, dataset)).all():
            protocol = protocol.part(there)
        photos = PooledPhotos.of(protocol.photos, dataset, pooling=pooling)
        return cls(protocol=protocol, dataset=dataset, photos=photos, pooling=pooling, flip=flip)


@dataclass(frozen=True, kw_only=True)
class TemplateTask(PoolingTask):
    """What is compared.

    Attributes:
        protocol: the pairs.
    """

    protocol: TemplateProtocol

    @classmethod
    def of(cls, lists: IjbFiles, data: Path, pooling: Pooling, options: VerificationOptions) -> TemplateTask:
        """Read the lists and find their photos.

        Args:
            lists: where they lie.
            data: the aligned photos.
            pooling: what a photo counts.
            options: of which flip and allow_partial count here.

        Raises:
            InputError: a list is broken or not whole, or photos or their detector scores are missing.
        """
        dataset = load_aligned(data)
        protocol = load_template_protocol(lists, allow_partial=options.allow_partial)
        if options.allow_partial and not (there := photos_there(protocol.photos, dataset)).all():
            protocol = protocol.part(there)
        photos = PooledPhotos.of(protocol.photos, dataset, pooling=pooling)
        return cls(protocol=protocol, dataset=dataset, photos=photos, pooling=pooling, flip=options.flip)


def refuse_options_of_pairs(options: VerificationOptions, score: Score) -> None:
    """IJB templates have no folds and no columns, and are compared by their cosine.

    Raises:
        InputError: an option asks for something else.
    """
    unfit = {
        "--subtract-mean": options.subtract_mean,
        "--score": score is not Score.COSINE,
        "--groups": bool(options.groups),
        "--quality": options.quality,
        "--min-quality": bool(options.least_quality),
    }
    for option, given in unfit.items():
        if given:
            raise InputError(
                option,
                "is for pairs of photos",
                got="a --protocol of IJB templates",
                fix="Leave it out: IJB templates are compared by their cosine, all pairs together.",
            )


def refuse_options_of_templates(pooling: Pooling | None, *, allow_partial: bool) -> None:
    """`rank` takes these for IJB's lists alone.

    Raises:
        InputError: one of them is given.
    """
    refuse_pooling(pooling)
    if allow_partial:
        raise InputError(
            "--allow-partial",
            "is for a --protocol of IJB templates here",
            got="other lists",
            fix="Leave it out, and search the photos that are there.",
        )


def refuse_pooling(pooling: Pooling | None) -> None:
    """Photos of other protocols are compared one by one.

    Raises:
        InputError: a pooling is named.
    """
    if pooling is not None:
        raise InputError(
            "--pooling",
            "is for a --protocol of IJB templates",
            got=pooling.value,
            fix="Leave it out, or give the folder with IJB's lists, such as IJBC/meta.",
        )
