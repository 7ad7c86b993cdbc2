"""Seats and servers of the tests' own, for what needs no rehearsal."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from provisioning import remote
from stacks.credentials import new_key
from stacks.outputs import HandOverSeat

HOST_KEY = " ".join(new_key("host")[1].split()[:2])
ORGANISER = remote.read_key(new_key("organiser")[0])


def seat(*ports: int, id_: str = "ada", host: str = "127.0.0.1") -> HandOverSeat:
    return HandOverSeat(
        id=id_,
        name=f"Participant {id_}",
        machine=id_,
        host=host,
        ssh_ports=ports or (22,),
        user="ada",
        notebook_port=8888,
        local_port=8888,
        host_key=HOST_KEY,
    )


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that gives every caller to `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                with caller:
                    answer(caller)
                    with contextlib.suppress(OSError):  # what was not read would break the connection off
                        caller.shutdown(socket.SHUT_WR)
                        caller.settimeout(0.2)
                        while caller.recv(4096):
                            pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port of loopback that drops every packet: its queue of callers is full, and nobody takes them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        callers = []
        for _ in range(8):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
            callers.append(caller)
        try:
            yield port
        finally:
            for caller in callers:
                caller.close()


def closed_port() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
