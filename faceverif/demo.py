"""The whole chain on people who do not exist: synthesise, align, train, verify, report."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np

from data_prep.atomic import write_text
from data_prep.manifest import AlignedDataset
from data_prep.prepare import AlignSettings, align_folder
from data_prep.progress import duration, say
from data_prep.synthetic import FaceModel, load_face_model, synthesise_photos
from faceverif.config import RunConfig, load_run_config
from faceverif.report import picture_uri, run_page
from faceverif.training.checkpoint import checkpoint_path
from faceverif.training.loop import train

CONFIG = Path(__file__).with_name("demo.yaml")
PAIRS_NAME = "synthetic-people.csv"
FOLDS = 10
_MIN_FACE_PX = 40
_PEOPLE_SHOWN = 4


@dataclass(frozen=True)
class People:
    """A group of synthetic people; groups of different seeds share nobody.

    Attributes:
        name: of their folder.
        seed: what they are drawn from.
        identities: how many.
        photos: of each.
    """

    name: str
    seed: int
    identities: int
    photos: int


@dataclass(frozen=True)
class DemoSize:
    """How much the demo does.

    Attributes:
        training: who is trained on.
        held_out: who is verified on: nobody of `training`.
        pairs_per_fold: genuine ones, and as many impostor ones.
        overrides: of demo.yaml, as for `faceverif train --set`.
    """

    training: People = People("training", seed=1, identities=240, photos=8)
    held_out: People = People("held-out", seed=2, identities=60, photos=8)
    pairs_per_fold: int = 50
    overrides: tuple[str, ...] = ()


def run_demo(out: Path, *, size: DemoSize = DemoSize()) -> Path:
    """Run the chain, or go on with what a killed call left.

    Args:
        out: folder for photos, data sets, pairs, run and report.
        size: how much of everything.

    Returns:
        path of the page.

    Raises:
        InputError: `out` holds something else, or a demo of another size.
    """
    start = time.monotonic()
    model = load_face_model()
    for number, people in enumerate((size.training, size.held_out), start=1):
        say(f"{number}/4  {people.name}: {people.photos} photos each of {people.identities} synthetic people")
        _draw_and_align(model, people, out)
    say(f"3/4  {2 * FOLDS * size.pairs_per_fold:,} held-out pairs, then training")
    write_pairs(size.held_out, out / PAIRS_NAME, per_fold=size.pairs_per_fold)
    run = out / "run"
    train(_config(out, size), run, resume=checkpoint_path(run).exists())
    say("4/4  report")
    page = _write_page(out, size)
    first, second = (
        out / "photos" / size.held_out.name / "person-0001" / name for name in ("01.jpg", "02.jpg")
    )
    say(f"done in {duration(time.monotonic() - start)}. Two photos of one person, compared by the new model:")
    say(f"  faceverif compare {first} {second} --run {run}")
    return page


def _draw_and_align(model: FaceModel, people: People, out: Path) -> None:
    photos = out / "photos" / people.name
    synthesise_photos(model, photos, identities=people.identities, photos=people.photos, seed=people.seed)
    settings = AlignSettings(min_face_px=_MIN_FACE_PX)
    say(align_folder(photos, out / "aligned" / people.name, settings=settings).text())


def write_pairs(people: People, path: Path, *, per_fold: int) -> None:
    """Write a pairs CSV in ten folds that share nobody, with as many impostor as genuine pairs in each.

    Args:
        people: at least two per fold.
        path: the CSV.
        per_fold: genuine pairs of a fold.
    """
    rng = np.random.default_rng(people.seed)
    lines = ["left,right,same,fold"]
    for fold, members in enumerate(np.array_split(np.arange(1, people.identities + 1), FOLDS)):
        photos = {
            int(person): [f"person-{person:04d}/{number:02d}.jpg" for number in range(1, people.photos + 1)]
            for person in members
        }
        genuine = [pair for own in photos.values() for pair in combinations(own, 2)]
        impostor = [pair for one, other in combinations(photos.values(), 2) for pair in product(one, other)]
        for same, pairs in ((1, genuine), (0, impostor)):
            chosen = rng.choice(len(pairs), per_fold, replace=False)
            lines += [f"{pairs[index][0]},{pairs[index][1]},{same},{fold}" for index in sorted(chosen)]
    write_text(path, "\n".join(lines) + "\n")


def _config(out: Path, size: DemoSize) -> RunConfig:
    paths = {
        "data.path": out / "aligned" / size.training.name,
        "verification.0.data": out / "aligned" / size.held_out.name,
        "verification.0.protocol": out / PAIRS_NAME,
    }
    # JSON is YAML with every odd character of a path in quotes.
    overrides = [f"{key}={json.dumps(str(path))}" for key, path in paths.items()]
    return load_run_config(CONFIG, [*overrides, *size.overrides])


def _write_page(out: Path, size: DemoSize) -> Path:
    """The run's page with the people on top."""
    dataset = AlignedDataset.load(out / "aligned" / size.held_out.name)
    rows = dataset.table.slice(0, _PEOPLE_SHOWN * size.held_out.photos).to_pylist()
    page = run_page(
        out / "run",
        template="demo.html.j2",
        size=size,
        photos=[picture_uri(out / "photos" / size.held_out.name / row["photo"]) for row in rows],
        crops=[picture_uri(dataset.root / row["crop"]) for row in rows],
    )
    write_text(out / "report.html", page)
    return out / "report.html"
