"""The organiser's own tunnel to a seat: a free local port, the browser, and again after a drop."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path, PurePath

from stacks import clients
from stacks.errors import RequestError
from stacks.folders import write_private
from stacks.loopback import is_free
from stacks.outputs import HandOverSeat, SeatSecrets

_RECONNECT_SECONDS = 5
_ANSWER_SECONDS = 30.0
_LOOK_SECONDS = 1.0


def free_port(first: int) -> int:
    """The first port from `first` upwards that nothing holds on loopback. Raises RequestError."""
    for port in range(first, 65536):
        if is_free(port):
            return port
    raise RequestError(f"No local port from {first} upwards is free.")


def hold(seat: HandOverSeat, secrets: SeatSecrets, *, browser: bool = True) -> None:
    """Keep a tunnel to the seat open until Ctrl-C; the browser opens once the notebook answers.

    Raises RequestError where ssh is missing, or refuses for a reason that waiting does not heal.
    """
    port = free_port(seat.local_port)
    with tempfile.TemporaryDirectory(prefix="seminar-") as name:
        folder = Path(name)
        write_private(folder / clients.KEY_FILE, secrets.private_key)
        write_private(folder / clients.KNOWN_HOSTS_FILE, clients.known_hosts(seat))
        write_private(folder / clients.CONFIG_FILE, clients.ssh_config(seat, PurePath(folder)))
        forward = f"localhost:{port}:localhost:{seat.notebook_port}"
        words = ["ssh", "-N", "-L", forward, "-F", str(folder / clients.CONFIG_FILE), f"{seat.user}@{seat.host}"]
        try:
            while True:
                browser = _once(words, port, browser=browser)
                _count_down()
        except KeyboardInterrupt:
            print("\nThe tunnel is closed.")


def _count_down() -> None:
    for left in range(_RECONNECT_SECONDS, 0, -1):
        if sys.stdout.isatty():
            print(f"\rThe tunnel dropped; again in {left} s (Ctrl-C ends) ", end="\n" if left == 1 else "", flush=True)
        elif left == _RECONNECT_SECONDS:
            print(f"The tunnel dropped; again in {left} s", flush=True)
        time.sleep(1)


def _once(words: list[str], port: int, *, browser: bool) -> bool:
    """One life of the tunnel. Returns whether the browser is still to be opened."""
    try:
        ssh = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    except FileNotFoundError:
        raise RequestError("There is no ssh on this computer; install the OpenSSH client.") from None
    try:
        if _answers(ssh, port):
            print(f"Open http://localhost:{port} (Ctrl-C ends)", flush=True)
            if browser:
                import webbrowser

                webbrowser.open(f"http://localhost:{port}")
            browser = False
        elif ssh.poll() is None:
            print(
                f"The tunnel is open and nothing answers at http://localhost:{port}; try `fab start-notebook`.",
                flush=True,
            )
        said = _last_words(ssh)
    finally:
        ssh.terminate()
        ssh.wait()
    if any(
        text in said for text in ("Host key verification failed", "Permission denied", "IDENTIFICATION HAS CHANGED")
    ):
        raise RequestError(f"ssh refused: {' '.join(said.split()[-12:])}")
    if said.strip():
        print(said.strip().splitlines()[-1], flush=True)
    return browser


def _last_words(ssh: subprocess.Popen[str]) -> str:
    """Wait until it ends; returns what it said. In short waits: a Ctrl-C just before a long one would wait with it."""
    while True:
        try:
            return ssh.communicate(timeout=_LOOK_SECONDS)[1]
        except subprocess.TimeoutExpired:
            continue


def _answers(ssh: subprocess.Popen[str], port: int) -> bool:
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline and ssh.poll() is None:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/api", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            time.sleep(0.2)
    return False
