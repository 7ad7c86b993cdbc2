"""What lies in one participant's pack: each file's content and mode. Pure but for reading the templates in pack/."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

from stacks import clients
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat, SeatSecrets

TEMPLATES = Path(__file__).parent / "pack"
LONGEST_NAME = 100  # characters of a file name: Windows' paths end at 260, and Downloads is some way down

# Names that Windows keeps for devices, with whatever ending.
# Source: "Naming Files, Paths, and Namespaces", learn.microsoft.com/windows/win32/fileio/naming-a-file.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in "0123456789¹²³")}
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@-]*")  # stands in sh, in cmd and in the registry without quotes


@dataclass(frozen=True)
class File:
    """A file of a pack."""

    content: bytes
    mode: int = 0o600


def files_of(seminar: str, seat: HandOverSeat, secrets: SeatSecrets) -> dict[str, File]:
    """The files of the seat's pack, by name. Raises SeatError where the seat can't be reached by anyone."""
    values = _values(seminar, seat)
    page = {**values, "NAME": seat.name, "PASSWORD": str(secrets.password)}
    key = str(secrets.private_key)
    files = {
        clients.KEY_FILE: File(key.encode()),
        clients.PUTTY_KEY_FILE: File(clients.putty_key(key, values["SESSION"]).encode()),
        clients.KNOWN_HOSTS_FILE: File(clients.known_hosts(seat).encode()),
        clients.CONFIG_FILE: File(clients.ssh_config(seat, PurePath()).encode()),
        "putty.reg": File(clients.putty_session(seat, values["SESSION"])),
        "README.html": File(fill("README.html", page, html.escape).encode()),
    }
    for name in ("connect.sh", "connect.command", "check.sh"):
        files[name] = File(fill(name, values, str).encode(), 0o700)
    for name in ("connect.cmd", "check.cmd"):
        files[name] = File(fill(name, values, str).replace("\n", "\r\n").encode("ascii"))
    return files


def card(seminar: str, seat: HandOverSeat, secrets: SeatSecrets) -> str:
    """The seat's card on the handout, as HTML. Raises SeatError as `files_of` does."""
    values = {**_values(seminar, seat), "NAME": seat.name, "PASSWORD": str(secrets.password)}
    return fill("card.html", values, html.escape)


def pack_name(seminar: str, seat: HandOverSeat) -> str:
    """The name of the folder in the zip, and of PuTTY's session: two seminars' packs may lie side by side."""
    return windows_name(f"{seminar}-{seat.id}")


def windows_name(text: str) -> str:
    """The text as the name of a file or folder that Windows, macOS and Linux take; as it is where they take that.

    Letters of any script stay. Two texts that differ only in what had to be replaced come out the same.
    """
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]', "_", text)[:LONGEST_NAME].rstrip(". ")
    if not name or name.partition(".")[0].rstrip().lower() in _DEVICES:
        name = f"_{name}"
    return name


def fill(template: str, values: Mapping[str, str], quote: Callable[[str], str]) -> str:
    """The template of that name with each @WORD@ replaced by its quoted value. Raises KeyError for an unknown word."""
    return re.sub(r"@([A-Z][A-Z_]*)@", lambda found: quote(values[found[1]]), _template(template))


@cache
def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _values(seminar: str, seat: HandOverSeat) -> dict[str, str]:
    """What stands in the templates and is no secret."""
    if not seat.host:
        raise SeatError("its machine has no address (it was not made, or is stopped); run `pulumi up`, then this again")
    session = pack_name(seminar, seat)
    for what, value in {"seminar's name": session, "address": seat.host, "user": seat.user}.items():
        if not _PLAIN.fullmatch(value):
            raise SeatError(
                f"the {what} is {value!r}; expected letters, digits and . _ - alone, so that every shell reads it"
            )
    first, *others = (str(port) for port in seat.ssh_ports)
    forward = f"localhost:{seat.local_port}:127.0.0.1:{seat.notebook_port}"
    login = f"{seat.user}@{seat.host}"
    plink = ["plink", "-ssh", "-N", "-batch", "-noagent", "-P", first, "-L", forward.removeprefix("localhost:")]
    plink += ["-i", clients.PUTTY_KEY_FILE, "-hostkey", clients.fingerprint(seat.host_key), login]
    return {
        "SEMINAR": seminar,
        "SESSION": session,
        "ID": seat.id,
        "HOST": seat.host,
        "USER": seat.user,
        "SSH_PORTS": " ".join([first, *others]),
        "NOTEBOOK_PORT": str(seat.notebook_port),
        "LOCAL_PORT": str(seat.local_port),
        "HOST_KEY": seat.host_key.split()[1],
        "FINGERPRINT": clients.fingerprint(seat.host_key),
        "SSH_COMMAND": shlex.join(["ssh", "-F", clients.CONFIG_FILE, "-N", "-L", forward, login]),
        "PLINK_COMMAND": subprocess.list2cmdline(plink),
        "OTHER_PORT": f" If it can't connect, put -p {others[0]} behind ssh." if others else "",
    }
