"""A participant at their notebook without a browser: logs in, starts a kernel, has it compute, looks at it."""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stacks.errors import SeatError

_ANSWER_SECONDS = 90.0


class Visitor:
    """Logged in at a notebook. Every method raises SeatError where it does not answer, or answers otherwise."""

    def __init__(self, base: str, password: str) -> None:
        """Log in at `base`, for example http://localhost:8888."""
        self._base = base
        self._jar = http.cookiejar.CookieJar()
        # No proxy of this computer's has a say about loopback.
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._jar)
        )
        self._ask("/login")
        form = urllib.parse.urlencode({"_xsrf": self._cookie("_xsrf"), "password": password}).encode()
        self._ask("/login?next=/api/status", form)

    def start_kernel(self, name: str = "python3") -> str:
        """Start a kernel of that name; returns its id."""
        return str(json.loads(self._ask("/api/kernels", json.dumps({"name": name}).encode(), "POST"))["id"])

    def kernels(self) -> dict[str, str]:
        """The kernels' states (starting, idle, busy, …) by id."""
        return {each["id"]: each["execution_state"] for each in json.loads(self._ask("/api/kernels"))}

    def end_kernel(self, kernel: str) -> None:
        """End a kernel."""
        self._ask(f"/api/kernels/{kernel}", method="DELETE")

    def begin(self, kernel: str, code: str) -> None:
        """Let the kernel begin with the code, and leave it to it."""
        with self._channel(kernel) as channel:
            message = _request(code)
            channel.send(json.dumps(message))
            while True:  # that it took the request up; who hangs up sooner may take the request along
                answer = json.loads(channel.recv())
                if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                    return

    def run(self, kernel: str, code: str) -> str:
        """Let the kernel run the code to its end; returns what it prints."""
        printed = ""
        deadline = time.monotonic() + _ANSWER_SECONDS
        with self._channel(kernel) as channel:
            message = _request(code)
            channel.send(json.dumps(message))
            while time.monotonic() < deadline:
                answer = json.loads(channel.recv())
                if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                    continue
                if answer["msg_type"] == "stream":
                    printed += answer["content"]["text"]
                if answer["msg_type"] == "error":
                    raise SeatError(f"the kernel failed: {answer['content']['evalue']}")
                if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                    return printed.strip()
        raise SeatError(f"the kernel did not answer within {_ANSWER_SECONDS:.0f} seconds")

    def _ask(self, path: str, body: bytes | None = None, method: str | None = None) -> bytes:
        headers = {"X-XSRFToken": self._cookie("_xsrf")}
        if path.startswith("/api"):
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._base + path, body, headers, method=method)
        try:
            with self._browser.open(request, timeout=_ANSWER_SECONDS) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            where = urllib.parse.urlsplit(error.url).path
            with error:
                told = f"{self._base}{where} answered {error.code} where the seat's password should let in"
            raise SeatError(told) from error
        except (OSError, http.client.HTTPException) as error:
            raise SeatError(f"{self._base} does not answer through the tunnel ({error})") from error

    @contextmanager
    def _channel(self, kernel: str) -> Iterator[Any]:
        import websocket

        address = re.sub("^http", "ws", self._base) + f"/api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)
        try:
            channel = websocket.create_connection(
                address, timeout=_ANSWER_SECONDS, cookie=cookies, http_no_proxy=["localhost"]
            )
            try:
                yield channel
            finally:
                channel.close()
        except (websocket.WebSocketException, OSError) as error:
            raise SeatError(f"the kernel's channel broke off ({error})") from error

    def _cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self._jar if cookie.name == name), "")


def _request(code: str) -> dict[str, Any]:
    """An execute_request (https://jupyter-client.readthedocs.io/en/stable/messaging.html)."""
    return {
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
        },
        "channel": "shell",
    }
