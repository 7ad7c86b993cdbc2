"""A seat's Jupyter: start, stop, look, and prove that its participant can work there.

Jupyter is told its password by the hash alone, in the file that `jupyter server password` writes. Started is only what
a login proved, over the way that the participant comes: a channel of the SSH connection.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Literal
from urllib.parse import urlencode

from provisioning.remote import Remote
from stacks.errors import SeatError
from stacks.folders import PROJECT_ROOT
from stacks.outputs import HandOver, SeatSecrets

# Where a machine's jupyter is looked for, in this order, before its PATH: AWS' Deep Learning AMI, Azure's DSVM.
JUPYTER_CANDIDATES = (
    "/opt/pytorch/bin/jupyter",
    "/anaconda/envs/py38_default/bin/jupyter",
    "/anaconda/bin/jupyter",
)
# Where a Python is looked for to install a Jupyter on, where the machine has none: with the image's torch first.
PYTHON_CANDIDATES = (
    "/opt/pytorch/bin/python",
    "/anaconda/envs/py38_default/bin/python",
    "/anaconda/envs/azureml_py310_sdkv2/bin/python",
    "python3",
)
# Folders whose environments become kernels: Anaconda's on the DSVM.
ENVIRONMENTS = ("/anaconda/envs",)
REQUIREMENTS = PROJECT_ROOT / "requirements-rehearsal.txt"  # the very versions that every rehearsal runs
BOOT_SECONDS, INSTALL_SECONDS = 300, 600
START_SECONDS = 240  # fifty Jupyters that start at once on two cores need a good part of it
ANSWER_SECONDS = 60.0
SHORT_SECONDS = 30.0

Outcome = Literal["changed", "unchanged"]


@dataclass(frozen=True)
class Started:
    """How a start ended. `token` is "" where a password guards the seat; never show it in logs."""

    outcome: Outcome
    token: str = field(default="", repr=False)


def start(remote: Remote, handover: HandOver, secrets: SeatSecrets, *, token: bool = False) -> Started:
    """Start the seat's Jupyter with its password (or a token), or leave it alone; then prove it. Raises SeatError."""
    answer = _start(remote, handover, secrets, token=token, anew=False)
    try:
        prove(remote, secrets, token=answer["token"])
    except SeatError:
        if answer["state"] == "changed":
            raise
        answer = _start(remote, handover, secrets, token=token, anew=True)  # it runs and does not work
        prove(remote, secrets, token=answer["token"])
    return Started("changed" if answer["state"] == "changed" else "unchanged", answer["token"])


def _start(remote: Remote, handover: HandOver, secrets: SeatSecrets, *, token: bool, anew: bool) -> dict[str, Any]:
    parameters = {
        "candidates": "\n".join(JUPYTER_CANDIDATES),
        "pythons": "\n".join(PYTHON_CANDIDATES),
        "environments": "\n".join(ENVIRONMENTS),
        "requirements": REQUIREMENTS.read_text(encoding="utf-8"),
        "boot_seconds": str(BOOT_SECONDS),
        "interface": handover.interface,
        "workdir": handover.workdir,
        "port": str(remote.seat.notebook_port),
        "mode": "token" if token else "password",
        "password_hash": str(secrets.password_hash),
        "seconds": str(START_SECONDS),
        "anew": "yes" if anew else "no",
    }
    longest = BOOT_SECONDS + INSTALL_SECONDS + START_SECONDS + SHORT_SECONDS
    return remote.script("start", parameters, seconds=longest)


def stop(remote: Remote) -> Outcome:
    """End the seat's Jupyter and its kernels; files stay. Raises SeatError."""
    return "changed" if remote.script("stop", {}, seconds=SHORT_SECONDS)["state"] == "changed" else "unchanged"


def status(remote: Remote, secrets: SeatSecrets) -> dict[str, Any]:
    """How the seat is; changes nothing. `state` is running, stopped or died; a running one is proved by a login.

    `password`: yes (the stack's), token, other (set by hand) or no. Raises SeatError where the machine can't be asked,
    and where Jupyter runs but does not let its participant in.
    """
    answer = remote.script("status", {"password_hash": str(secrets.password_hash)}, seconds=SHORT_SECONDS)
    if answer["state"] == "died":
        raise SeatError("Jupyter has died; `fab start-notebook` starts it", evidence=answer.get("log", ""))
    if answer["state"] == "running" and answer["password"] == "yes":  # noqa: S105 (an answer)
        prove(remote, secrets)
    return answer


def prove(remote: Remote, secrets: SeatSecrets, *, token: str = "") -> None:
    """Prove that strangers are refused and that the seat's password (or token) is let in. Raises SeatError."""
    with remote.http(seconds=ANSWER_SECONDS) as client:
        if _get(client, "/api/status", {}).status != 403:
            raise SeatError("Jupyter lets in anyone without a password; its own settings may say so (see ~/.jupyter)")
        if token:
            if _get(client, "/api/status", {"Authorization": f"token {token}"}).status != 200:
                raise SeatError("Jupyter refuses its token; run `fab stop-notebook`, then this again")
            return
        cookies = _cookies(_get(client, "/login", {}))
        form = urlencode({"_xsrf": cookies.get("_xsrf", ""), "password": str(secrets.password)})
        headers = {"Cookie": _joined(cookies), "Content-Type": "application/x-www-form-urlencoded"}
        client.request("POST", "/login?next=/api", form, headers)
        login = _finished(client)
        if login.status != 302:
            raise SeatError("Jupyter refuses the seat's password; another program may hold its port")
        session = {"Cookie": _joined({**cookies, **_cookies(login)})}
        if _get(client, "/api/status", session).status != 200:
            raise SeatError("Jupyter took the seat's password and then forgot it")


def _get(client: http.client.HTTPConnection, path: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    client.request("GET", path, headers=dict(headers))
    return _finished(client)


def _finished(client: http.client.HTTPConnection) -> http.client.HTTPResponse:
    response = client.getresponse()
    response.read()
    return response


def _cookies(response: http.client.HTTPResponse) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    for value in response.headers.get_all("Set-Cookie", []):
        jar.load(value)
    return {name: morsel.value for name, morsel in jar.items()}


def _joined(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
