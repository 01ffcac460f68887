"""Checks what carries its own answers: lists of pairs, and the pictures of image classifiers."""

from __future__ import annotations

import tarfile
from pathlib import Path

from data_prep.check.look import Look
from data_prep.check.report import CheckReport
from data_prep.counted import counted
from data_prep.ijb import find_ijb_files, load_template_protocol
from data_prep.ijb.sizes import SIZES
from data_prep.protocols import VerificationProtocol, protocol_alone
from data_prep.protocols.repeated_pairs import RepeatedPairs
from data_prep.sources.idx import Part, read_idx_images
from data_prep.sources.picture_tar import holds_small_pictures, pictures_in, read_pictures


def examine_protocol(path: Path, report: CheckReport, look: Look) -> None:
    """The pairs, and whether they are all that the benchmark of this name has."""
    protocol = protocol_alone(path, allow_partial=True)
    genuine = int(protocol.same.sum())
    report.facts.append(
        f"{protocol.name}: {counted(len(protocol), 'pair')}, {genuine:,} genuine and "
        f"{len(protocol) - genuine:,} impostor, {protocol.size.folds} folds; {protocol.fold_rule}"
    )
    report.facts.append(f"{protocol.reading}; sha256 {protocol.sha256}")
    _report_repeats(protocol, report)
    if protocol.partial is not None:
        report.problems.append(f"this is a part: {protocol.partial}")
    elif protocol.official is not None:
        report.facts.append("all the pairs and folds that a list of this name or first line must have")


def examine_templates(path: Path, report: CheckReport, look: Look) -> None:
    """IJB's lists of photos and pairs, and whether they have the benchmark's counts."""
    files = find_ijb_files(path)
    assert files is not None  # or it would not have been recognised
    protocol = load_template_protocol(files, allow_partial=True)
    report.facts.append(f"{protocol.name}: {protocol.size.text()}; sha256 {protocol.sha256}")
    if protocol.partial is not None:
        report.problems.append(f"this is a part: {protocol.partial}")
    elif protocol.name in SIZES:
        report.facts.append(f"as many of each as {protocol.name} has")
    pairs, ids = protocol.pairs, protocol.photos.ids
    again, both = pairs.repeated()
    if len(again):
        report.facts.append(f"{counted(len(again), 'repeated pair')}, counted each time")
    named = [f"{ids[pairs.left[place]]} and {ids[pairs.right[place]]}" for place in both]
    report.count("pair", "of IJB templates both as genuine and as impostor", named)


def _report_repeats(protocol: VerificationProtocol, report: CheckReport) -> None:
    """Pairs that no model gets right: a photo and itself as different people, or a pair with both labels."""
    left, right = protocol.left, protocol.right
    found = RepeatedPairs.of(left, right, protocol.same.tolist())
    if found.again:
        report.facts.append(f"{counted(len(found.again), 'repeated pair')}, counted each time")
    themselves = {left[pair] for pair in found.impostor_itself}
    report.count("impostor pair", "of a photo with itself", sorted(themselves))
    both = [" and ".join(sorted((left[pair], right[pair]))) for pair, _ in found.both]
    report.count("pair", "both as genuine and as impostor", sorted(both))


def examine_idx(path: Path, report: CheckReport, look: Look) -> None:
    """MNIST's files, by their counts."""
    parts: dict[Part, int] = {"train": 60_000, "t10k": 10_000}
    for part, expected in parts.items():
        images, _ = read_idx_images(path, part)
        line = f"{part}: {counted(len(images), 'image')} with labels, {images.shape[1]} x {images.shape[2]}"
        if len(images) == expected:
            report.facts.append(f"{line}, as many as MNIST has")
        else:
            report.problems.append(f"{line}; MNIST has {expected:,}")


def is_tar(path: Path) -> bool:
    """Whether a file is a tar, compressed or not."""
    return path.is_file() and tarfile.is_tarfile(path)


def are_pictures(path: Path) -> bool:
    """Whether a tar, a folder, or the only tar in one holds the pictures of an image classifier."""
    return holds_small_pictures(pictures_in(path) or path)


def examine_pictures(path: Path, report: CheckReport, look: Look) -> None:
    """Every picture of both splits: the reader decodes them."""
    for split, pictures in read_pictures(pictures_in(path) or path).items():
        height, width = pictures.images.shape[1:3]
        classes = len(pictures.class_names)
        report.facts.append(
            f"{split}: {counted(len(pictures.images), 'picture')} of {classes} classes, {width} x {height}"
        )
