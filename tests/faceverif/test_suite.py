"""The suite: what is there runs once a photo, what is partial is marked, what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from field_formats import picture, write_bin
from numpy.typing import NDArray
from small_faces import pattern_embedder, write_faces, write_pairs

from data_prep.errors import InputError
from data_prep.lock import locked
from data_prep.protocols import ProtocolSize, own_lists, protocol_alone
from data_prep.protocols.benchmarks import BENCHMARKS, FURTHER_BENCHMARKS
from data_prep.protocols.own_lists import fingerprint
from data_prep.protocols.spelling import letters
from data_prep.protocols.suite_lists import find_aligned_sets, find_lists, set_of
from faceverif.models import TorchEmbedder
from faceverif.verification import suite as suite_runs
from faceverif.verification.options import VerificationOptions
from faceverif.verification.published import PUBLISHED
from faceverif.verification.runner import write_result
from faceverif.verification.suite import folders_of, verify_suite
from faceverif.verification.suite_plan import Planned, plan_suite
from faceverif.verification.suite_table import SuiteTable


class CountingEmbedder(TorchEmbedder):
    """Counts the crops that it is given."""

    count = 0

    def embed(self, crops: NDArray) -> NDArray:
        self.count += len(crops)
        return super().embed(crops)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two lists of the same photos, which are nobody's own; one of others, of which a set lacks a person."""
    monkeypatch.setitem(BENCHMARKS, "CALFW", ProtocolSize(pairs=72, folds=10))
    for name, folder in (("masks_hard.csv", "a"), ("masks_easy.csv", "b"), ("calfw.csv", "b")):
        (tmp_path / "suite" / folder).mkdir(parents=True, exist_ok=True)
        write_pairs(tmp_path / "suite" / folder / name)
    write_faces(tmp_path / "aligned/masks-112")
    write_faces(tmp_path / "aligned/calfw", people=11)
    return tmp_path


def plan(root: Path, *, allow_partial: bool = False) -> tuple[dict[str, Planned], dict[str, str]]:
    return plan_suite(root / "suite", [root / "aligned"], allow_partial=allow_partial)


def test_what_is_there_runs_once_a_photo_and_the_rest_is_marked_or_named(suite: Path) -> None:
    model = pattern_embedder()
    embedder = CountingEmbedder(model.backbone, model.spec, name="patterns")
    options = VerificationOptions(flip=False, allow_partial=True)
    table = verify_suite(embedder, suite / "suite", [suite / "aligned"], out=suite / "out", options=options)
    assert list(table.results) == ["CALFW", "masks_easy", "masks_hard"]
    assert list(table.missing) == ["LFW", "CFP-FF", "CPLFW", "CFP-FP", "AgeDB-30"]
    assert embedder.count == (12 + 11) * 4
    markdown = (suite / "out/table.md").read_text()
    columns = "| LFW | CALFW | CFP-FF | CPLFW | CFP-FP | AgeDB-30 | masks_easy | masks_hard |"
    assert markdown.splitlines()[0].endswith(columns)
    ours = "| patterns | - | 100.00 ± 0.00\\* | - | - | - | - | 100.00 ± 0.00 | 100.00 ± 0.00 |"
    assert markdown.splitlines()[2] == ours
    assert "| CosFace | 99.100 | 93.033 | 99.429 | 86.783 | 92.871 | 93.167 | - | - |" in markdown
    assert "- masks_easy, its list: separated by commas; columns left, right, same; 1 is the same" in markdown
    assert "- \\* CALFW is partial and not comparable: 63 of 72" in markdown
    assert "- LFW was not run: no protocol in" in markdown
    content = json.loads((suite / "out/suite.json").read_text())
    assert content["results"]["masks_hard"] == json.loads((suite / "out/masks_hard/result.json").read_text())
    assert content["missing"].keys() == table.missing.keys()
    assert content["published"][2]["rows"]["AdaFace, IR50"]["CFP-FP"] == "97.04"
    assert "- Ours, training: exclusion list" in markdown
    assert 'href="masks_easy/report.html"' in (suite / "out/report.html").read_text()
    assert (suite / "out/masks_easy/report.html").is_file()


def test_a_stopped_suite_leaves_no_table_of_an_earlier_one(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*, flip: bool) -> None:
        options = VerificationOptions(flip=flip)
        verify_suite(
            pattern_embedder(), suite / "suite", [suite / "aligned"], out=suite / "out", options=options
        )

    run(flip=False)
    tables = {path.name for path in (suite / "out").iterdir() if path.suffix in (".md", ".json", ".html")}
    assert tables == {"table.md", "suite.json", "report.html", "summary.json"}
    stopping = iter([write_result])

    def stop_at_the_second(*given: Any) -> None:
        write = next(stopping, None)
        if write is None:
            raise KeyboardInterrupt
        write(*given)

    monkeypatch.setattr(suite_runs, "write_result", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(flip=True)
    flips = [
        json.loads((suite / "out" / name / "result.json").read_text())["flip"]
        for name in ("masks_easy", "masks_hard")
    ]
    assert flips[0] != flips[1]
    assert not [name for name in tables if (suite / "out" / name).exists()]


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
    assert "| AdaFace, R50 | 99.42 | 93.23 | - | 89.97 | 96.41 | 94.38 |" in markdown
    lines = markdown.splitlines()
    for table in PUBLISHED:
        [heading] = [place for place, line in enumerate(lines) if f"| *{table.heading}* |" in line]
        assert lines[heading + 1].startswith(f"| {table.rows[0].method} |")
        assert f"- {table.name}: {table.source}." in lines
        assert table.trained_on.startswith("CASIA-WebFace")
        assert all(set(row.percent) == set(BENCHMARKS) for row in table.rows)
    assert "people of the test sets: left out" in PUBLISHED[0].heading
    assert all("people of the test sets: not stated" in table.heading for table in PUBLISHED[1:])


def test_without_allow_partial_a_part_is_missing(suite: Path) -> None:
    planned, missing = plan(suite)
    assert list(planned) == ["masks_easy", "masks_hard"]
    assert "4 of 48 missing: P11/P11_0001" in missing["CALFW"]


def test_a_short_list_of_a_benchmarks_name_is_no_benchmark(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BENCHMARKS, "CALFW", ProtocolSize(pairs=6000, folds=10))
    assert "6,000 pairs in 10 folds; got 72 pairs" in plan(suite)[1]["CALFW"]
    partial = plan(suite, allow_partial=True)[0]["CALFW"].protocol.partial
    assert partial == "63 of 6,000 pairs, 10 of 10 folds"


def test_nothing_to_run_is_refused_with_the_reason_of_each_protocol(suite: Path) -> None:
    for name in ("a/masks_hard.csv", "b/masks_easy.csv"):
        (suite / "suite" / name).unlink()
    with pytest.raises(InputError) as raised:
        plan(suite)
    assert str(raised.value).startswith("--suite: must hold a protocol whose aligned photos are there; ")
    assert "got CALFW: protocol: every photo" in str(raised.value)
    assert "no protocol" not in str(raised.value)
    assert ".. " not in str(raised.value)
    assert "--allow-partial" in str(raised.value)


def test_protocols_of_one_name_are_distinguished_by_their_photos(suite: Path) -> None:
    write_bin(suite / "suite/calfw.bin", [picture(0)] * 20, [True, False] * 5)
    planned, missing = plan(suite, allow_partial=True)
    assert planned["CALFW"].protocol.name == "calfw"
    planned, missing = plan(suite)
    assert "calfw.bin has 72 pairs in 10 folds; got 10 pairs" in missing["calfw.bin"]
    write_pairs(suite / "suite/calfw.csv")
    assert "must hold one protocol that names photos" in plan(suite, allow_partial=True)[1]["CALFW"]


def test_what_cannot_run_is_named_with_the_reason(suite: Path) -> None:
    write_pairs(suite / "suite/glasses.csv")  # no set of that name
    (suite / "suite/masks.csv").write_text("photo,person\na.jpg,b\n")  # the name of a set, and no list
    (suite / "suite/b/notes.txt").write_text("nothing about pairs")
    write_bin(suite / "suite/hats.bin", [picture(0)] * 20, [True, False] * 5)  # no set: it is not even read
    missing = plan(suite)[1]
    assert "must hold an aligned set called glasses" in missing["glasses"]
    assert "faceverif align PHOTOS glasses" in missing["glasses"]
    assert "got first line 'photo,person'" in missing["masks"]
    assert not {"notes", "hats", "b/notes.txt"} & missing.keys()


def test_a_list_is_never_a_benchmark_whose_pairs_it_does_not_hold(suite: Path) -> None:
    sets = []
    lines = [f"Ann\t{number}\t{number + 1}" for number in range(1, 301)]
    lines += [f"Ann\t{number}\tBob\t{number}" for number in range(1, 301)]
    for _ in range(10):
        sets += lines
    for name in ("lfw/pairs.txt", "xqlfw_pairs.txt", "lfw.txt"):
        (suite / "suite" / name).parent.mkdir(exist_ok=True)
        (suite / "suite" / name).write_text("\n".join(["10\t300", *sets]))
    write_pairs(suite / "suite/cfp_ff.csv")
    lists = find_lists(suite / "suite", [], allow_partial=False)
    titles = {str(each.path.relative_to(suite / "suite")): (each.title, each.called) for each in lists}
    assert titles["lfw/pairs.txt"] == ("lfw/pairs.txt", "lfw")
    assert titles["xqlfw_pairs.txt"] == ("XQLFW", "xqlfw")
    assert titles["lfw.txt"] == ("lfw.txt", "lfwtxt")
    assert titles["cfp_ff.csv"] == ("cfp_ff.csv", "cfpffcsv")
    assert titles["b/calfw.csv"] == ("CALFW", "calfw")


def test_each_protocol_has_a_folder_of_its_own() -> None:
    titles = ["LFW", "lfw/pairs.txt", "lfw pairs txt", "..", "AgeDB-30"]
    folders = folders_of(titles)
    assert folders["AgeDB-30"] == "agedb-30"
    assert len(set(folders.values())) == len(titles)
    assert not any(set(name) & set("./ ") for name in folders.values())


# --- names


def test_protocols_are_known_by_name_and_content(tmp_path: Path) -> None:
    pair = "A\t1\t2\nA\t1\tB\t1\nB\t1\t2\nA\t1\tB\t1\n"
    files = {
        "lfw/pairs.txt": f"2\t1\n{pair}",
        "lfw/pairsDevTest.txt": f"2\n{pair}",
        "lfw/pairsDevTrain.txt": f"2\n{pair}",
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
    lists = find_lists(tmp_path, [], allow_partial=False)
    found = {each.title: str(each.path.relative_to(tmp_path)) for each in lists}
    assert found == {
        "lfw/pairs.txt": "lfw/pairs.txt",
        "pairsDevTest": "lfw/pairsDevTest.txt",
        "CALFW": "calfw/pairs_CALFW.txt",
        "AgeDB-30": "AgeDB-30.csv",
        "CPLFW": "cplfw.bin",
        "CFP-FP": "Protocol/Split/FP",
    }
    with pytest.raises(InputError, match="--suite: must be a folder with lists of pairs"):
        find_lists(tmp_path / "nowhere", [], allow_partial=False)


def test_linked_folders_of_protocols_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/Split/FF/01").mkdir(parents=True)
    (tmp_path / "elsewhere/Split/FF/01/same.txt").write_text("1,1\n")
    (tmp_path / "elsewhere/calfw.csv").write_text("left,right,same\n")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite/linked").symlink_to(tmp_path / "elsewhere")
    linked = tmp_path / "suite/linked"
    (tmp_path / "elsewhere/up").symlink_to(tmp_path)
    lists = find_lists(tmp_path / "suite", [], allow_partial=False)
    found = {each.title: each.path for each in lists}
    assert found == {"CFP-FF": linked / "Split/FF", "CALFW": linked / "calfw.csv"}
    assert len(lists) == 2


def test_an_aligned_set_belongs_to_the_benchmark_that_its_name_begins_with(tmp_path: Path) -> None:
    sets = [tmp_path / name for name in ("lfw-112", "calfw", "cfp", "cfp_fp", "agedb_30-112")]
    belongs = {benchmark: set_of(letters(benchmark), sets) for benchmark in BENCHMARKS}
    names = {benchmark: path.name if path else None for benchmark, path in belongs.items()}
    assert names == {
        "LFW": "lfw-112",
        "CALFW": "calfw",
        "CFP-FF": "cfp",
        "CPLFW": None,
        "CFP-FP": "cfp_fp",
        "AgeDB-30": "agedb_30-112",
    }
    with pytest.raises(InputError, match="must hold one aligned set for lfw"):
        set_of("lfw", [*sets, tmp_path / "lfw-128"])
    assert set_of("lfwmasked", sets) is None  # photos of the same names, and others
    assert set_of("lfw", [tmp_path / "lfw-masked"], others={"lfwmasked"}) is None
    assert set_of("rfwafrican", [*sets, tmp_path / "rfw-112"]) == tmp_path / "rfw-112"
    with pytest.raises(InputError, match="made by `faceverif align`, or one that holds some"):
        find_aligned_sets([tmp_path])


def test_a_set_named_after_another_benchmark_is_not_taken(suite: Path) -> None:
    for name in ("xqlfw", "mlfw-112"):
        write_faces(suite / "aligned" / name, people=1)
    sets = find_aligned_sets([suite / "aligned"])
    found = {called: set_of(called, sets) for called in ("lfw", "xqlfw", "mlfw", "sllfw")}
    names = {called: path.name if path else None for called, path in found.items()}
    assert names == {"lfw": None, "xqlfw": "xqlfw", "mlfw": "mlfw-112", "sllfw": None}


def test_lfws_list_serves_talfw_and_lfws_photos_serve_sllfw(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/masks_hard.csv", "b/masks_easy.csv", "b/calfw.csv"):
        (suite / "suite" / name).unlink()
    protocol = protocol_alone(write_pairs(suite / "suite/b/pairs.csv"))
    printed = fingerprint(protocol.left, protocol.right, protocol.same, np.arange(72) * 10 // 72)
    monkeypatch.setitem(own_lists._OWN, printed, "lfw-view2")
    monkeypatch.setitem(BENCHMARKS, "LFW", ProtocolSize(pairs=72, folds=10))
    monkeypatch.setitem(FURTHER_BENCHMARKS, "SLLFW", ProtocolSize(pairs=48, folds=2))
    genuine = [f"P{one:02d}/P{one:02d}_0001.jpg\nP{one:02d}/P{one:02d}_0002.jpg" for one in range(12)]
    impostors = [
        f"P{one:02d}/P{one:02d}_0001.jpg\nP{one - 1:02d}/P{one - 1:02d}_0002.jpg" for one in range(1, 12)
    ]
    impostors.append("P00/P00_0001.jpg\nP11/P11_0002.jpg")
    (suite / "suite/pair_SLLFW.txt").write_text("\n".join([*genuine, *impostors] * 2))
    write_faces(suite / "aligned/lfw")
    assert plan(suite)[0]["SLLFW"].dataset.root == suite / "aligned/lfw"
    assert "TALFW" not in plan(suite)[0]
    write_faces(suite / "aligned/talfw-112")
    planned, _ = plan(suite)
    assert planned["LFW"].protocol.name == "lfw-view2"
    assert planned["TALFW"].protocol.name == "talfw"
    assert planned["TALFW"].dataset.root == suite / "aligned/talfw-112"
    reading = "LFW's own pairs, of TALFW's adversarial photos, as the folder of the photos says"
    assert planned["TALFW"].protocol.reading == reading
