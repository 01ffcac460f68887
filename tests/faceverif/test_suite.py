"""The suite: what is there runs once a photo, what is partial is marked, what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from field_formats import picture, write_bin
from numpy.typing import NDArray
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.errors import InputError
from data_prep.lock import locked
from data_prep.protocols import ProtocolSize
from data_prep.protocols.benchmarks import BENCHMARKS, find_aligned_sets, find_protocols, set_of
from faceverif.models import TorchEmbedder
from faceverif.verification.options import VerificationOptions
from faceverif.verification.published import GSC_TABLE_5
from faceverif.verification.suite import Planned, SuiteTable, plan_suite, verify_suite


class CountingEmbedder(TorchEmbedder):
    """Counts the crops that it is given."""

    count = 0

    def embed(self, crops: NDArray) -> NDArray:
        self.count += len(crops)
        return super().embed(crops)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two lists of the same photos; one of others, of which an aligned set lacks a person."""
    for benchmark in ("CFP-FF", "CFP-FP", "CALFW"):
        monkeypatch.setitem(BENCHMARKS, benchmark, ProtocolSize(pairs=72, folds=10))
    for name, folder in (("cfp_ff.csv", "a"), ("cfp_fp.csv", "b"), ("calfw.csv", "b")):
        (tmp_path / "suite" / folder).mkdir(parents=True, exist_ok=True)
        write_pairs(tmp_path / "suite" / folder / name)
    write_faces(tmp_path / "aligned/CFP-112")
    write_faces(tmp_path / "aligned/calfw", people=11)
    return tmp_path


def plan(root: Path, *, allow_partial: bool = False) -> tuple[dict[str, Planned], dict[str, str]]:
    return plan_suite(root / "suite", [root / "aligned"], allow_partial=allow_partial)


def test_what_is_there_runs_once_a_photo_and_the_rest_is_marked_or_named(suite: Path) -> None:
    model = pattern_embedder()
    embedder = CountingEmbedder(model.backbone, model.spec, name="patterns")
    options = VerificationOptions(flip=False, allow_partial=True)
    table = verify_suite(embedder, suite / "suite", [suite / "aligned"], out=suite / "out", options=options)
    assert list(table.results) == ["CALFW", "CFP-FF", "CFP-FP"]
    assert list(table.missing) == ["LFW", "CPLFW", "AgeDB-30"]
    assert embedder.count == (12 + 11) * 4
    markdown = (suite / "out/table.md").read_text()
    ours = "| patterns | - | 100.00 ± 0.00\\* | 100.00 ± 0.00 | - | 100.00 ± 0.00 | - |"
    assert markdown.splitlines()[2] == ours
    assert "- \\* CALFW is partial and not comparable: 63 of 72" in markdown
    assert "- LFW was not run: no protocol in" in markdown
    told = json.loads((suite / "out/suite.json").read_text())
    assert told["results"]["CFP-FF"] == json.loads((suite / "out/cfp-ff/result.json").read_text())
    assert told["missing"].keys() == table.missing.keys()
    assert 'href="cfp-fp/report.html"' in (suite / "out/report.html").read_text()
    assert (suite / "out/cfp-fp/report.html").is_file()


def test_a_suite_that_another_process_fills_is_left_alone(suite: Path) -> None:
    options = VerificationOptions(flip=False, allow_partial=True)
    out = suite / "out"
    out.mkdir()
    with locked(out, command="faceverif verify"), pytest.raises(InputError, match="must not be in use"):
        verify_suite(pattern_embedder(), suite / "suite", [suite / "aligned"], out=out, options=options)
    assert not (out / "table.md").exists()


def test_published_numbers_stand_beside_with_their_source() -> None:
    markdown = SuiteTable("model", {}, {}).markdown()
    assert "| CosFace | 99.100 | 93.033 | 99.429 | 86.783 | 92.871 | 93.167 |" in markdown
    assert "| ArcFace + GSC (0.03, 5; 0.02, 3) | 99.250 |" in markdown
    assert "Table 5" in markdown
    assert all(set(row.percent) == set(BENCHMARKS) for row in GSC_TABLE_5)


def test_without_allow_partial_a_part_is_missing(suite: Path) -> None:
    planned, missing = plan(suite)
    assert list(planned) == ["CFP-FF", "CFP-FP"]
    assert "4 of 48 missing: P11/P11_0001" in missing["CALFW"]


def test_a_short_list_of_any_format_is_no_benchmark(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "CFP-FF", ProtocolSize(pairs=7000, folds=10))
    assert "7,000 pairs in 10 folds; got 72 pairs" in plan(suite)[1]["CFP-FF"]
    partial = plan(suite, allow_partial=True)[0]["CFP-FF"].protocol.partial
    assert partial == "72 of 7,000 pairs, 10 of 10 folds"


def test_nothing_to_run_is_refused_with_the_reason_of_each_protocol(suite: Path) -> None:
    for name in ("a/cfp_ff.csv", "b/cfp_fp.csv"):
        (suite / "suite" / name).unlink()
    with pytest.raises(InputError) as raised:
        plan(suite)
    assert str(raised.value).startswith("--suite: must hold a benchmark whose aligned photos are there; ")
    assert "got CALFW: protocol: every photo" in str(raised.value)
    assert "no protocol" not in str(raised.value)
    assert ".. " not in str(raised.value)
    assert "--allow-partial" in str(raised.value)


def test_protocols_of_one_benchmark_are_told_apart_by_their_photos(suite: Path) -> None:
    write_bin(suite / "suite/cfp_ff.bin", [picture(0)] * 20, [True, False] * 5)
    assert "7,000 pairs in 10 folds; got 10 pairs" in plan(suite)[1]["CFP-FF"]
    assert plan(suite, allow_partial=True)[0]["CFP-FF"].protocol.name == "cfp_ff"
    write_pairs(suite / "suite/cfp-ff.csv")
    assert "must hold one protocol that names photos" in plan(suite, allow_partial=True)[1]["CFP-FF"]


# --- names


def test_protocols_are_known_by_name_and_content(tmp_path: Path) -> None:
    files = {
        "lfw/pairs.txt": "2\t1\nA\t1\t2\nA\t1\tB\t1\nB\t1\t2\nA\t1\tB\t1\n",
        "lfw/pairsDevTest.txt": "1\nA\t1\t2\nA\t1\tB\t1\n",  # View 1 has no place in the table
        "calfw/pairs_CALFW.txt": "a.jpg 0\nb.jpg 0\n",
        "AgeDB-30.csv": "left,right,same\n",
        "cplfw.bin": "",
        "Protocol/Split/FP/01/same.txt": "1,1\n",
        "notes.txt": "nothing",
        "small_lfw.bin": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {
        name: [str(path.relative_to(tmp_path)) for path in paths]
        for name, paths in find_protocols(tmp_path).items()
    }
    assert found == {
        "LFW": ["lfw/pairs.txt"],
        "CALFW": ["calfw/pairs_CALFW.txt"],
        "AgeDB-30": ["AgeDB-30.csv"],
        "CPLFW": ["cplfw.bin"],
        "CFP-FP": ["Protocol/Split/FP"],
    }
    with pytest.raises(InputError, match="--suite: must be a folder with protocols"):
        find_protocols(tmp_path / "nowhere")


def test_linked_folders_of_protocols_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/Split/FF/01").mkdir(parents=True)
    (tmp_path / "elsewhere/Split/FF/01/same.txt").write_text("1,1\n")
    (tmp_path / "elsewhere/calfw.csv").write_text("left,right,same\n")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite/linked").symlink_to(tmp_path / "elsewhere")
    linked = tmp_path / "suite/linked"
    found = find_protocols(tmp_path / "suite")
    assert found == {"CFP-FF": [linked / "Split/FF"], "CALFW": [linked / "calfw.csv"]}


def test_an_aligned_set_belongs_to_the_benchmark_that_its_name_begins_with(tmp_path: Path) -> None:
    sets = [tmp_path / name for name in ("lfw-112", "calfw", "cfp", "cfp_fp", "agedb_30-112")]
    belongs = {benchmark: set_of(benchmark, sets) for benchmark in BENCHMARKS}
    names = {benchmark: path.name if path else None for benchmark, path in belongs.items()}
    assert names == {
        "LFW": "lfw-112",
        "CALFW": "calfw",
        "CFP-FF": "cfp",
        "CPLFW": None,
        "CFP-FP": "cfp_fp",
        "AgeDB-30": "agedb_30-112",
    }
    with pytest.raises(InputError, match="must hold one aligned set for LFW"):
        set_of("LFW", [*sets, tmp_path / "lfw-128"])
    with pytest.raises(InputError, match="made by `faceverif align`, or one that holds some"):
        find_aligned_sets([tmp_path])
