"""IJB's galleries searched with pooled embeddings: the literal rates, and templates that fail."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

import identification as oracle
import ijb_release
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from pages import check_page
from small_faces import face

import faceverif
from data_prep.errors import InputError
from data_prep.ijb import SearchProtocol, TemplateList, TemplatePhotos, find_ijb_files, load_search_protocol
from data_prep.prepare.align_folder import align_folder
from data_prep.prepare.task import AlignSettings
from data_prep.work.here import ThisProcess
from faceverif.cli import main
from faceverif.template_matching.options import Pooling
from faceverif.template_matching.search_run import search_gallery
from faceverif.template_matching.task import refuse_options_of_templates

PEOPLE = 12


def _protocol() -> tuple[SearchProtocol, NDArray[np.float32]]:
    """Twelve people, half of them in each gallery, three probes of each, and their unit embeddings."""
    rng = np.random.default_rng(3)
    person = np.concatenate([np.arange(PEOPLE), np.repeat(np.arange(PEOPLE), 3)])
    unit = rng.normal(size=(PEOPLE, 8))[person] + 1.2 * rng.normal(size=(len(person), 8))
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    numbers = np.arange(len(person), dtype=np.int32)
    names = TemplatePhotos(numbers.astype(np.int64), None, numbers, numbers)
    galleries = tuple(
        TemplateList(name, numbers[half::2][: PEOPLE // 2], person[half::2][: PEOPLE // 2])
        for half, name in enumerate(("G1", "G2"))
    )
    probes = TemplateList("probes", numbers[PEOPLE:], person[PEOPLE:])
    return SearchProtocol("simulated", names, galleries, probes, "0"), unit


@pytest.mark.parametrize("gallery", [0, 1])
def test_searches_are_the_literal_ones(gallery: int) -> None:
    protocol, unit = _protocol()
    chosen, probes = protocol.galleries[gallery], protocol.probes
    found = search_gallery(unit, chosen, protocol).metrics
    entries = [(unit[t].tolist(), s) for t, s in zip(chosen.template, chosen.subject.tolist(), strict=True)]
    ranks, mates, highest = [], [], []
    for template, subject in zip(probes.template, probes.subject.tolist(), strict=True):
        alike = oracle.person_similarities(unit[template].tolist(), entries)
        if subject in alike:
            ranks.append(oracle.mate_rank(alike, subject))
            mates.append((ranks[-1], alike[subject]))
        else:
            highest.append(max(alike.values()))
    assert [Fraction(int(each), len(ranks)) for each in found.cmc.found[:5]] == [
        oracle.cmc(ranks, rank) for rank in range(1, 6)
    ]
    point = found.tpir_at_fpir[0.1]
    assert point is not None
    assert Fraction(point.false_positives, point.non_mated) == oracle.fpir(highest, point.threshold - 1e-6)
    assert Fraction(point.hits, point.mated) == oracle.tpir(mates, point.threshold - 1e-6)
    assert found.tpir_at_fpir[0.01] is None  # 18 strangers
    assert 0 < point.tpir < 1


def test_an_ijb_template_without_a_crop_is_a_miss_and_stays_in_the_counts() -> None:
    protocol, unit = _protocol()
    gallery, whole = protocol.galleries[0], search_gallery(unit, protocol.galleries[0], protocol)
    unit[gallery.template[0]] = 0  # somebody who cannot be enrolled
    unit[protocol.probes.template[-1]] = 0  # and a probe that cannot be searched
    found = search_gallery(unit, gallery, protocol)
    assert found.metrics.cmc.mated == whole.metrics.cmc.mated
    assert found.metrics.cmc.people == whole.metrics.cmc.people - 1
    lost = protocol.probes.subject == gallery.subject[0]
    assert not found.metrics.searches.rank[lost].any()
    assert found.best[-1] == -1


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = tmp_path / "SMALL"
    ijb_release.write_galleries(ijb_release.write_lists(release))
    ijb_release.write_pictures(release, lambda person, photo: face(person, photo, side=112, noise=600))
    align_folder(release, tmp_path / "data", settings=AlignSettings(), engine=ThisProcess())
    shipped = str(Path(faceverif.__file__).parent / "models/shipped")
    arguments = ["--model", shipped, "--data", str(tmp_path / "data"), "--protocol", str(release / "meta")]
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["faceverif", "rank", *arguments, "--no-flip", "--out", str(out)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    text = capsys.readouterr().out
    assert text.startswith("small: 3 IJB templates in G1, 2 IJB templates in G2, 10 probes\n")
    facts = json.loads((out / "result.json").read_text())
    first = [facts["galleries"][name]["rank"]["1"] for name in ("G1", "G2")]
    assert facts["mean_rank"]["1"] == pytest.approx(sum(first) / 2)
    assert facts["mean_rank"]["5"] is None  # certain among two or three people
    assert facts["mean_tpir_at_fpir"] == {"0.1": None, "0.01": None}
    assert (facts["galleries"]["G1"]["mated_probes"], facts["galleries"]["G1"]["non_mated_probes"]) == (6, 4)
    files = find_ijb_files(release)
    assert files is not None
    protocol = load_search_protocol(files)
    table = pq.read_table(out / "searches-G2.parquet")
    assert table["probe"].to_pylist() == protocol.photos.ids[protocol.probes.template].tolist()
    assert set(table["found"].to_pylist()) <= set(
        protocol.photos.ids[protocol.galleries[1].template].tolist()
    )
    check_page(out / "report.html")


def test_options_for_ijbs_lists_are_refused_elsewhere() -> None:
    refuse_options_of_templates(None, allow_partial=False)
    with pytest.raises(InputError, match="--pooling: is for a --protocol of IJB templates"):
        refuse_options_of_templates(Pooling.NORM, allow_partial=False)
    with pytest.raises(InputError, match="--allow-partial: is for a --protocol of IJB templates here"):
        refuse_options_of_templates(None, allow_partial=True)
