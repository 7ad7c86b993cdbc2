"""Prove that a seat's Jupyter lets in its participant and nobody else, over the way that the participant comes.

Two requests go out together and a third follows: over a long way each costs a round trip.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookies import CookieError, Morsel, SimpleCookie
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


def prove(remote: Remote, secrets: SeatSecrets, *, token: str = "") -> datetime | None:
    """Prove that strangers are refused and that the seat's password (or token) is let in. Raises SeatError.

    Returns what the machine's clock says, where Jupyter told it. What restarting Jupyter may heal is a NotServedError.
    """
    with remote.forward(seconds=ANSWER_SECONDS) as channel:
        try:
            return _prove(_Exchange(channel, remote.until(ANSWER_SECONDS)), secrets, token)
        except TimeoutError:
            raise NotServedError(f"Jupyter did not answer within {ANSWER_SECONDS:.0f} seconds") from None
        except (ValueError, TypeError, CookieError, paramiko.SSHException, OSError, EOFError) as error:
            raise NotServedError(f"Jupyter's answer broke off, or is none of Jupyter's ({words(error)})") from error


def _prove(exchange: _Exchange, secrets: SeatSecrets, token: str) -> datetime | None:
    exchange.ask("GET", "/api/status")
    if token:
        exchange.ask("GET", "/api/status", {"Authorization": f"token {token}"})
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
        return login.date
    if login.status != HTTPStatus.FOUND:
        raise NotServedError("Jupyter refuses the seat's password; another program may hold its port")
    session = login.cookies
    if session and all(_is_over(cookie) for cookie in session):
        raise SeatError(
            "the participant's browser would forget the login at once, because the machine's clock is far behind: "
            f"it says {login.date}. Set it right there, for example with `sudo timedatectl set-ntp true`"
        )
    exchange.ask("GET", "/api/status", {"Cookie": "; ".join(f"{each.key}={each.value}" for each in session)})
    if exchange.answer().status != HTTPStatus.OK:
        raise NotServedError("Jupyter took the seat's password and then forgot it")
    return login.date


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: tuple[tuple[str, str], ...]  # their names in lower case

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
        self._unread = self._unread[length:]
        return _Answer(int(rest[:3]), tuple(headers))

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
