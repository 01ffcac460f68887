"""The whole chain on people who do not exist: synthesise, align, train, verify, reject, report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.atomic import write_text
from data_prep.dataset.manifest import AlignedDataset
from data_prep.face_model import FaceModel, load_face_model
from data_prep.json_object import read_json
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.printed_command import printed_command
from data_prep.progress import duration, say
from data_prep.synthetic import synthesise_photos
from faceverif.config.run import RunConfig, load_run_config
from faceverif.demo_comparison import Impersonator, compare_drawn
from faceverif.file_names import FIGURES_NAME, REPORT_NAME, RESULT_NAME
from faceverif.report.run_page import picture_uri, write_page_of_run
from faceverif.report.svg import Drawing
from faceverif.training.loop import train

CONFIG = Path(__file__).with_name("demo.yaml")
PAIRS_NAME = "synthetic-people.csv"
FOLDS = 10
_MIN_FACE_PX = 40
_PEOPLE_SHOWN = 4
# What makes of demo.yaml a small L-GM model that knows its people well, some of their photos held out.
REJECTING = (
    "data.held_out_per_identity=4",
    "backbone.input_px=64",
    "backbone.embedding_dim=32",
    "head={name: lgm, alpha: 0.1}",
    "penalties=[{name: likelihood, weight: 0.05}]",
    "training.batch_size=32",
    "training.epochs=24",
    "verification=[]",
)


@dataclass(frozen=True)
class People:
    """A group of synthetic people; groups of different seeds share nobody.

    Attributes:
        name: of their folder.
        seed: what they are drawn from.
        identities: how many.
        photos: of each.
        template: of their crops.
    """

    name: str
    seed: int
    identities: int
    photos: int
    template: str = "arcface-112"


@dataclass(frozen=True)
class DemoSize:
    """How much the demo does.

    Attributes:
        training: who is trained on.
        held_out: who is verified on: nobody of `training`.
        known: who the second model is trained on, the one that rejects.
        pairs_per_fold: genuine ones, and as many impostor ones.
        overrides: of demo.yaml, as for `faceverif train --set`.
        known_overrides: likewise, for the second model, after those.
    """

    training: People = People("training", seed=1, identities=240, photos=8)
    held_out: People = People("held-out", seed=2, identities=60, photos=8)
    known: People = People("known", seed=3, identities=40, photos=12, template="arcface-64")
    pairs_per_fold: int = 50
    overrides: tuple[str, ...] = ()
    known_overrides: tuple[str, ...] = REJECTING


# Attacks a run's model and leaves result.json, figures/ and report.html in a folder; it can be killed.
Rejecter = Callable[[Path, Path], object]


def run_demo(out: Path, *, reject: Rejecter, impersonate: Impersonator, size: DemoSize = DemoSize()) -> Path:
    """Run the chain, or continue an interrupted one.

    Args:
        out: folder for photos, data sets, pairs, run, rejection and report.
        reject: how to attack the run and reject; this package knows no attacks.
        impersonate: how to attack one photo.
        size: how much of everything.

    Returns:
        path of the page.

    Raises:
        InputError: `out` holds something else, or a demo of another size.
    """
    start = time.monotonic()
    model = load_face_model()
    for number, people in enumerate((size.training, size.held_out, size.known), start=1):
        say(f"{number}/6  {people.name}: {people.photos} photos each of {people.identities} synthetic people")
        _draw_and_align(model, people, out)
    say(f"4/6  {2 * FOLDS * size.pairs_per_fold:,} held-out pairs, then training")
    write_pairs(size.held_out, out / PAIRS_NAME, per_fold=size.pairs_per_fold)
    run, rejecting = out / "run", out / "rejecting"
    train(_config(out, size), run)
    say("5/6  a model with likelihoods, attacks on photos of its people, and their rejection")
    train(_rejecting_config(out, size), rejecting)
    reject(rejecting, out / "rejection")
    say("6/6  report")
    page = _write_page(out, size, impersonate=impersonate)
    first, second = (
        out / "photos" / size.held_out.name / "person-0001" / name for name in ("01.jpg", "02.jpg")
    )
    say(f"done in {duration(time.monotonic() - start)}. Two photos of one person, compared by the new model:")
    say(f"  {printed_command('compare', first, second, '--model', run)}")
    return page


@dataclass(frozen=True)
class _RejectionSummary:
    """What the page shows of the rejection: plain values and pictures from its folder.

    Attributes:
        rows: of result.json, without the controls and size 0.
        figures: attack -> its ROC and DET, and some photos before and after it.
        page: the whole report, from where the demo's page lies.
    """

    rows: list[dict[str, Any]]
    figures: dict[str, list[Drawing]]
    page: str

    @classmethod
    def read(cls, folder: Path) -> _RejectionSummary:
        result = read_json(folder / RESULT_NAME)
        rows = [row for row in result["rows"] if not row["control"] and row["epsilon"] > 0]
        figures: dict[str, list[Drawing]] = {}
        for kind in ("-curves-roc", "-curves-det", "-images-"):
            for path in sorted((folder / FIGURES_NAME).glob(f"*{kind}*.svg")):
                drawing = Drawing.of(path.read_text(encoding="utf-8"))
                figures.setdefault(path.name.partition(kind)[0], []).append(drawing)
        return cls(rows, figures, f"{folder.name}/{REPORT_NAME}")


def _draw_and_align(model: FaceModel, people: People, out: Path) -> None:
    photos = out / "photos" / people.name
    synthesise_photos(model, photos, identities=people.identities, photos=people.photos, seed=people.seed)
    settings = AlignSettings(template=people.template, min_face_px=_MIN_FACE_PX)
    for line in align_folder(photos, out / "aligned" / people.name, settings=settings).text().splitlines():
        say(line)


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
    return load_run_config(CONFIG, [*_overrides(paths), *size.overrides])


def _rejecting_config(out: Path, size: DemoSize) -> RunConfig:
    paths = {"data.path": out / "aligned" / size.known.name}
    return load_run_config(CONFIG, [*_overrides(paths), *size.overrides, *size.known_overrides])


def _overrides(paths: dict[str, Path]) -> list[str]:
    # JSON is YAML with every odd character of a path in quotes.
    return [f"{key}={json.dumps(str(path))}" for key, path in paths.items()]


def _write_page(out: Path, size: DemoSize, *, impersonate: Impersonator) -> Path:
    """The run's page with the people on top and the rejection beside the verification."""
    dataset = AlignedDataset.load(out / "aligned" / size.held_out.name)
    rows = dataset.table.slice(0, _PEOPLE_SHOWN * size.held_out.photos).to_pylist()
    return write_page_of_run(
        out / "run",
        out / REPORT_NAME,
        "demo.html.j2",
        kind="Demo",
        title="From photos to a face embedding, verified and attacked",
        size=size,
        photos=[picture_uri(out / "photos" / size.held_out.name / row["photo"]) for row in rows],
        crops=[picture_uri(dataset.root / row["crop"]) for row in rows],
        pair=compare_drawn(dataset, out / "comparison", impersonate=impersonate),
        rejection=_RejectionSummary.read(out / "rejection"),
    )
