"""Data that lie elsewhere: addresses such as s3://bucket/shards, and reading them by range.

An address travels through the program as a `Path`. pathlib writes one slash of it less, `s3:/bucket/shards`;
`address_of` gives it back its two. s3 and gs are read by pyarrow's own clients, every other scheme by the
fsspec file system of that name, where it is installed. Credentials are those of the environment: AWS's
variables and files, Google's application default credentials. AWS_ENDPOINT_URL names another S3 server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.errors import InputError, first_line

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")  # two letters or more: `c:` is a disk of Windows
_READ_AHEAD = 2**23  # bytes of a stream
_AT_ONCE = 16  # requests on their way
_ATTEMPTS = 6  # of a request, with growing pauses: half a minute in all
_PATIENCE_S = 30  # of Google's client, which would try for 15 minutes
_CHECK = (
    "Check the address, its bucket, the credentials in the environment, and AWS_ENDPOINT_URL if you set it."
)


class RemoteFile(NamedTuple):
    """A file of a storage.

    Attributes:
        path: its address.
        size: bytes.
        written_ns: when it was written, in nanoseconds since 1970; 0 where the storage does not say.
    """

    path: Path
    size: int
    written_ns: int


def address_of(path: Path) -> str | None:
    """The address that a path stands for; None for a path of this machine's own disks."""
    found = _ADDRESS.fullmatch(path.as_posix())
    if found is None:
        return None
    scheme, rest = found.groups()
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def files_at(path: Path, *, field: str) -> list[RemoteFile]:
    """The files right in a folder of a storage, sorted by name; or the one file that the address names.

    Raises:
        InputError: nothing is there, the storage does not answer, or no such address can be read.
    """
    from pyarrow import fs

    with _opening(path, field=field):
        system, place = _opened(path)
        about = system.get_file_info(place)
        if about.type == fs.FileType.NotFound:
            raise InputError(field, "there is nothing at this address", got=address_of(path), fix=_CHECK)
        found = [about] if about.is_file else system.get_file_info(fs.FileSelector(place))
    return sorted(
        RemoteFile(path if about.is_file else path / each.base_name, each.size, each.mtime_ns or 0)
        for each in found
        if each.is_file
    )


def read_ranges(ranges: Iterable[tuple[Path, int, int]]) -> Iterator[bytes]:
    """The bytes of each (address, offset, size), in their order, several requests at a time.

    Fewer bytes, or none, where a file has become shorter or cannot be read: `refuse_changed` says why.
    """
    wanted = list(ranges)
    if len(wanted) < 2:
        yield from map(_read_range, wanted)
        return
    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted))) as pool:
        yield from pool.map(_read_range, wanted)


def _read_range(wanted: tuple[Path, int, int]) -> bytes:
    path, offset, size = wanted
    try:
        system, place = _opened(path)
        with system.open_input_file(place) as file:
            size = max(0, min(size, file.size() - offset))
            return file.read_at(size, offset) if size else b""
    except OSError:
        return b""


@contextmanager
def open_stream(path: Path) -> Iterator[Any]:
    """A file of a storage from its beginning, with 8 MiB of it in memory.

    Raises:
        InputError: the storage refuses, or stops to answer.
    """
    with _opening(path, field="data"):
        system, place = _opened(path)
        stream = system.open_input_stream(place, buffer_size=_READ_AHEAD)
    with _answering(path, field="data"), stream:
        yield stream


@contextmanager
def open_file(path: Path, *, field: str) -> Iterator[Any]:
    """A file of a storage for reading anywhere in it.

    Errors of what is done with it pass through: a parser may raise the same ones for a damaged file as the
    storage for a lost connection. `files_at` tells whether it still answers.

    Raises:
        InputError: the storage refuses, or does not answer.
    """
    with _opening(path, field=field):
        system, place = _opened(path)
        file = system.open_input_file(place)
    with file:
        yield file


def refuse_changed(known: RemoteFile) -> None:
    """Refuse a file that is gone, or is no longer the one that was indexed.

    Raises:
        InputError: it is; or the storage does not answer.
    """
    if files_at(known.path, field="data") != [known]:
        raise InputError(
            "data",
            "a file must stay as it is while it is in use",
            got=f"{address_of(known.path)}, which has changed since it was indexed",
            fix="Start the same command again: it indexes that file anew.",
        )


def _opened(path: Path) -> tuple[Any, str]:
    """The file system of an address, and the place in it."""
    scheme, rest = str(address_of(path)).split("://", 1)
    return _file_system(scheme, os.getpid()), rest


@lru_cache
def _file_system(scheme: str, _process: int) -> Any:
    """One client per process: a client does not survive a fork."""
    from pyarrow import fs

    if scheme == "s3":
        return fs.S3FileSystem(
            endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        )
    if scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_PATIENCE_S))
    if scheme == "file":
        return fs.LocalFileSystem()
    import fsspec

    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))


@contextmanager
def _opening(path: Path, *, field: str) -> Iterator[None]:
    """Every trouble with an address or its storage as one line."""
    try:
        with _answering(path, field=field):
            yield
    except InputError:
        raise
    except (ImportError, ValueError) as error:  # fsspec: a package is missing, or no such scheme is known
        raise InputError(
            field,
            "must be an address that this installation can read: s3://, gs://, file://, or that of an "
            "installed fsspec package",
            got=f"{address_of(path)} ({first_line(error)})",
            fix="Install the package that it names, or copy the data.",
        ) from error


@contextmanager
def _answering(path: Path, *, field: str) -> Iterator[None]:
    """What a storage refuses, or does not answer, as one line."""
    try:
        yield
    except OSError as error:
        raise InputError(
            field,
            "the storage must answer and allow reading",
            got=f"{address_of(path)} ({_reason(error)})",
            fix=_CHECK,
        ) from error


_REASONS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "does not exist": "there is no such bucket or file",
    "ACCESS_DENIED": "access denied: no credentials, or they do not allow it",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong",
    "OAuth2 access token": "access denied: no credentials of Google in the environment",
    "NETWORK_CONNECTION": "no connection",
    "Could not connect": "no connection",
}


def _reason(error: OSError) -> str:
    """What the storage says, in words; its own first line where it says something else."""
    text = str(error)
    return next((words for mark, words in _REASONS.items() if mark in text), first_line(error))
