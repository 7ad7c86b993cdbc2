"""Seats and servers of the tests' own, for what needs no rehearsal."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from provisioning import remote
from stacks.credentials import new_key
from stacks.outputs import HandOverSeat
from tests.conftest import Project

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


@contextmanager
def another_machine(running: Project, seat: str, **env: object) -> Iterator[None]:
    """The seat's machine with another environment, and no Jupyter that it does not name."""
    config = running.machine(seat) / "sshd_config"
    kept = config.read_text()
    words = {"HOME": f"{running.machine(seat)}/home", "PATH": "/usr/bin:/bin", "SEMINAR_MACHINE": running.machine(seat)}
    told = " ".join(f'{key}="{value}"' for key, value in {**words, **env}.items())
    lines = [line for line in kept.splitlines() if "SetEnv" not in line]
    config.write_text("\n".join([*lines, f"SetEnv {told}", ""]))
    pid = int((running.machine(seat) / "sshd.pid").read_text())
    os.kill(pid, signal.SIGHUP)
    time.sleep(0.5)
    try:
        yield
    finally:
        config.write_text(kept)
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.5)


@contextmanager
def reached_at(running: Project, seat: str, *ports: int) -> Iterator[None]:
    """The seat's machine as if its SSH were on these ports."""
    kept = running.state.read_text()
    state = json.loads(kept)
    for each in state["outputs"]["handover"]["seats"]:
        if each["id"] == seat:
            each["ssh_ports"] = list(ports)
    running.state.write_text(json.dumps(state))
    try:
        yield
    finally:
        running.state.write_text(kept)


class Proxy:
    """A way to a port of loopback that is long, slow, or breaks: the first `resets` connections after `after` bytes
    there, the first `answers_reset` after so many back.

    After `stalls` bytes of one direction (0 for never) it carries nothing more and stays open. `bytes_per_second` (0
    for no limit) and `late_seconds` hold for each direction of a connection. Used as a context.
    """

    def __init__(
        self,
        target: int,
        *,
        bytes_per_second: int = 0,
        late_seconds: float = 0,
        resets: int = 0,
        answers_reset: int = 0,
        after: int = 0,
        stalls: int = 0,
    ) -> None:
        self._stalls = stalls
        self._target = target
        self._bytes_per_second = bytes_per_second
        self._late_seconds = late_seconds
        self._resets = resets
        self._answers_reset = answers_reset
        self._after = after
        self.connections = 0
        self.carried = 0
        self._lock = threading.Lock()
        self._over_now = threading.Event()
        self._half_closed: set[frozenset[socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over_now.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            target = socket.create_connection(("127.0.0.1", self._target))
            for one, other, breaking in ((caller, target, self._resets), (target, caller, self._answers_reset)):
                limit = self._after if self.connections <= breaking else None
                threading.Thread(target=self._carry, args=(one, other, limit), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, limit: int | None) -> None:
        carried = 0
        under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        sender = threading.Thread(target=self._send, args=(under_way, other), daemon=True)
        sender.start()
        with contextlib.suppress(OSError):
            while data := one.recv(1024 if self._bytes_per_second else 65536):
                carried += len(data)
                self.carried += len(data)
                if limit is not None and carried > limit:
                    for end in (one, other):  # no orderly end: a reset, both ways
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        end.shutdown(socket.SHUT_RDWR)
                    break
                if self._bytes_per_second:
                    time.sleep(len(data) / self._bytes_per_second)
                if not self._stalls or carried <= self._stalls:
                    under_way.put((time.monotonic() + self._late_seconds, data))
                else:  # nothing is taken any more, either, so that what sends must wait
                    self._over_now.wait()
                    break
        under_way.put((time.monotonic() + self._late_seconds, b""))
        sender.join()
        self._over(one, other)

    def _send(self, under_way: queue.SimpleQueue[tuple[float, bytes]], other: socket.socket) -> None:
        while True:
            due, data = under_way.get()
            time.sleep(max(due - time.monotonic(), 0))
            if not data:
                return
            with contextlib.suppress(OSError):
                other.sendall(data)

    def _over(self, one: socket.socket, other: socket.socket) -> None:
        """One direction has ended: tell the other end, and close both once that holds for both directions."""
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
        with self._lock:
            self._half_closed ^= (pair := {frozenset((one, other))})
            if pair <= self._half_closed:
                return
        one.close()
        other.close()
