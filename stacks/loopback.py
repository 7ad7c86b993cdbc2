"""Whether a port of this computer is free, on loopback."""

from __future__ import annotations

import errno
import socket

_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # a computer without IPv6


def is_free(port: int) -> bool:
    """Whether nothing holds the port, on IPv4 and IPv6: `ssh -L localhost:PORT` takes both."""
    for family, address in _ADDRESSES:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                return False
    return True
