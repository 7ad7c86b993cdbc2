"""One SSH connection to one seat: Fabric's Connection, made strict and lean.

Only the host key of the hand-over is trusted; neither the user's ssh_config nor an agent has a say. A verb costs one
connection and one exec: the script and its parameters, secrets among them, travel on standard input, so that nothing of
them stands in an argument list; the last line that comes back is one JSON object.
"""

from __future__ import annotations

import http.client
import io
import json
import shlex
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from typing import Any

import paramiko
from fabric import Config, Connection

from stacks.errors import SeatError
from stacks.outputs import HandOverSeat

CONNECT_SECONDS = 10.0  # for each of TCP, banner and login: a machine that says nothing is not waited for longer
KEEP_ALIVE_SECONDS = 15
MOST_OUTPUT_BYTES = 1_000_000  # of a command's output the last million bytes are kept
_EVIDENCE_LINES = 8

# paramiko's order prefers slower ones; every OpenSSH since 6.7 knows these.
_KEX = ("curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr")


class Remote:
    """An open connection to a seat."""

    def __init__(self, seat: HandOverSeat, connection: Connection) -> None:
        self.seat = seat
        self._connection = connection

    @property
    def transport(self) -> paramiko.Transport:
        transport: paramiko.Transport | None = self._connection.client.get_transport()
        assert transport is not None  # the connection is open
        return transport

    def script(self, name: str, parameters: Mapping[str, str], *, seconds: float) -> dict[str, Any]:
        """Run scripts/NAME.sh with the parameters as shell variables; returns its JSON answer.

        Raises SeatError when no answer comes within the seconds, or the answer is no JSON.
        """
        assignments = "".join(f"{key}={shlex.quote(value)}\n" for key, value in parameters.items())
        text = _script("lib") + assignments + _script(name) + "\nmain </dev/null\n"
        status, output = self.run("sh", stdin=text.encode(), seconds=seconds)
        lines = output.decode(errors="replace").strip().splitlines()
        try:
            answer = json.loads(lines[-1])
        except (IndexError, ValueError):
            raise SeatError(
                f"{name} ended with status {status} and no answer", evidence="\n".join(lines[-_EVIDENCE_LINES:])
            ) from None
        if answer["state"] == "failed":
            raise SeatError(answer["reason"], evidence=answer.get("log", ""))
        return dict(answer)

    def run(self, command: str, *, stdin: bytes = b"", seconds: float) -> tuple[int, bytes]:
        """Run a command; returns its exit status and the tail of its output, both streams as they came.

        Raises SeatError when it takes longer than the seconds, or the connection breaks.
        """
        deadline = time.monotonic() + seconds
        output = bytearray()
        try:
            channel = self.transport.open_session(timeout=CONNECT_SECONDS)
            channel.set_combine_stderr(True)
            channel.settimeout(seconds)
            channel.exec_command(command)
            channel.sendall(stdin)
            channel.shutdown_write()
            while True:
                channel.settimeout(max(deadline - time.monotonic(), 0.01))
                part = channel.recv(65536)
                if not part:
                    break
                output += part
                del output[:-MOST_OUTPUT_BYTES]
            if not channel.status_event.wait(max(deadline - time.monotonic(), 1.0)):
                raise TimeoutError
            channel.close()
        except TimeoutError:
            evidence = bytes(output[-2000:]).decode(errors="replace")
            raise SeatError(f"gave no answer within {seconds:.0f} seconds", evidence=evidence) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise SeatError(f"the connection broke off ({_words(error)})", passing=True) from error
        if channel.exit_status == -1:  # paramiko's value where none came: the connection was cut
            raise SeatError("the connection broke off before the command ended", passing=True)
        return channel.exit_status, bytes(output)

    @contextmanager
    def http(self, *, seconds: float) -> Iterator[http.client.HTTPConnection]:
        """An HTTP connection to the seat's notebook port, through this SSH connection: the way its participant comes.

        Raises SeatError where nothing listens there.
        """
        address = ("127.0.0.1", self.seat.notebook_port)
        try:
            channel = self.transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=seconds)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise SeatError(f"nothing answers on port {self.seat.notebook_port} of the machine") from error
        channel.settimeout(seconds)
        client = http.client.HTTPConnection("localhost", self.seat.notebook_port, timeout=seconds)
        client.sock = channel  # a channel has what http.client uses of a socket
        try:
            yield client
        except TimeoutError:
            raise SeatError(f"Jupyter did not answer within {seconds:.0f} seconds") from None
        except (http.client.HTTPException, paramiko.SSHException, OSError, EOFError) as error:
            raise SeatError(f"Jupyter's answer broke off ({_words(error)})") from error
        finally:
            channel.close()


@contextmanager
def connect(seat: HandOverSeat, key: paramiko.PKey) -> Iterator[Remote]:
    """Connect to the first of the seat's SSH ports that answers, with the organiser's key.

    Raises SeatError: `passing` where the machine may still be booting, never for a wrong host key or a refused login.
    """
    if not seat.host:
        raise SeatError(
            "its machine has no address: it was not made, or is stopped. Run `pulumi up --refresh`, having started it"
        )
    last: SeatError | None = None
    for port in seat.ssh_ports:
        try:
            connection = _open(seat, port, key)
        except SeatError as error:
            if not error.passing:
                raise
            last = last or error
            continue
        try:
            yield Remote(seat, connection)
        finally:
            connection.close()
        return
    raise last or SeatError("the hand-over names no SSH port")


def read_key(text: str) -> paramiko.PKey:
    """The organiser's key, parsed once for all seats."""
    return paramiko.Ed25519Key.from_private_key(io.StringIO(text))


def _open(seat: HandOverSeat, port: int, key: paramiko.PKey) -> Connection:
    where = f"{seat.host} port {port}"
    try:
        sock = socket.create_connection((seat.host, port), timeout=CONNECT_SECONDS)
    except TimeoutError:
        raise SeatError(f"{where} does not answer within {CONNECT_SECONDS:.0f} seconds", passing=True) from None
    except socket.gaierror as error:
        raise SeatError(f"the name {seat.host} is not known ({_words(error)})") from error
    except OSError as error:
        raise SeatError(f"{where} can't be reached ({_words(error)})", passing=True) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A Config of its own: Connection writes into it, and seats are served side by side.
    connection = Connection(
        seat.host,
        user=seat.user,
        port=port,
        config=Config(lazy=True, overrides={"load_ssh_configs": False}),
        connect_kwargs={
            "sock": sock,
            "pkey": key,
            "allow_agent": False,
            "look_for_keys": False,
            "banner_timeout": CONNECT_SECONDS,
            "auth_timeout": CONNECT_SECONDS,
            "channel_timeout": CONNECT_SECONDS,
            "transport_factory": _transport,
        },
    )
    client = connection.client
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    name = seat.host if port == 22 else f"[{seat.host}]:{port}"
    host_key = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {seat.host_key}")
    if host_key is None or host_key.key is None:
        raise SeatError("the hand-over's host key can't be read; run `pulumi up` again")
    client.get_host_keys().add(name, host_key.key.get_name(), host_key.key)
    try:
        connection.open()
    except paramiko.BadHostKeyException as error:
        sock.close()
        raise SeatError(
            f"{where} shows another host key than the stack made ({error.key.get_name()} "
            f"{_fingerprint(error.key)}); nothing was sent. Someone may be in between, or the machine was made anew"
        ) from error
    except paramiko.AuthenticationException as error:
        sock.close()
        raise SeatError(f"{where} refuses the organiser's key for {seat.user}") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        sock.close()
        raise SeatError(f"{where} answers, but not as SSH ({_words(error)})", passing=True) from error
    if (transport := client.get_transport()) is not None:
        transport.set_keepalive(KEEP_ALIVE_SECONDS)
    return connection


def _transport(*arguments: Any, **options: Any) -> paramiko.Transport:
    transport = paramiko.Transport(*arguments, **options)
    security = transport.get_security_options()
    security.kex = [name for name in _KEX if name in security.kex] or security.kex
    security.ciphers = [name for name in _CIPHERS if name in security.ciphers] or security.ciphers
    return transport


def _fingerprint(key: paramiko.PKey) -> str:
    return key.fingerprint


def _words(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


@lru_cache
def _script(name: str) -> str:
    return (resources.files("provisioning") / "scripts" / f"{name}.sh").read_text(encoding="utf-8")
