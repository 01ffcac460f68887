"""Files are there whole or not at all, leftovers go, and what the system refuses is one line."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from data_prep import atomic
from data_prep.atomic import files_whole, folder_whole, refuse_busy, refuse_file, write_text, written_whole
from data_prep.dataset.manifest import JOURNAL_NAME
from data_prep.errors import InputError
from data_prep.lock import filled
from data_prep.own_files import read_guarded
from data_prep.prepare.journal import Journal
from data_prep.prepare.workers import _write_crop
from data_prep.system_errors import disk_is_full, naming_full_disk, system_trouble
from faceverif.cli import entry
from faceverif.file_names import METRICS_NAME
from faceverif.training.logs.metrics_log import MetricsLog


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "first")

    def fail_in_a_file() -> None:
        with written_whole(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("second")
            raise RuntimeError

    def fail_in_a_folder() -> None:
        with folder_whole(tmp_path / "b") as unfinished:
            (unfinished / "1").touch()
            raise RuntimeError

    for fail in (fail_in_a_file, fail_in_a_folder):
        with pytest.raises(RuntimeError):
            fail()
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "first"


@pytest.mark.parametrize("write", [written_whole, folder_whole, files_whole])
def test_a_failed_write_leaves_no_new_folder(tmp_path: Path, write: Any) -> None:
    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "new/inner", tmp_path / "old"):
        with pytest.raises(RuntimeError), write(folder / "out"):
            raise RuntimeError
    assert names(tmp_path) == ["old"]
    assert names(tmp_path / "old") == []


def test_process_ids_may_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 3)
    with folder_whole(tmp_path / "sh") as one, folder_whole(tmp_path / "sh2") as other:
        assert one != other
        with written_whole(tmp_path / "x" / ("n" * 255)) as long:
            long.touch()
    assert names(tmp_path) == ["sh", "sh2", "x"]


@pytest.mark.parametrize("kind", ["written_whole", "folder_whole"])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path, kind: str
) -> None:
    write = getattr(atomic, kind)
    code = f"""
import sys
from pathlib import Path
from typing import NoReturn
from data_prep.atomic import {kind}
with {kind}(Path(sys.argv[1])) as unfinished:
    print(flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path / "out.npz")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        [theirs] = names(tmp_path)
        with write(tmp_path / "out.npz"):
            assert theirs in names(tmp_path)
        assert theirs in names(tmp_path)
        other.send_signal(signal.SIGKILL)
        other.wait(timeout=30)
    with write(tmp_path / "other.npz"):  # looks after its own leftovers only
        assert theirs in names(tmp_path)
    with write(tmp_path / "out.npz"):
        assert theirs not in names(tmp_path)
    assert names(tmp_path) == ["other.npz", "out.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
@pytest.mark.parametrize("write", [written_whole, folder_whole])
def test_what_another_process_writes_is_left_to_it(tmp_path: Path, write: Any) -> None:
    out = tmp_path / "e.parquet"
    with write(out) as unfinished:
        with pytest.raises(InputError, match=r"in use; got .*e\.parquet, which another `embed` is"):
            refuse_busy(out, command="embed")
        refuse_busy(tmp_path / "other.parquet", command="embed")
        if write is written_whole:
            unfinished.touch()
    refuse_busy(out, command="embed")
    (tmp_path / unfinished.name).touch()  # what a killed process left
    refuse_busy(out, command="embed")


def test_a_read_only_place_is_named_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # for root, no rights are missing
    rule = f"must be in a place where you may write; got {tmp_path}, which is read-only"
    with pytest.raises(InputError, match=rule):
        refuse_file(tmp_path / "a/b")
    with pytest.raises(InputError, match=rule), filled(tmp_path / "a", command="x"):
        pass
    monkeypatch.undo()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / ".lock"))

    monkeypatch.setattr("data_prep.lock.FileLock.acquire", refuse)
    with (
        pytest.raises(InputError, match="must be in a place where you may write"),
        filled(tmp_path, command="x"),
    ):
        pass


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("write", [written_whole, folder_whole])
def test_a_place_where_nothing_can_be_made_is_named_as_the_user_knows_it(write: Any) -> None:
    with pytest.raises(PermissionError) as refused, write(Path("/proc/faceverif.txt")):
        pass
    assert str(system_trouble(refused.value)).startswith("/proc/faceverif.txt cannot be written")


def chained(error: Exception) -> Exception:
    try:
        try:
            raise error
        except Exception as first:
            raise RuntimeError("the writer failed") from first
    except RuntimeError as second:
        return second


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full. Free some space"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "/mnt/a.txt"), "/mnt/a.txt cannot be written or read"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/.lock"),
            "/x/.lock cannot be written or read",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "/x/metrics.csv"),
            "/x/metrics.csv: Is a directory",
        ),
        (OSError(errno.EMFILE, "Too many open files", "/x"), "/x: Too many open files"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/x"), "/x: Too many levels of symbolic"),
        (RuntimeError("Symlink loop from '/x'"), "Symlink loop from '/x'. Remove that link"),
        (
            MemoryError(),
            "out of memory (MemoryError). Give it more, or less to do at once: a smaller batch, ",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 GiB"),
            "out of memory (CUDA out of memory. Tried to allocate). The GPU needs less to do at once: raise "
            "training.accumulate, ",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line_and_2(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(each: Exception) -> NoReturn:
        raise each

    monkeypatch.setattr(sys, "argv", ["faceverif", "align", "a", "b"])
    for each in (error, chained(error)):
        assert str(system_trouble(each)).startswith(line)
        # The file may be whole; a folder in its place is not.
        raised = InputError if isinstance(each, IsADirectoryError) else type(each)
        with pytest.raises(raised), read_guarded("data", "must be whole", got="a", fix="Remove it."):
            fail(each)
        monkeypatch.setattr(entry, "command_line", lambda each=each: lambda **_: fail(each))
        with pytest.raises(SystemExit, match="2"):
            entry.main()
        [said] = capsys.readouterr().err.splitlines()
        assert said.startswith(f"faceverif: {line}")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_that_belong_together_replace_the_earlier_ones_together(tmp_path: Path) -> None:
    def write(mark: str, figures: int, *, stops: bool = False) -> None:
        with files_whole(tmp_path / "out") as files:
            (files / "result.json").write_text(mark)
            (files / "figures").mkdir()
            for number in range(figures):
                (files / f"figures/{number}.svg").write_text(mark)
            if stops:
                raise full(errno.ENOSPC)
            (files / "report.html").write_text(mark)

    write("a", 2)
    (tmp_path / "out/.lock").touch()
    first = contents(tmp_path / "out")
    with pytest.raises(OSError, match="No space left") as stopped:
        write("b", 1, stops=True)
    assert f"the disk is full: {tmp_path / 'out'} needs" in str(system_trouble(stopped.value))
    assert contents(tmp_path / "out") == first
    write("c", 1)
    assert contents(tmp_path / "out") == {
        ".lock": "",
        "figures/0.svg": "c",
        "report.html": "c",
        "result.json": "c",
    }


def full(number: int) -> OSError:
    """As the system raises it from a write: without the file's name."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("write", [written_whole, folder_whole, naming_full_disk])
@pytest.mark.parametrize("raised", [lambda error: error, chained])
def test_a_full_disk_names_the_file_and_the_room(write: Any, raised: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as stopped, write(tmp_path / "new" / "m.onnx"):
        raise raised(full(errno.ENOSPC))
    said = rf"the disk is full: {tmp_path}/new/m\.onnx needs more than the [\d,]+\.\d MB that are free\. "
    assert re.match(said, str(system_trouble(stopped.value)))
    assert not list(tmp_path.rglob("*.onnx"))
    with pytest.raises(OSError, match="quota") as stopped, write(tmp_path / "m.onnx"):
        raise raised(full(errno.EDQUOT))
    assert f"quota is used up: no room for {tmp_path}/m.onnx" in str(system_trouble(stopped.value))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_writers_without_an_unfinished_file_name_it_too(tmp_path: Path) -> None:
    for name in ("crop.jpg", JOURNAL_NAME, METRICS_NAME):
        (tmp_path / name).symlink_to("/dev/full")
    journal, log = Journal(tmp_path / JOURNAL_NAME), object.__new__(MetricsLog)
    log._path, log._columns = tmp_path / METRICS_NAME, ["step"]
    writes: dict[str, Callable[[], Any]] = {
        "crop.jpg": lambda: _write_crop(tmp_path, "crop.jpg", b"x"),
        JOURNAL_NAME: lambda: journal.add([{"photo": "a", "reason": None}]),
        METRICS_NAME: lambda: log.write({"step": 1}),
    }
    for name, write in writes.items():
        with pytest.raises(OSError, match="No space left") as stopped:
            write()
        assert f"the disk is full: {tmp_path / name} needs" in str(system_trouble(stopped.value))
    with pytest.raises(OSError, match="No space left"):
        journal._file.close()


def test_memory_that_numpy_or_torch_cannot_get_is_reported() -> None:
    for take in (lambda: np.empty(2**55), lambda: torch.empty(2**55)):
        with pytest.raises((MemoryError, RuntimeError)) as failed:
            take()
        assert "out of memory" in str(system_trouble(failed.value))


def test_our_own_mistakes_stay_tracebacks() -> None:
    assert system_trouble(KeyError("head")) is None
    assert system_trouble(FileNotFoundError(errno.ENOENT, "No such file", "a")) is None
    assert not disk_is_full(None)


def put(folder: Path) -> None:
    folder.mkdir()
    (folder / "new.txt").touch()


@pytest.mark.parametrize(
    ("meanwhile", "left"),
    [
        (lambda out: None, []),
        (lambda out: put(out.parent / "b"), ["sets", "sets/b", "sets/b/new.txt"]),
        (lambda out: put(out / "c"), ["sets", "sets/a", "sets/a/.lock", "sets/a/c", "sets/a/c/new.txt"]),
        (lambda out: shutil.rmtree(out.parent), []),
    ],
)
def test_a_new_folder_that_stays_empty_is_removed_and_the_error_stays(
    meanwhile: Callable[[Path], None], left: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "sets" / "a"

    def fail() -> None:
        with filled(out, command="x"):
            meanwhile(out)
            raise InputError("field", "must be another", got=1, fix="Give another.")

    with pytest.raises(InputError, match="must be another"):
        fail()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == left
