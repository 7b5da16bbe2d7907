"""The sockets on which a server listens."""

import errno
import socket
from collections.abc import Sequence

from freshly.commands.errors import CommandFailed

ANY_IPV6 = "::"
MISSING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # the machine has no IPv6, or no IPv4


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for each address of the host. Clients are refused until the server listens.

    All have the same port, also if it is 0, for which the system chooses a free one. Raises
    CommandFailed, which names the setting.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CommandFailed(f"HOST: {host}: {error.strerror}") from error
    addresses = list(dict.fromkeys((family, str(where[0])) for family, *_, where in found))
    if host == ANY_IPV6:  # IPv4, too, in a socket of its own: its clients keep their addresses
        addresses.append((socket.AF_INET, "0.0.0.0"))  # noqa: S104 - as the operator asks
    bound: list[socket.socket] = []
    missing: OSError | None = None
    for family, address in addresses:
        try:
            bound.append(_bind(family, address, port_of(bound) if bound else port))
        except OSError as error:
            if error.errno not in MISSING:
                raise _refusal(host, port, error) from error
            missing = error
    if missing is not None and not bound:
        raise _refusal(host, port, missing) from missing
    return bound


def _bind(family: int, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made


def _refusal(host: str, port: int, error: OSError) -> CommandFailed:
    if error.errno == errno.EADDRINUSE:
        return CommandFailed(
            f"PORT: another program listens on port {port} of {host}; stop it, or choose another"
        )
    name = "PORT" if error.errno == errno.EACCES else "HOST"
    return CommandFailed(f"{name}: cannot listen on port {port} of {host}: {error.strerror}")


def port_of(sockets: Sequence[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1])


def url_of(host: str, sockets: Sequence[socket.socket]) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port_of(sockets)}"
