"""The command line: help comes at once, and what the user can fix is one line and exit code 2."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from data_prep.alignment import find_template
from data_prep.alignment.base import Template
from data_prep.alignment.landmarks import LandmarkTemplate
from data_prep.dataset.manifest import MANIFEST_NAME, Status, header_for, write_manifest
from faceverif.cli import main
from faceverif.cli.app import command_line, continues
from faceverif.cli.torchrun import report_failure

pytestmark = pytest.mark.usefixtures("small_inputs")

COMMANDS = (
    "align",
    "train",
    "classify",
    "experiment",
    "embed",
    "verify",
    "rank",
    "compare",
    "identify",
    "calibrate-rejection",
    "report",
    "data",
    "fit-faces",
    "synthesise",
    "demo",
    "reject",
    "import",
)

CONFIG = """
data: {{path: {data}}}
backbone: {{name: mobilefacenet, embedding_dim: 16, input_px: 32}}
head: {{name: cosface}}
optimizer: {{name: sgd, learning_rate: 0.1}}
schedule: {{name: cosine}}
training: {{epochs: 1, batch_size: 2, workers: 1}}
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["faceverif", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "target", "says"),
    [
        (
            ("align", "my photos", "out"),
            "data_prep.prepare.align_folder.align_folder",
            "To continue: faceverif align 'my photos' out",
        ),
        (
            ("data", "check", "my photos"),
            "data_prep.check.check",
            "To start again: faceverif data check 'my photos'",
        ),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_how_to_continue_or_start_again(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    arguments: tuple[str, ...],
    target: str,
    says: str,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(number)

    at_start = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell's `&`
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, at_start))
    before = signal.getsignal(signal.SIGTERM)
    Path("my photos").mkdir()
    Path("my photos/1.jpg").touch()
    monkeypatch.setattr(target, interrupted)
    assert run_main(monkeypatch, *arguments) == 130
    assert capsys.readouterr().err.splitlines()[-1] == f"faceverif: interrupted. {says}"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["verify", "--protocol", "ijb", "--data", "x"], True),
        (["rank", "--data", "x", "--protocol=ijb/meta"], True),
        (["verify", "--protocol", "pairs.txt"], False),
        (["verify", "--protocol"], False),
        (["embed", "--on", "ray"], True),
        (["embed", "--on=ray"], True),
        (["embed", "--on", "this-machine"], False),
        (["train", "run.yaml", "--run", "x"], True),
        (["data", "audit", "a"], True),
        (["data", "export", "a"], False),
        (["verify", "--data", "train"], False),
        (["data"], False),
        ([], False),
        (["--help"], False),
    ],
)
def test_which_commands_continue(arguments: list[str], expected: bool) -> None:
    Path("ijb/meta").mkdir(parents=True)
    Path("ijb/meta/ijbc_face_tid_mid.txt").touch()
    assert continues(arguments) is expected


@pytest.mark.parametrize(
    "words",
    [
        "app --model {}",
        "serve --model {}",
        "compare --model {}",
        "export --model {} --to onnx --out x.onnx",
        "calibrate-rejection --model {}",
        "hub push {} anna/model",
    ],
)
def test_a_models_file_stands_for_its_folder_where_guard_and_thresholds_lie(words: str) -> None:
    Path("runs/first").mkdir(parents=True)
    Path("runs/first/model.safetensors").touch()
    *group, name, rest = words.split(maxsplit=2 if words.startswith("hub") else 1)
    command = command_line()
    for word in [*group, name]:
        command = command.commands[word]
    parsed = command.make_context(name, rest.format("runs/first/model.safetensors").split()).params["model"]
    assert parsed in (Path("runs/first"), [Path("runs/first")])


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a refused command's error; it must end with code 2 and leave the folder as it was.

    Above it may stand what the command began with.
    """
    before = sorted(Path().rglob("*"))
    assert run_main(monkeypatch, *arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    *begun, error = errors.splitlines()
    assert len(begun) <= 1, errors
    assert not any(line.startswith("faceverif: ") for line in begun), errors
    assert error.startswith("faceverif: ")
    assert sorted(Path().rglob("*")) == before
    return f"{error}\n"


def write_dataset(root: Path, identities: list[str], template: Template | None = None) -> Path:
    """Grey crops, one per entry of `identities`."""
    root.mkdir()
    rows = []
    for number, identity in enumerate(identities):
        Image.new("RGB", (112, 112), "grey").save(root / f"{number}.png")
        row = {"photo": f"{identity}/{number}.png", "identity": identity, "crop": f"{number}.png"}
        rows.append(row | {"status": Status.ALIGNED.value, "width": 112, "height": 112, "faces": 1})
    header = header_for(template or find_template("arcface-112"), policy="test", min_face_px=20)
    write_manifest(root, header, rows)
    return root


def write_config(data: str, more: str = "") -> str:
    Path("run.yaml").write_text(CONFIG.format(data=data) + more)
    return "run.yaml"


def test_help_names_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it imports nothing heavy is in tests/test_imports.py; its time, in benchmarks/answers.py."""
    assert run_main(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert all(f" {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "data check", "data fetch", "data audit"])
def test_every_command_has_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run_main(monkeypatch, *command.split(), "--help") == 0
    assert f"faceverif {command}" in capsys.readouterr().out.replace("Usage: pytest", "Usage: faceverif")


@pytest.mark.parametrize(
    "arguments",
    [
        ("repair",),
        ("align",),
        ("align", "photos", "out", "--workers", "many"),
        ("align", "photos", "out", "--workers", "-1"),
        ("align", "photos", "out", "--min-face", "3"),
        ("train", "run.yaml"),
        ("synthesise", "out", "--identities", "0"),
        ("verify", "--data", "photos"),
        ("embed", "--data", "photos"),
        ("compare", "photos", "photos", "--far", "2"),
        ("report", "run", "--colour"),
        ("data", "export", "aligned", "out", "--format", "lmdb"),
    ],
)
def test_usage_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    Path("photos").mkdir()
    assert refusal(monkeypatch, capsys, *arguments).endswith(". Add --help to see what the command takes.\n")


def test_a_command_alone_prints_its_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "data") == 2
    output, errors = capsys.readouterr()
    assert "Check, fetch, audit and export data. Make lists" in output + errors
    assert "faceverif: " not in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("align", "nowhere", "out"), "nowhere"),
        (("align", "photos", "out", "--template", "arcface-99"), "arcface-112"),
        (("train", "nowhere.yaml", "--run", "run"), "nowhere.yaml"),
        (("embed", "--data", "nowhere", "--out", "e.parquet", "--run", "nowhere"), "nowhere"),
        (
            ("verify", "--model=m", "--data=photos", "--data=photos", "--protocol=photos", "--out=o"),
            "got 2 times --data",
        ),
        (
            ("embed", "--data", "photos", "--out", "e.parquet", "--onnx", "photos/someone/1.jpg"),
            "or an .onnx file; got photos/someone/1.jpg",
        ),
        (("report", "photos", "--out", "o"), "Run: faceverif report photos OTHER --out o"),
        (("report", "photos", "photos"), "Run: faceverif report photos photos --out runs/comparison"),
        (("data", "export", "nowhere", "out", "--format", "webdataset"), "faceverif align"),
        (("compare", "a.jpg", "b.jpg", "--run", "nowhere"), "nowhere"),
        (("report", "nowhere"), "nowhere"),
        (("fit-faces", "--data", "nowhere", "--out", "m.npz"), "faceverif align"),
        (("synthesise", "out", "--model", "nowhere.npz"), "faceverif fit-faces"),
        (("synthesise", "out", "--seed", "-1"), "--seed"),
        (("data", "check", "nowhere"), "nowhere"),
        (("data", "fetch", "lwf"), "casia-webface"),
    ],
)
def test_missing_files_and_bad_values_are_one_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    Path("photos", "someone").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save("photos/someone/1.jpg")
    Path("m").mkdir()
    Path("m", "model.safetensors").touch()
    assert says in refusal(monkeypatch, capsys, *arguments)


def test_a_full_disk_is_one_line_and_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failures.pop()

    above = RuntimeError("enforce fail")  # as torch does it
    above.__context__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    failures: list[Exception] = [ZeroDivisionError("a bug"), above, above.__context__]
    Path("photos").mkdir()
    Path("photos/1.jpg").touch()
    monkeypatch.setattr("data_prep.prepare.align_folder.align_folder", fail)
    for _ in range(2):
        assert "disk is full. Free some space. To continue: faceverif align photos out" in refusal(
            monkeypatch, capsys, "align", "photos", "out"
        )
    monkeypatch.setattr(sys, "argv", ["faceverif", "align", "photos", "out"])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main()


def test_a_set_that_is_not_whole_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/someone").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save("photos/someone/1.jpg")
    assert run_main(monkeypatch, "data", "check", "photos") == 0
    Path("photos/someone/2.jpg").touch()
    assert run_main(monkeypatch, "data", "check", "photos") == 1
    assert "someone/2.jpg\nnot whole\n" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("lfw",), ("agedb", "--accept")])
def test_nothing_is_fetched_without_consent_or_where_a_request_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    def fetch(*_: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("data_prep.fetching.fetch.fetch", fetch)
    assert run_main(monkeypatch, "data", "fetch", *arguments) == 0
    assert "Nothing is fetched" in capsys.readouterr().out
    assert not list(Path().iterdir())
    with pytest.raises(AssertionError, match="fetched"):
        run_main(monkeypatch, "data", "fetch", "lfw", "--accept")


@pytest.mark.parametrize("out", ["file", "file/lfw"])
@pytest.mark.parametrize("accept", [[], ["--accept"]], ids=["plan", "accept"])
def test_a_set_is_not_fetched_into_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str, accept: list[str]
) -> None:
    Path("file").write_text("mine")
    line = refusal(monkeypatch, capsys, "data", "fetch", "lfw", "--out", out, *accept)
    assert line == "faceverif: --out: must be a folder; got the file file. Name another one.\n"


def test_a_folder_without_people_cannot_be_aligned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos").mkdir()
    assert "photos" in refusal(monkeypatch, capsys, "align", "photos", "out")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("trainig: 3\n", "training"),
        ("seed: many\n", "seed"),
        ("seed: [\n", "YAML"),
    ],
    ids=["key", "value", "syntax"],
)
def test_a_wrong_yaml_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: str, says: str
) -> None:
    config = write_config("aligned", more)
    assert says in refusal(monkeypatch, capsys, "train", config, "--run", "run")


def test_a_wrong_override_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config("aligned")
    line = refusal(monkeypatch, capsys, "train", config, "--run", "run", "--set", "head.marign=0.4")
    assert "head.margin" in line


@pytest.mark.parametrize("identities", [[], ["only"] * 4], ids=["empty", "one identity"])
def test_nothing_to_train_on_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], identities: list[str]
) -> None:
    write_dataset(Path("aligned"), identities)
    config = write_config("aligned")
    assert "two people" in refusal(monkeypatch, capsys, "train", config, "--run", "run")


def test_a_face_model_needs_two_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(Path("aligned"), ["only"] * 4)
    run_main(monkeypatch, "data", "export", "aligned", "shards", "--format", "webdataset")
    capsys.readouterr()
    for data in ("aligned", "shards"):
        arguments = ("--data", data, "--out", "m.npz", "--components", "2")
        assert "two people" in refusal(monkeypatch, capsys, "fit-faces", *arguments)


def test_a_verification_in_another_template_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(Path("aligned"), ["a", "a", "b", "b"])
    write_dataset(Path("wider"), ["a", "a", "b", "b"], find_template("arcface-128"))
    pairs = ("a/0.png,a/1.png,1", "b/2.png,b/3.png,1", "a/0.png,b/2.png,0", "a/1.png,b/3.png,0")
    Path("pairs.csv").write_text("\n".join(["left,right,same", *pairs]))
    verification = "verification: [{name: pairs, data: wider, protocol: pairs.csv}]\n"
    config = write_config("aligned", verification)
    assert "template" in refusal(monkeypatch, capsys, "train", config, "--run", "run")


def test_the_photos_of_a_verification_are_named_as_such_where_they_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(Path("aligned"), ["a", "a", "b", "b"])
    config = write_config("aligned", "verification: [{name: own, data: nowhere, protocol: pairs.csv}]\n")
    line = refusal(monkeypatch, capsys, "train", config, "--run", "run", "--dry-run")
    assert line.startswith("faceverif: verification.0.data: there is no such file or folder; got nowhere.")
    Path("nowhere").mkdir()
    Path("pairs.csv").touch()
    line = refusal(monkeypatch, capsys, "train", config, "--run", "run", "--dry-run")
    assert line.startswith("faceverif: verification.own.data: must be a folder made by `faceverif align`")
    assert "train.rec or WebDataset shards of crops; got nowhere." in line


def test_a_manifest_with_anothers_geometry_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = LandmarkTemplate("arcface-112", 112, ((30.0, 50.0),) * 5)
    write_dataset(Path("aligned"), ["a", "b"], moved)
    config = write_config("aligned")
    assert "geometry" in refusal(monkeypatch, capsys, "train", config, "--run", "run")


def test_a_damaged_manifest_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(Path("aligned"), ["a", "b"])
    Path("aligned", MANIFEST_NAME).write_bytes(b"PAR1 cut short")
    config = write_config("aligned")
    assert "manifest" in refusal(monkeypatch, capsys, "train", config, "--run", "run")


def test_the_version_names_code_and_torch_without_importing_it() -> None:
    program = (
        "import sys; from faceverif.cli import main\n"
        "try: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, "--version"], capture_output=True, check=True, text=True
    )
    assert re.fullmatch(
        r"faceverif \S+ \((commit [0-9a-f]+\+?|not a git checkout)\), torch \S+\n", finished.stdout
    )
    assert finished.stderr == "False\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_commands(shell: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "from faceverif.cli import main; main()", "--show-completion", shell],
        capture_output=True,
        check=True,
        text=True,
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "COMPLETE" in finished.stdout


def test_the_first_process_of_a_torchrun_to_fail_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for rank in (1, 0):
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / f"attempt_0/{rank}/error.json"))
        assert run_main(monkeypatch, "align", "nowhere", "out") == 2
        line = capsys.readouterr().err
        assert line.count("SOURCE: there is no such file") == rank  # 1 comes first
        about = json.loads((tmp_path / f"attempt_0/{rank}/error.json").read_text())
        assert about["message"]["message"].startswith("SOURCE: ")


def test_an_error_after_another_process_of_a_torchrun_failed_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer")

    Path("photos").mkdir()
    monkeypatch.setattr("data_prep.check.check", fail)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "attempt_0/0/error.json"))
    assert report_failure("data.path: is broken")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "attempt_0/1/error.json"))
    assert run_main(monkeypatch, "data", "check", "photos") == 1
    assert capsys.readouterr().err == ""
