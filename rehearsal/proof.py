"""Prove one seat the whole way, as its participant would go: the printed command, the browser's login, a kernel."""

from __future__ import annotations

import http.cookiejar
import json
import re
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from stacks.clients import tunnel_command, url
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat, SeatSecrets

_OPEN_SECONDS, _ANSWER_SECONDS = 20.0, 90.0


def prove_whole_way(seat: HandOverSeat, secrets: SeatSecrets) -> str:
    """Open the seat's tunnel with its own command, log in, let a kernel compute; returns the kernel's answer.

    Raises SeatError. The tunnel is closed again.
    """
    ssh = subprocess.Popen(
        shlex.split(tunnel_command(seat)), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    try:
        _await_port(ssh, seat.local_port)
        return compute(url(seat), str(secrets.password), "print(6 * 7)")
    finally:
        ssh.terminate()
        ssh.communicate()


def compute(base: str, password: str, code: str, kernel: str = "python3") -> str:
    """Log in at `base` as a browser would, run the code in a new kernel of that name, return what it prints.

    Raises SeatError.
    """
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))
    try:
        browser.open(f"{base}/login", timeout=_ANSWER_SECONDS).read()
        form = urllib.parse.urlencode({"_xsrf": _cookie(jar, "_xsrf"), "password": password}).encode()
        browser.open(f"{base}/login?next=/api/status", form, timeout=_ANSWER_SECONDS).read()
        headers = {"X-XSRFToken": _cookie(jar, "_xsrf"), "Content-Type": "application/json"}
        wanted = json.dumps({"name": kernel}).encode()
        start = urllib.request.Request(f"{base}/api/kernels", wanted, headers, method="POST")
        id_ = json.load(browser.open(start, timeout=_ANSWER_SECONDS))["id"]
        try:
            return _execute(base, id_, "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar), code)
        finally:
            end = urllib.request.Request(f"{base}/api/kernels/{id_}", headers=headers, method="DELETE")
            browser.open(end, timeout=_ANSWER_SECONDS).read()
    except urllib.error.HTTPError as error:
        path = urllib.parse.urlsplit(error.url).path
        raise SeatError(f"{base}{path} answered {error.code} where the seat's password should let in") from error
    except OSError as error:
        raise SeatError(f"{base} does not answer through the tunnel ({error})") from error


def _execute(base: str, kernel: str, cookies: str, code: str) -> str:
    import websocket

    address = re.sub("^http", "ws", base) + f"/api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
    message = {
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
    channel = websocket.create_connection(address, timeout=_ANSWER_SECONDS, cookie=cookies, http_no_proxy=["localhost"])
    printed = ""
    deadline = time.monotonic() + _ANSWER_SECONDS
    try:
        channel.send(json.dumps(message))
        while time.monotonic() < deadline:
            answer = json.loads(channel.recv())
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:  # type: ignore[index]  # it is a dict
                continue
            if answer["msg_type"] == "stream":
                printed += answer["content"]["text"]
            if answer["msg_type"] == "error":
                raise SeatError(f"the kernel failed: {answer['content']['evalue']}")
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return printed.strip()
    except websocket.WebSocketException as error:
        raise SeatError(f"the kernel's channel broke off ({error})") from error
    finally:
        channel.close()
    raise SeatError(f"the kernel did not answer within {_ANSWER_SECONDS:.0f} seconds")


def _cookie(jar: http.cookiejar.CookieJar, name: str) -> str:
    return next((cookie.value or "" for cookie in jar if cookie.name == name), "")


def _await_port(ssh: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + _OPEN_SECONDS
    while ssh.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    ssh.terminate()
    _, said = ssh.communicate()
    raise SeatError(f"the tunnel command did not open port {port}", evidence=said.strip())
