"""Prove one seat the whole way, as its participant would go: the printed command, the browser's login, a kernel."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time

from rehearsal.visitor import Visitor
from stacks.clients import tunnel_command, url
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat, SeatSecrets

_OPEN_SECONDS = 20.0


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
    visitor = Visitor(base, password)
    id_ = visitor.start_kernel(kernel)
    try:
        return visitor.run(id_, code)
    finally:
        visitor.end_kernel(id_)


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
