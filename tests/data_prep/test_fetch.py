"""Fetching: resumed where cut, refused where the file is another, unpacked inside its folder."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.errors import InputError
from data_prep.fetching.fetch import fetch, plan_text
from data_prep.fetching.known_sets import KNOWN_SETS, KnownSet, RemoteFile, find_known_set
from data_prep.fetching.unpack import unpack

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """A server of one file, which may be cut, refuse ranges or be gone; it notes what was asked for."""

    content: bytes = CONTENT
    cut_after: int | None = None
    ranges: bool = True
    gone: bool = False
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.asked.append(asked)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if self.gone or begin >= len(self.content):
            request.send_error(404 if self.gone else 416)
            return
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(self.content) - begin))
        request.end_headers()
        end = len(self.content) if self.cut_after is None else begin + self.cut_after
        request.wfile.write(self.content[begin:end])


@pytest.fixture
def site() -> Iterator[Site]:
    here = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    here.address = f"http://127.0.0.1:{server.server_port}/file"
    yield here
    server.shutdown()
    server.server_close()


def known(site: Site, checksum: str | None = f"sha256:{SHA256}", *, folder: str | None = None) -> KnownSet:
    file = RemoteFile("file.bin", site.address, checksum, "the test", folder=folder)
    return KnownSet("set", "A set", "http://page", "none", files=(file,))


def test_a_file_arrives_whole_and_is_not_fetched_twice(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        fetch(known(site), tmp_path / "out")
    assert (tmp_path / "out/file.bin").read_bytes() == CONTENT
    assert site.asked == [None]
    assert f"sha256 {SHA256}" in capsys.readouterr().err


def test_a_cut_download_goes_on_where_it_was_cut(site: Site, tmp_path: Path) -> None:
    site.cut_after = 1_234_567
    with pytest.raises(InputError, match=r"must send 3,000,000 bytes; got 1,234,567 before it was cut"):
        fetch(known(site), tmp_path)
    assert not (tmp_path / "file.bin").exists()
    site.cut_after = None
    fetch(known(site), tmp_path)
    assert site.asked == [None, "bytes=1234567-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert not (tmp_path / "file.bin.part").exists()


def test_a_server_without_ranges_begins_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    site.ranges = False
    fetch(known(site), tmp_path)
    assert site.asked == ["bytes=1000-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_is_only_verified(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    fetch(known(site), tmp_path)
    assert site.asked == ["bytes=3000000-"]  # answered with 416
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_without_a_checksum_nothing_is_resumed_and_the_sha256_is_said(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"of another version")
    fetch(known(site, None), tmp_path)
    assert site.asked == [None]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    errors = capsys.readouterr().err
    assert SHA256 in errors
    assert "no checksum is known" in errors


@pytest.mark.parametrize("method", ["sha256", "md5"])
def test_another_file_than_is_known_is_refused_and_thrown_away(
    site: Site, tmp_path: Path, method: str
) -> None:
    other = hashlib.new(method, b"other").hexdigest()
    with pytest.raises(InputError, match=f"with {method} {other}"):
        fetch(known(site, f"{method}:{other}"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    fetch(known(site, f"{method}:{hashlib.new(method, CONTENT).hexdigest()}"), tmp_path)
    assert (tmp_path / "file.bin").exists()


def test_addresses_that_do_not_answer_are_one_error(site: Site, tmp_path: Path) -> None:
    site.gone = True
    with pytest.raises(InputError, match="404 Not Found"):
        fetch(known(site), tmp_path)
    site.address = "http://127.0.0.1:9/file"
    with pytest.raises(InputError, match="must answer"):
        fetch(known(site), tmp_path)


def test_where_nothing_arrives_no_folder_stays(site: Site, tmp_path: Path) -> None:
    site.gone = True
    with pytest.raises(InputError, match="404 Not Found"):
        fetch(known(site), tmp_path / "data/set")
    assert not list(tmp_path.iterdir())
    site.gone, site.cut_after = False, 1000
    with pytest.raises(InputError, match="got 1,000 before it was cut"):
        fetch(known(site), tmp_path / "data/set")
    assert (tmp_path / "data/set/file.bin.part").stat().st_size == 1000


def test_a_file_fetched_by_hand_is_verified_before_it_is_unpacked_and_stays(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "file.bin").write_bytes(tar_of(("set/a/1.jpg", b"one")))
    with pytest.raises(InputError, match=f"file.bin: must be the file with sha256 {SHA256}; got "):
        fetch(known(site, folder="set"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "file.bin"]
    assert site.asked == []


def test_an_archive_is_unpacked(site: Site, tmp_path: Path) -> None:
    site.content = tar_of(("set/a/1.jpg", b"one"), ("./set/b/2.jpg", b"two"))
    digest = hashlib.sha256(site.content).hexdigest()
    for _ in range(2):
        fetch(known(site, f"sha256:{digest}", folder="set"), tmp_path)
    assert (tmp_path / "set/b/2.jpg").read_bytes() == b"two"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "file.bin", "set"]


# --- unpacking


def tar_of(*files: tuple[str, bytes], extra: tarfile.TarInfo | None = None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if extra is not None:
            tar.addfile(extra)
    return target.getvalue()


def zip_of(*files: tuple[str, bytes], link: str | None = None) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as zipped:
        for name, content in files:
            zipped.writestr(name, content)
        if link is not None:
            info = zipfile.ZipInfo(link)
            info.external_attr = 0o120777 << 16
            zipped.writestr(info, "/etc/passwd")
    return target.getvalue()


def claiming(size_bytes: int) -> bytes:
    """A tar with one header and nothing of the file that it announces."""
    member = tarfile.TarInfo("set/large")
    member.size = size_bytes
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def damaged(packed: bytes) -> bytes:
    """The same with other bytes in the middle."""
    middle = len(packed) // 2
    return (
        packed[:middle] + bytes(byte ^ 255 for byte in packed[middle : middle + 20]) + packed[middle + 20 :]
    )


def special(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


GOOD = ("set/1.jpg", b"one")
_OUTSIDE = "must stay inside its folder"
_NO_FILE = "must hold files and folders only"
_OTHER = "must hold the folder set and nothing beside it"
_NOTHING = "must hold the folder set; got nothing"
_TORN = "must be a whole archive"
HOSTILE = {
    "up": (tar_of(GOOD, ("set/../../x", b"")), _OUTSIDE),
    "up at once": (tar_of(GOOD, ("../../x", b"")), _OUTSIDE),
    "absolute": (tar_of(GOOD, ("/tmp/x", b"")), _OUTSIDE),
    "drive": (tar_of(GOOD, ("C:/x", b"")), _OUTSIDE),
    "symbolic link": (tar_of(GOOD, extra=special("set/x", tarfile.SYMTYPE)), _NO_FILE),
    "link inside": (tar_of(GOOD, extra=special("set/x", tarfile.SYMTYPE, "1.jpg")), _NO_FILE),
    "hard link": (tar_of(GOOD, extra=special("set/x", tarfile.LNKTYPE)), _NO_FILE),
    "pipe": (tar_of(GOOD, extra=special("set/x", tarfile.FIFOTYPE)), _NO_FILE),
    "device": (tar_of(GOOD, extra=special("set/x", tarfile.CHRTYPE)), _NO_FILE),
    "zip up": (zip_of(GOOD, ("../../x", b"")), _OUTSIDE),
    "zip absolute": (zip_of(GOOD, ("/tmp/x", b"")), _OUTSIDE),
    "zip backslash": (zip_of(GOOD, ("set\\..\\..\\x", b"")), _OUTSIDE),
    "zip link": (zip_of(GOOD, link="set/x"), _NO_FILE),
    "another folder": (tar_of(GOOD, ("other/x", b"")), _OTHER),
    "beside the folder": (zip_of(GOOD, ("x", b"")), _OTHER),
    "nothing": (tar_of(), _NOTHING),
    "nothing in a zip": (zip_of(), _NOTHING),
    "cut": (tar_of(("set/1.jpg", CONTENT[:5000]))[:-2000], _TORN),
    "damaged gz": (damaged(tar_of(("set/1.jpg", CONTENT[:100_000]))), _TORN),
    "damaged xz": (damaged(lzma.compress(gzip.decompress(tar_of(("set/1.jpg", CONTENT[:100_000]))))), _TORN),
    "claims 4 GiB": (claiming(2**32), _TORN),
    "claims 2^60 bytes": (claiming(2**60), _TORN),
    "no archive": (b"<html>404 not found</html>", _TORN),
}


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_an_archive_that_cannot_be_trusted_writes_nothing(tmp_path: Path, content: bytes, said: str) -> None:
    archive = tmp_path / "in/file.bin"
    archive.parent.mkdir()
    archive.write_bytes(content)
    with pytest.raises(InputError, match=said):
        unpack(archive, folder="set")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "file.bin"]


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(zip_of(GOOD, ("set/b/", b"")))
    unpack(tmp_path / "file.bin", folder="set")
    assert (tmp_path / "set/1.jpg").read_bytes() == b"one"


@pytest.mark.parametrize("content", [tar_of(GOOD), zip_of(GOOD)], ids=["tar", "zip"])
def test_an_archive_larger_than_the_disk_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "file.bin").write_bytes(content)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2))
    with pytest.raises(InputError, match="must have room for 3 bytes; got 2 free"):
        unpack(tmp_path / "file.bin", folder="set")
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


# --- what is known


@pytest.mark.parametrize("name", KNOWN_SETS)
def test_every_known_set_says_where_it_is_and_how_to_get_it(name: str, tmp_path: Path) -> None:
    found = find_known_set(name)
    text = plan_text(found, tmp_path)
    assert found.page in text
    assert found.terms in text
    assert (found.request is None) == bool(found.files and all(file.address for file in found.files))
    for file in found.files:
        assert file.checksum is None or len(file.checksum) in (len("md5:") + 32, len("sha256:") + 64)


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="lfw, cfp"):
        find_known_set("lwf")


@pytest.mark.real_data
def test_the_pair_files_at_hand_are_those_that_are_known(shared: Path) -> None:
    files = [file for file in find_known_set("lfw").files if file.name.startswith("pairs")]
    assert len(files) == 3
    for file in files:
        content = (shared / "data/lfw" / file.name).read_bytes()
        assert file.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert file.size_bytes == len(content)
