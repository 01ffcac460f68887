"""Where a page or a service listens, checked before anything heavy loads."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from data_prep.errors import InputError

# Names by which a machine reaches itself and nobody else does.
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_WAITING = 2048  # connections that the system holds until they are taken


@dataclass(frozen=True)
class Address:
    """Where something is served.

    Attributes:
        host: a name or an address of this machine.
        port: of it.
    """

    host: str
    port: int

    @property
    def own_machine(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK

    @property
    def url(self) -> str:
        """As a browser takes it."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def listen(address: Address) -> socket.socket:
    """A socket on the address that takes connections.

    Args:
        address: port 0 takes a free one.

    Raises:
        InputError: the port is in use or not allowed, or the host is none of this machine's.
    """
    host, port = address.host, address.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_WAITING)
    except PermissionError as error:
        fix = "Use a port of 1024 or more."
        raise InputError("--port", "must be open to this user", got=port, fix=fix) from error
    except (OSError, UnicodeError) as error:  # a name such as a..b cannot be encoded
        if isinstance(error, socket.gaierror | UnicodeError) or error.errno == errno.EADDRNOTAVAIL:
            fix = "Leave it out for 127.0.0.1, or use 0.0.0.0 for all of this machine's addresses."
            raise InputError("--host", "must be an address of this machine", got=host, fix=fix) from error
        fix = f"Give another: --port {port % 65535 + 1}, or 0 for any that is free."
        raise InputError("--port", "must be free", got=f"{port}, which is in use", fix=fix) from error
