"""The board over HTTP, on loopback: who is let in, and what is answered. The seats are board_seats.py's.

Another user of this computer can reach the port, and any page in the organiser's browser can send requests to it. So
every request needs the token, in a cookie that only this board's path gets; the name of the host must be ours (a page
whose name was pointed at 127.0.0.1 has another); and whoever changes something must come from our own page.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import html
import json
import logging
import secrets
import socket
import sys
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import resources
from typing import Any

from tornado import httpserver, iostream, web

from provisioning.board_seats import Board
from provisioning.board_tiles import news
from stacks.errors import RequestError
from stacks.values import Secret

ADDRESS = "127.0.0.1"
FIRST_PORT, LAST_PORT = 8700, 8799  # of those tried where none is asked for
BEAT_SECONDS = 5.0  # between two words to a page, so that it notices when none comes
GATHER_SECONDS = 0.2  # what changes meanwhile is told at once
_MOST_STREAMS = 64
_MOST_REQUEST_BYTES = 4096
_COOKIE = "seminar-board"
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "board.css": ("board.css", "text/css; charset=utf-8"),
    "board.js": ("board.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STRANGER = "The board opens with the address that `fab board` has printed, its token included."

logging.getLogger("tornado").addHandler(logging.NullHandler())  # a page that went away is nobody's news


@dataclass(frozen=True)
class Door:
    """Where the board is, and what opens it. Both are made anew for each board.

    A browser sends a cookie to every port of a host, and only to the paths below its own: with a path that nobody can
    guess, another server on this computer does not get it.
    """

    port: int
    path: str = field(default_factory=lambda: secrets.token_hex(8))
    token: Secret = field(default_factory=lambda: Secret(secrets.token_urlsafe(32)))

    @property
    def host(self) -> str:
        return f"{ADDRESS}:{self.port}"

    @property
    def address(self) -> str:
        return f"http://{self.host}/{self.path}/"

    @property
    def way_in(self) -> str:
        """The address with its secret: for the organiser alone."""
        return f"{self.address}?token={self.token}"

    def opens(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def listen(port: int | None) -> socket.socket:
    """Take the port on loopback, or the first free one of the board's. Raises RequestError where there is none."""
    for each in range(FIRST_PORT, LAST_PORT + 1) if port is None else (port,):
        try:
            listener = socket.create_server((ADDRESS, each))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            listener.setblocking(False)
            return listener
    if port is None:
        raise RequestError(f"No port from {FIRST_PORT} to {LAST_PORT} is free on this computer; name one with --port.")
    raise RequestError(f"Port {port} of this computer is taken or not yours to take; leave out --port for a free one.")


def serve(board: Board, door: Door, listener: socket.socket) -> httpserver.HTTPServer:
    """Answer on this socket from now on. Stop with `stop()` and `close_all_connections()`."""
    shared = {"board": board, "door": door}
    below = f"/{door.path}/"
    application = web.Application(
        [
            (f"{below}(|board.css|board.js|icon.svg)", _File, shared),
            (f"{below}open", _Opening, shared),
            (f"{below}events", _Events, shared),
            (f"{below}seats/([a-z0-9-]+)/log", _Log, shared),
            (f"{below}seats/([a-z0-9-]+)/restart", _Restart, shared),
        ],
        default_handler_class=_Nothing,
        default_handler_args=shared,
        log_function=lambda _: None,  # its lines would have the token
    )
    server = httpserver.HTTPServer(
        application,
        max_body_size=_MOST_REQUEST_BYTES,
        max_header_size=4 * _MOST_REQUEST_BYTES,
        body_timeout=10,
        idle_connection_timeout=60,
    )
    server.add_socket(listener)
    return server


class _Answer(web.RequestHandler):
    """What holds for every answer: who is asked, who asks, and the headers that keep a browser strict."""

    open_to_strangers = False

    def initialize(self, board: Board, door: Door) -> None:
        self.board = board
        self.door = door

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        if self.request.host != self.door.host:
            self.answer(HTTPStatus.MISDIRECTED_REQUEST, f"The board answers at http://{self.door.host} alone.")
        elif not self.open_to_strangers and not self.is_known():
            self.answer(HTTPStatus.FORBIDDEN, _STRANGER)
        elif self.request.method not in ("GET", "HEAD") and not self.open_to_strangers and not self._is_from_our_page():
            self.answer(HTTPStatus.FORBIDDEN, "Only the board's own page may ask for that.")

    def is_known(self) -> bool:
        return self.door.opens(self.get_cookie(_COOKIE) or "")

    def let_in(self) -> None:
        """Give the cookie, and lead to the address without the token."""
        self.set_cookie(_COOKIE, str(self.door.token), path=f"/{self.door.path}/", httponly=True, samesite="Strict")
        if self.request.method == "GET" and self.request.headers.get("Sec-Fetch-Site", "none") in (
            "none",
            "same-origin",
        ):
            self.redirect(self.door.address, status=HTTPStatus.SEE_OTHER)
            return
        # Who follows a link of another page is sent on without a strict cookie; who goes on from ours is sent with it.
        address = html.escape(self.door.address)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={address}">'
            f'<title>Board</title><p><a href="{address}">To the board</a></p>'
        )

    def write_error(self, status_code: int, **_: Any) -> None:
        """A sentence, and never where in the code."""
        status = HTTPStatus(status_code)
        self.answer(status, f"{status.phrase}: the board can't answer that.")

    def log_exception(self, _: Any, fault: BaseException | None, *__: Any) -> None:
        """Without the request's address, which may have the token. What a page asks wrongly is answered to it alone."""
        if not isinstance(fault, web.HTTPError | asyncio.CancelledError | iostream.StreamClosedError):
            print(f"The board: unexpected {type(fault).__name__}: {fault}", file=sys.stderr, flush=True)

    def _is_from_our_page(self) -> bool:
        return self.request.headers.get("Origin") == f"http://{self.door.host}"

    def answer(self, status: HTTPStatus, sentence: str) -> None:
        """End with a sentence."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(sentence + "\n")


class _Nothing(_Answer):
    def get(self) -> None:
        self.answer(HTTPStatus.NOT_FOUND, f"There is nothing here; the board is at {self.door.address}")

    post = get


class _File(_Answer):
    """The page and what belongs to it. With a token: the way in."""

    open_to_strangers = True  # they may come with a token

    def get(self, name: str) -> None:
        if self.door.opens(self.get_query_argument("token", "")):
            self.let_in()
        elif not self.is_known():
            self.answer(HTTPStatus.FORBIDDEN, _STRANGER)
        else:
            file, kind = _FILES[name]
            self.set_header("Content-Type", kind)
            self.finish((resources.files("provisioning") / "board" / file).read_bytes())


class _Opening(_Answer):
    """The way in for the file that opens the browser: it sends the token as a form, so that no address has it."""

    open_to_strangers = True

    def post(self) -> None:
        if self.door.opens(self.get_body_argument("token", "")):
            self.let_in()
        else:
            self.answer(HTTPStatus.FORBIDDEN, _STRANGER)


class _Events(_Answer):
    """Server-sent events: first all tiles, then what has changed; a beat where nothing has."""

    streams = 0
    _gone = False
    _changed: asyncio.Event | None = None

    async def get(self) -> None:
        if _Events.streams >= _MOST_STREAMS:
            self.answer(HTTPStatus.SERVICE_UNAVAILABLE, "Too many pages look at this board; close some.")
            return
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        _Events.streams += 1
        try:
            with self.board.listening() as self._changed, contextlib.suppress(iostream.StreamClosedError):
                await self._tell(self._changed)
                await self.finish()
        finally:
            _Events.streams -= 1

    async def _tell(self, changed: asyncio.Event) -> None:
        told = dict(self.board.tiles)
        await self._say("all", {"seminar": self.board.seminar, "seats": list(told.values())})
        while not self.board.closing and not self._gone:
            try:
                await asyncio.wait_for(changed.wait(), BEAT_SECONDS)
            except asyncio.TimeoutError:
                await self._say("beat", {})
                continue
            if not self.board.closing:
                await asyncio.sleep(GATHER_SECONDS)
            changed.clear()
            if different := news(told, self.board.tiles):
                told = dict(self.board.tiles)
                # A page that takes nothing holds up its own stream alone, and is told the newest once it does.
                await self._say("some", {"seats": different})

    async def _say(self, event: str, data: dict[str, Any]) -> None:
        self.write(f"event: {event}\ndata: {json.dumps(data)}\n\n")
        await self.flush()

    def on_connection_close(self) -> None:
        self._gone = True
        if self._changed:
            self._changed.set()


class _Log(_Answer):
    async def get(self, seat: str) -> None:
        if seat not in self.board.tiles:
            self.answer(HTTPStatus.NOT_FOUND, f"There is no seat {seat} on this board.")
            return
        log, fault = await self.board.log(seat)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"log": log, "fault": fault}))


class _Restart(_Answer):
    def post(self, seat: str) -> None:
        if seat not in self.board.tiles:
            self.answer(HTTPStatus.NOT_FOUND, f"There is no seat {seat} on this board.")
        elif self.board.restart(seat):
            self.answer(HTTPStatus.ACCEPTED, "The notebook restarts; its tile says how it goes.")
        else:
            self.answer(HTTPStatus.CONFLICT, "The notebook is being restarted already.")
