"""Reaching machines: TCP, and the line with which an SSH server greets, for all seats at once in one thread.

A machine that is dead, boots or says nothing costs a timer here and neither a thread nor anybody else's time. What may
heal (refused, reset, silent) is tried again until the deadline, on every SSH port of the seat. Knows nothing of SSH but
its first line (RFC 4253, 4.2); logging in is remote.py's.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from stacks.errors import SeatError
from stacks.outputs import HandOverSeat

# How long the first port has for itself before the next is tried beside it: a venue that blocks 22 drops in silence.
_NEXT_PORT_SECONDS = 1.0
_PAUSES_SECONDS = (0.5, 1.0, 2.0)  # before the next try; the last is kept
GREETING = "SSH-2.0-Seminar"  # ours; said at once, so that the server goes on while its own is under way
_THEIRS = b"SSH-"
_MOST_BEFORE_GREETING = 8192
_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


@dataclass(frozen=True)
class Line:
    """An open connection to a seat's machine. Both sides have greeted; of the server's greeting nothing was read."""

    seat: HandOverSeat
    port: int
    sock: socket.socket


@dataclass
class _Call:
    """One seat that is being dialled."""

    seat: HandOverSeat
    began: float
    rounds: int = 0
    due: set[int] = field(default_factory=set)  # the ports that will be tried
    open: dict[socket.socket, int] = field(default_factory=dict)  # the ports that are being tried
    said: dict[int, bytes] = field(default_factory=dict)  # what they said that was no greeting
    faults: dict[int, str] = field(default_factory=dict)  # what each port did last


class Dialler:
    """Dials seats until each has a line or a reason why not. One thread calls `step`; any may call `wake`."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is what each machine has to greet, from when its seat is added, all tries together."""
        self._seconds = seconds
        self._selector = selectors.DefaultSelector()
        self._calls: dict[str, _Call] = {}
        # When, a tie-breaker, whose, and which port to try (-1: the deadline has come).
        self._timers: list[tuple[float, int, _Call, int]] = []
        self._count = 0
        self._ended: list[tuple[HandOverSeat, Line | SeatError]] = []
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)

    def __enter__(self) -> Dialler:
        return self

    def __exit__(self, *_: object) -> None:
        for call in self._calls.values():
            self._hang_up(call)
        self._selector.close()
        self._ear.close()
        self._mouth.close()

    def __len__(self) -> int:
        """How many seats are being dialled."""
        return len(self._calls)

    def younger_than(self, seconds: float) -> int:
        """How many seats are being dialled for less than so many seconds."""
        since = time.monotonic() - seconds
        return sum(call.began > since for call in self._calls.values())

    def wake(self) -> None:
        """Let `step` return soon. A full pipe has woken it already, a closed one has nobody to wake."""
        with contextlib.suppress(OSError):
            self._mouth.send(b"x")

    def add(self, seat: HandOverSeat, *, pause: float = 0.0) -> None:
        """Dial the seat, after a pause."""
        if not seat.host:
            told = "its machine has no address: it was not made, or is stopped"
            self._ended.append((seat, SeatError(f"{told}. Run `pulumi up --refresh`, having started it")))
            return
        now = time.monotonic()
        call = self._calls[seat.id] = _Call(seat, now + pause)
        self._at(now + pause + self._seconds, call, -1)
        self._begin(call, now + pause)

    def step(self, seconds: float | None = None) -> Iterator[tuple[HandOverSeat, Line | SeatError]]:
        """Wait until something happens, or for so many seconds; yields the seats that have ended, each once."""
        wait = seconds
        if self._timers:
            until = max(self._timers[0][0] - time.monotonic(), 0.0)
            wait = until if seconds is None else min(until, seconds)
        for key, _ in self._selector.select(0 if self._ended else wait):
            if key.fileobj is self._ear:
                with contextlib.suppress(BlockingIOError):
                    while self._ear.recv(4096):
                        pass
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in key.data.open:
                self._heard(key.data, key.fileobj)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, call, port = heapq.heappop(self._timers)
            if self._calls.get(call.seat.id) is call:
                self._expired(call) if port < 0 else self._try(call, port)
        ended, self._ended = self._ended, []
        yield from ended

    def _at(self, when: float, call: _Call, port: int) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, call, port))

    def _begin(self, call: _Call, when: float) -> None:
        """Try every port of the seat, the next a while after the one before."""
        for n, port in enumerate(call.seat.ssh_ports):
            call.due.add(port)
            self._at(when + n * _NEXT_PORT_SECONDS, call, port)

    def _try(self, call: _Call, port: int) -> None:
        call.due.discard(port)
        call.said.pop(port, None)
        try:
            # An address needs no look-up; a name is looked up while the others wait, which only hand-made seats have.
            ((family, kind, _, _, address), *_) = socket.getaddrinfo(call.seat.host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            return self._end(call, SeatError(f"the name {call.seat.host} is not known ({_words(error)})"))
        try:
            sock = socket.socket(family, kind)
        except OSError as error:
            return self._failed(call, port, f"can't be reached ({_words(error)})")
        sock.setblocking(False)
        call.open[sock] = port
        self._selector.register(sock, selectors.EVENT_WRITE, call)
        code = sock.connect_ex(address)
        if code not in _UNDER_WAY:
            self._drop(call, sock)
            self._failed(call, port, f"can't be reached ({os.strerror(code)})")
        return None

    def _heard(self, call: _Call, sock: socket.socket) -> None:
        """The connection is made, or was refused, or has said something, or has ended."""
        port = call.open[sock]
        if self._selector.get_key(sock).events == selectors.EVENT_WRITE:
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._drop(call, sock)
                return self._failed(call, port, f"can't be reached ({os.strerror(code)})")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):  # what broke is seen at once, when it is read
                sock.send(f"{GREETING}\r\n".encode())
            self._selector.modify(sock, selectors.EVENT_READ, call)
            return None
        try:
            said = sock.recv(_MOST_BEFORE_GREETING, socket.MSG_PEEK)
            if said.startswith(_THEIRS):
                self._selector.unregister(sock)
                del call.open[sock]
                sock.setblocking(True)
                return self._end(call, Line(call.seat, port, sock))
            if said:  # a server may say something before; the greeting begins a line
                sock.recv(said.find(b"\n" + _THEIRS) + 1 or len(said))
        except OSError as error:
            self._drop(call, sock)
            return self._failed(call, port, f"broke the connection off ({_words(error)})")
        before = call.said[port] = (call.said.get(port, b"") + said)[: _MOST_BEFORE_GREETING + 1]
        if said and len(before) <= _MOST_BEFORE_GREETING:
            return None
        self._drop(call, sock)
        return self._failed(call, port, _no_ssh(before) if before else "accepts the connection and ends it at once")

    def _failed(self, call: _Call, port: int, fault: str) -> None:
        """One port failed; when none is left to hope for, try all again after a pause."""
        call.faults[port] = fault
        if call.open or call.due:
            return
        pause = _PAUSES_SECONDS[min(call.rounds, len(_PAUSES_SECONDS) - 1)]
        call.rounds += 1
        self._begin(call, time.monotonic() + pause)

    def _expired(self, call: _Call) -> None:
        """The deadline has come: say what each port did."""
        for sock, port in call.open.items():
            if call.said.get(port):
                call.faults[port] = _no_ssh(call.said[port])
            else:
                call.faults[port] = "accepts the connection and says nothing" if _is_made(sock) else "does not answer"
        told = ", ".join(f"port {port} {call.faults.get(port, 'was not tried')}" for port in call.seat.ssh_ports)
        self._end(call, SeatError(f"{call.seat.host} {told}; tried for {self._seconds:.0f} seconds", passing=True))

    def _end(self, call: _Call, how: Line | SeatError) -> None:
        self._hang_up(call)
        self._calls.pop(call.seat.id, None)
        self._ended.append((call.seat, how))

    def _hang_up(self, call: _Call) -> None:
        for sock in list(call.open):
            self._drop(call, sock)

    def _drop(self, call: _Call, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        del call.open[sock]
        sock.close()


def _no_ssh(said: bytes) -> str:
    first = said.strip().split(b"\n")[0][:60].decode(errors="replace").strip()
    return f"answers, but not as SSH ({first!r})"


def _is_made(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _words(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
