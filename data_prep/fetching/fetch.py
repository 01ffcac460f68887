"""Fetches data sets from their authors' addresses: announced first, resumed, verified, unpacked safely."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from data_prep.errors import InputError
from data_prep.fetching.known_sets import UNKNOWN, KnownSet, RemoteFile
from data_prep.fetching.unpack import unpack
from data_prep.file_hash import file_hash
from data_prep.lock import filled
from data_prep.progress import progress, say
from data_prep.system_errors import naming_full_disk

_TIMEOUT_S = 60
_BLOCK = 2**20


def plan_text(known: KnownSet, out: Path) -> str:
    """What fetching a set would do: where it is, its terms, each file with address, size and checksum."""
    lines = [known.title, f"page      {known.page}", f"terms     {known.terms}"]
    if known.photos is not None:
        lines.append(f"whole     {known.size_text()}")
    for file in known.files:
        size = UNKNOWN if file.size_bytes is None else f"{file.size_bytes:,} bytes"
        lines.append(f"file      {file.name}, size {size}")
        lines.append(f"          from {file.address or 'the page, by hand'}")
        lines.append(f"          {file.checksum or 'checksum ' + UNKNOWN} ({file.source})")
    if known.request is not None:
        return "\n".join([*lines, f"how       {known.request}", "Nothing is fetched."])
    return "\n".join([*lines, f"into      {out}"])


def fetch(known: KnownSet, out: Path) -> None:
    """Fetch what is not there yet, verify and unpack it; after an interruption, the same command continues.

    Args:
        known: a set whose files have addresses.
        out: the folder for them.

    Raises:
        InputError: `out` is a file, an address does not answer or sends less than it says, what it sends or
            what is there already is another file than is known, or an archive is not to be trusted.
    """
    with filled(out, command="faceverif data fetch"):
        for file in known.files:
            path = out / file.name
            if path.exists():
                _refuse_other(file, path)
            else:
                _download(file, path)
            if file.folder is not None and not (out / file.folder).exists():
                say(f"unpacking {path}")
                unpack(path, folder=file.folder)


def _download(file: RemoteFile, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    if file.checksum is None:
        part.unlink(missing_ok=True)  # the part could belong to another version
    try:
        _receive(file, part)
    except (URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        why = f"{error.code} {error.reason}" if isinstance(error, HTTPError) else str(error)
        raise _unfetched(file, "must answer", f"{type(error).__name__}: {why}") from error
    found = _other_digest(file, part)
    if found is not None:
        part.unlink()
        raise _unfetched(file, f"must send the file with {_checksum_text(file)}", found)
    os.replace(part, path)


def _refuse_other(file: RemoteFile, path: Path) -> None:
    """Verify a file that was there before, perhaps fetched by hand; it is never removed."""
    found = _other_digest(file, path)
    if found is not None:
        raise InputError(
            str(path),
            f"must be the file with {_checksum_text(file)}",
            got=found,
            fix="Move it away, and the same command fetches it again.",
        )


def _receive(file: RemoteFile, part: Path) -> None:
    """Append what is missing; start over where the server cannot send only the rest."""
    begun = part.stat().st_size if part.exists() else 0
    if file.size_bytes is not None and begun == file.size_bytes:
        return
    headers = {"User-Agent": "faceverif"} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        response = urlopen(Request(str(file.address), headers=headers), timeout=_TIMEOUT_S)
    except HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is missing, or the checksum will say so
    with response:
        begun = begun if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        expected = _length(response, begun)
        with naming_full_disk(part), part.open("ab" if begun else "wb") as target:
            for block in _blocks(response, file.name, begun=begun, expected=expected):
                target.write(block)
    if expected is not None and part.stat().st_size != expected:
        raise _unfetched(file, f"must send {expected:,} bytes", f"{part.stat().st_size:,} before it was cut")


def _length(response: Any, begun: int) -> int | None:
    """The whole file's length; None where the server does not say."""
    rest = response.headers.get("Content-Length")
    return begun + int(rest) if rest is not None and rest.isdecimal() else None


def _blocks(response: Any, name: str, *, begun: int, expected: int | None) -> Iterator[bytes]:
    with progress(f"fetch {name}", total=(expected or begun) - begun, unit="bytes") as advance:
        while block := response.read(_BLOCK):
            yield block
            advance(len(block), "")


def _other_digest(file: RemoteFile, path: Path) -> str | None:
    """The digest of a file that is not the known one; None where it is, or where none is known.

    Says the sha256, so that it can be compared with others'.
    """
    say(f"{file.name}: sha256 {file_hash(path)}")
    if file.checksum is None:
        say(f"{file.name}: no checksum is known to compare with")
        return None
    method, _, known = file.checksum.partition(":")
    found = file_hash(path, method)
    return None if found == known else found


def _checksum_text(file: RemoteFile) -> str:
    return str(file.checksum).replace(":", " ")


def _unfetched(file: RemoteFile, rule: str, got: str) -> InputError:
    return InputError(
        str(file.address),
        rule,
        got=got,
        fix="Run the same command again: it continues. Or fetch the file by hand from the page.",
    )
