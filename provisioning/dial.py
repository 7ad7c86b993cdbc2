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
_TRY_SECONDS = 10.0  # then a try is given up and begun anew: a machine that reboots leaves connections behind
_PAUSES_SECONDS = (0.5, 1.0, 2.0)  # before a port is tried again; the last is kept
_GONE_MS = 45_000  # what was sent and is not acknowledged for so long has nobody to receive it
GREETING = "SSH-2.0-Seminar"  # ours; said at once, so that the server goes on while its own is under way
_THEIRS = b"SSH-"
_MOST_BEFORE_GREETING = 8192
_MOMENT_SECONDS = 0.01
_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


@dataclass(frozen=True)
class Line:
    """An open connection to a seat's machine. Both sides have greeted; of the server's greeting nothing was read."""

    seat: HandOverSeat
    port: int
    sock: socket.socket
    greeted: float = field(default_factory=time.monotonic)  # when


@dataclass
class _Call:
    """One seat that is being dialled. What is kept by port is that of the port's last try."""

    seat: HandOverSeat
    tries: dict[int, int] = field(default_factory=dict)
    open: dict[socket.socket, int] = field(default_factory=dict)  # the ports that are being tried
    said: dict[int, bytes] = field(default_factory=dict)  # what they said that was no greeting
    faults: dict[int, str] = field(default_factory=dict)


class Dialler:
    """Dials seats until each has a line or a reason why not. One thread calls `step`; any may call `wake`."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is what each machine has to greet, from when its seat is added, all tries together."""
        self._seconds = seconds
        self._selector = selectors.DefaultSelector()
        self._calls: dict[str, _Call] = {}
        # When, a tie-breaker, whose, and what then: None (the deadline has come), a port to try, a try to give up.
        self._timers: list[tuple[float, int, _Call, int | socket.socket | None]] = []
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
        call = self._calls[seat.id] = _Call(seat)
        self._at(pause + self._seconds, call, None)
        for n, port in enumerate(seat.ssh_ports):
            self._at(pause + n * _NEXT_PORT_SECONDS, call, port)

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
                heard = self._listen if key.events == selectors.EVENT_READ else self._connected
                heard(key.data, key.fileobj)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, call, what = heapq.heappop(self._timers)
            if self._calls.get(call.seat.id) is not call:
                continue  # it has ended
            if what is None:
                self._expired(call)
            elif isinstance(what, int):
                self._try(call, what)
            elif what in call.open:
                self._failed(call, call.open[what], self._drop(call, what))
        ended, self._ended = self._ended, []
        yield from ended

    def _at(self, seconds: float, call: _Call, what: int | socket.socket | None) -> None:
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, call, what))

    def _try(self, call: _Call, port: int) -> None:
        call.tries[port] = call.tries.get(port, 0) + 1
        call.said.pop(port, None)
        try:
            # An address needs no look-up; a name is looked up while the others wait, which only hand-made seats have.
            ((family, kind, _, _, address), *_) = socket.getaddrinfo(call.seat.host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            fault = f"has a name that is not known ({words(error)})"
            if getattr(error, "errno", 0) == socket.EAI_AGAIN:
                return self._failed(call, port, fault)
            return self._end(call, SeatError(f"{call.seat.host} {fault}"))
        try:
            sock = socket.socket(family, kind)
        except OSError as error:
            return self._failed(call, port, f"can't be reached ({words(error)})")
        sock.setblocking(False)
        call.open[sock] = port
        self._selector.register(sock, selectors.EVENT_WRITE, call)
        self._at(_TRY_SECONDS, call, sock)
        code = sock.connect_ex(address)
        if code not in _UNDER_WAY:
            self._drop(call, sock)
            self._failed(call, port, f"can't be reached ({os.strerror(code)})")
        return None

    def _connected(self, call: _Call, sock: socket.socket) -> None:
        """The connection is made, or can't be."""
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            port = call.open[sock]
            self._drop(call, sock)
            return self._failed(call, port, f"can't be reached ({os.strerror(code)})")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_MS)
        with contextlib.suppress(OSError):  # what broke is seen at once, when it is read
            sock.send(f"{GREETING}\r\n".encode())
        self._selector.modify(sock, selectors.EVENT_READ, call)
        return None

    def _listen(self, call: _Call, sock: socket.socket) -> None:
        """The machine has said something, or has ended the connection."""
        port = call.open[sock]
        try:
            said = sock.recv(_MOST_BEFORE_GREETING, socket.MSG_PEEK)
            if said.startswith(_THEIRS):
                self._selector.unregister(sock)
                del call.open[sock]
                sock.setblocking(True)
                return self._end(call, Line(call.seat, port, sock))
            if no_greeting := _before_greeting(said):
                sock.recv(len(no_greeting))
            elif said:  # the beginning of a greeting, and the rest is under way
                time.sleep(_MOMENT_SECONDS)
                return None
        except OSError as error:
            self._drop(call, sock)
            return self._failed(call, port, f"broke the connection off ({words(error)})")
        before = call.said[port] = (call.said.get(port, b"") + no_greeting)[: _MOST_BEFORE_GREETING + 1]
        if said and len(before) <= _MOST_BEFORE_GREETING:
            return None
        self._drop(call, sock)
        return self._failed(call, port, _no_ssh(before) if before else "accepts the connection and ends it at once")

    def _failed(self, call: _Call, port: int, fault: str) -> None:
        """One try of a port failed: try it again after a pause."""
        call.faults[port] = fault
        self._at(_PAUSES_SECONDS[min(call.tries[port], len(_PAUSES_SECONDS)) - 1], call, port)

    def _expired(self, call: _Call) -> None:
        """The deadline has come: say what each port did."""
        for sock, port in list(call.open.items()):
            call.faults[port] = self._drop(call, sock)
        told = ", ".join(f"port {port} {call.faults.get(port, 'was not tried')}" for port in call.seat.ssh_ports)
        self._end(call, SeatError(f"{call.seat.host} {told}; tried for {self._seconds:.0f} seconds", passing=True))

    def _end(self, call: _Call, how: Line | SeatError) -> None:
        self._hang_up(call)
        self._calls.pop(call.seat.id, None)
        self._ended.append((call.seat, how))

    def _hang_up(self, call: _Call) -> None:
        for sock in list(call.open):
            self._drop(call, sock)

    def _drop(self, call: _Call, sock: socket.socket) -> str:
        """Close the connection; returns what it did until now."""
        port = call.open.pop(sock)
        if call.said.get(port):
            did = _no_ssh(call.said[port])
        else:
            did = "accepts the connection and says nothing" if _is_made(sock) else "does not answer"
        self._selector.unregister(sock)
        sock.close()
        return did


def _before_greeting(said: bytes) -> bytes:
    """The part of it that is surely no greeting: a server may say lines before, and the greeting begins a line."""
    found = said.find(b"\n" + _THEIRS)
    if found >= 0:
        return said[: found + 1]
    lines, newline, last = said.rpartition(b"\n")
    return lines + newline if _THEIRS.startswith(last) else said


def _no_ssh(said: bytes) -> str:
    first = said.strip().split(b"\n")[0][:60].decode(errors="replace").strip()
    return f"answers, but not as SSH ({first!r})"


def _is_made(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def words(error: BaseException) -> str:
    """An error of a library's as the inside of a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
