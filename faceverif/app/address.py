"""Where the page is served, checked before anything heavy loads."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from data_prep.errors import InputError

# Names by which a machine reaches itself and nobody else does.
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Address:
    """Where the page is served.

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
    """A socket on the address, before anything heavy is loaded.

    Raises:
        InputError: the port is in use, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
        listening.listen(128)
    except PermissionError as error:
        listening.close()
        fix = "Use a port of 1024 or more."
        raise InputError("--port", "must be open to this user", got=address.port, fix=fix) from error
    except OSError as error:
        listening.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            fix = "Leave it out for 127.0.0.1, or use 0.0.0.0 for all of this machine's addresses."
            raise InputError(
                "--host", "must be an address of this machine", got=address.host, fix=fix
            ) from error
        fix = f"Give another: --port {address.port % 65535 + 1}, or 0 for any that is free."
        raise InputError("--port", "must be free", got=f"{address.port}, which is in use", fix=fix) from error
    return listening
