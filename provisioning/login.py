"""Prove that a seat's Jupyter lets in its participant and nobody else, over the way that the participant comes.

Logged in like that, what its kernels do can be asked.

Two requests go out together and a third follows: over a long way each costs a round trip.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookies import CookieError, Morsel, SimpleCookie
from typing import TypeVar
from urllib.parse import urlencode

import paramiko

from provisioning.dial import words
from provisioning.remote import NotServedError, Remote
from stacks.errors import SeatError
from stacks.outputs import SeatSecrets

ANSWER_SECONDS = 60.0

# Tornado wants a cookie and a field of the same value, whoever made it (tornado.web, check_xsrf_cookie).
_XSRF = "proof"
_MOST_BYTES = 1_000_000  # of all answers; a login page has some 10,000


T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """What a login gave: the headers that further requests need, and the machine's clock where Jupyter told it."""

    headers: Mapping[str, str] = field(repr=False)
    clock: datetime | None


@dataclass(frozen=True)
class Kernels:
    """A seat's kernels. `idle_seconds` is how long the last one has done nothing; None where there is none."""

    count: int
    busy: int
    idle_seconds: float | None


def prove(remote: Remote, secrets: SeatSecrets, *, token: str = "") -> Login:
    """Prove that strangers are refused and that the seat's password (or token) is let in. Raises SeatError.

    What restarting Jupyter may heal is a NotServedError.
    """
    return _exchange(remote, lambda exchange: _prove(exchange, secrets, token))


def kernels(remote: Remote, login: Login) -> Kernels:
    """What the seat's kernels do. Raises NotServedError, also where the login is over."""
    return _exchange(remote, lambda exchange: _kernels(exchange, login))


def _exchange(remote: Remote, work: Callable[[_Exchange], T]) -> T:
    with remote.forward(seconds=ANSWER_SECONDS) as channel:
        try:
            return work(_Exchange(channel, remote.until(ANSWER_SECONDS)))
        except TimeoutError:
            raise NotServedError(f"Jupyter did not answer within {ANSWER_SECONDS:.0f} seconds") from None
        except (ValueError, TypeError, KeyError, CookieError, paramiko.SSHException, OSError, EOFError) as error:
            raise NotServedError(f"Jupyter's answer broke off, or is none of Jupyter's ({words(error)})") from error


def _prove(exchange: _Exchange, secrets: SeatSecrets, token: str) -> Login:
    exchange.ask("GET", "/api/status")
    by_token = {"Authorization": f"token {token}"}
    if token:
        exchange.ask("GET", "/api/status", by_token)
    else:
        form = urlencode({"_xsrf": _XSRF, "password": str(secrets.password)})
        headers = {"Cookie": f"_xsrf={_XSRF}", "Content-Type": "application/x-www-form-urlencoded"}
        exchange.ask("POST", "/login?next=/api", headers, form)
    stranger, login = exchange.answer(), exchange.answer()
    if stranger.status != HTTPStatus.FORBIDDEN:
        raise NotServedError("Jupyter lets in anyone without a password; its own settings may say so (see ~/.jupyter)")
    if token:
        if login.status != HTTPStatus.OK:
            raise NotServedError("Jupyter refuses its token; run `fab stop-notebook`, then this again")
        return Login(by_token, login.date)
    if login.status != HTTPStatus.FOUND:
        raise NotServedError("Jupyter refuses the seat's password; another program may hold its port")
    session = login.cookies
    if session and all(_is_over(cookie) for cookie in session):
        raise SeatError(
            "the participant's browser would forget the login at once, because the machine's clock is far behind: "
            f"it says {login.date}. Set it right there, for example with `sudo timedatectl set-ntp true`"
        )
    by_cookie = {"Cookie": "; ".join(f"{each.key}={each.value}" for each in session)}
    exchange.ask("GET", "/api/status", by_cookie)
    if exchange.answer().status != HTTPStatus.OK:
        raise NotServedError("Jupyter took the seat's password and then forgot it")
    return Login(by_cookie, login.date)


def _kernels(exchange: _Exchange, login: Login) -> Kernels:
    # Else Jupyter would take our look for somebody's work (jupyter_server, /api/status, last_activity).
    exchange.ask("GET", "/api/kernels?no_track_activity=1", login.headers)
    answer = exchange.answer()
    if answer.status != HTTPStatus.OK:
        raise NotServedError("Jupyter has ended the login")
    found = json.loads(answer.body)
    busy = sum(each["execution_state"] == "busy" for each in found)
    last = max((_moment(each["last_activity"]) for each in found), default=None)
    now = answer.date or datetime.now(timezone.utc)
    return Kernels(len(found), busy, None if last is None else max((now - last).total_seconds(), 0.0))


def _moment(text: str) -> datetime:
    """A moment as Jupyter writes it, 2026-11-25T16:30:00.123456Z; older Pythons know no Z."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: tuple[tuple[str, str], ...]  # their names in lower case
    body: bytes

    @property
    def date(self) -> datetime | None:
        return next((parsedate_to_datetime(value) for name, value in self.headers if name == "date"), None)

    @property
    def cookies(self) -> list[Morsel[str]]:
        jar: SimpleCookie = SimpleCookie()
        for name, value in self.headers:
            if name == "set-cookie":
                jar.load(value)
        return list(jar.values())


class _Exchange:
    """HTTP over a channel: requests that are sent before the answers to the ones before them are there.

    http.client would have each wait for the last. Only as much of HTTP/1.1 as Jupyter's short answers need.
    """

    def __init__(self, channel: paramiko.Channel, deadline: float) -> None:
        """`deadline` on the monotonic clock: for all of it together."""
        self._channel = channel
        self._deadline = deadline
        self._unread = b""
        self._received = 0

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "") -> None:
        # Its Host is what the participant's browser sends, too.
        told = {"Host": "localhost", "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", body]
        self._channel.sendall("\r\n".join(lines).encode())

    def answer(self) -> _Answer:
        """The answer to the first request that has none yet, read whole. Raises ValueError where it is no HTTP."""
        version, _, rest = self._line().partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise ValueError(f"it began with {version[:20]!r}")
        headers = []
        while line := self._line():
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        length = int(next((value for name, value in headers if name == "content-length"), "0"))
        while len(self._unread) < length:
            self._receive()
        body, self._unread = self._unread[:length], self._unread[length:]
        return _Answer(int(rest[:3]), tuple(headers), body)

    def _line(self) -> str:
        while b"\n" not in self._unread:
            self._receive()
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode("latin-1").rstrip("\r")

    def _receive(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)
        data = self._channel.recv(65536)
        if not data:
            raise EOFError("it ended too soon")
        self._received += len(data)
        if self._received > _MOST_BYTES:
            raise ValueError("it has no end")
        self._unread += data


def _is_over(cookie: Morsel[str]) -> bool:
    """Whether a browser, by this computer's clock, would drop the cookie at once."""
    if not cookie["expires"]:
        return False
    return parsedate_to_datetime(cookie["expires"]) <= datetime.now(timezone.utc)
