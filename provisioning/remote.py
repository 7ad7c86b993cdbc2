"""One SSH connection to one seat: Paramiko's client, strict and lean.

Only the host key of the hand-over is trusted; neither the user's ssh_config nor an agent has a say. A verb costs one
connection and one exec: the script and its parameters, secrets among them, travel on standard input, so that nothing of
them stands in an argument list; what comes back is a line of JSON. Reaching the machine is dial.py's.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from typing import Any

import paramiko

from provisioning.dial import Line, words
from provisioning.transport import QuickTransport
from stacks.errors import SeatError
from stacks.outputs import HandOverSeat

LOGIN_SECONDS = 10.0  # for each of key exchange, login and the opening of a channel
LISTEN_SECONDS = 5.0  # Jupyter says that it listens a moment before it does
_PAUSE_SECONDS = 0.1
KEEP_ALIVE_SECONDS = 15
MOST_OUTPUT_BYTES = 1_000_000  # of a command's output the last million bytes are kept
_PIECE_BYTES = 262_144
_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254, 5.1
_EVIDENCE_LINES = 8
_EVIDENCE_BYTES = 2000


class NotServedError(SeatError):
    """Jupyter runs, or should, and does not serve its participant: starting it anew may heal that."""


class Remote:
    """An open connection to a seat. `deadline` is the end of all patience with it, on the monotonic clock."""

    def __init__(self, seat: HandOverSeat, transport: QuickTransport, deadline: float) -> None:
        self.seat = seat
        self._transport = transport
        self._deadline = deadline

    def until(self, seconds: float) -> float:
        """The moment, on the monotonic clock, at which so many seconds or all patience are over."""
        return min(time.monotonic() + seconds, self._deadline)

    def script(self, name: str, parameters: Mapping[str, str], *, seconds: float) -> dict[str, Any]:
        """Run scripts/NAME.sh with the parameters as shell variables; returns its answer.

        Raises SeatError when it says that it failed, no answer comes within the seconds, or the answer is no JSON.
        """
        with self.talk(name, parameters, seconds=seconds) as talk:
            return talk.answer()

    @contextmanager
    def talk(
        self, name: str, parameters: Mapping[str, str], *, seconds: float, quiet_seconds: float = math.inf
    ) -> Iterator[Talk]:
        """Run scripts/NAME.sh and stay in talk with it: it may ask, and do more after its answer.

        `quiet_seconds` is how long nothing at all may move, where the whole may take much longer than that.
        """
        assignments = "".join(f"{key}={shlex.quote(value)}\n" for key, value in parameters.items())
        text = _script("lib") + assignments + _script(name) + "\nmain\n"
        with self._shell(seconds) as channel:
            talk = Talk(name, channel, self.until(seconds), seconds, quiet_seconds)
            talk.say(text.encode())
            yield talk

    def run(self, command: str, *, seconds: float) -> tuple[int, bytes]:
        """Run a shell command; returns its exit status and the tail of its output, both streams as they came.

        Raises SeatError when it takes longer than the seconds, or the connection breaks.
        """
        # Not tried again when the connection breaks off: the command may have begun, and once is what was asked for.
        text = f'command={shlex.quote(command)}\nmain() {{ eval "$command"; }}\nmain </dev/null\n'
        with self._shell(seconds) as channel:
            talk = Talk("the command", channel, self.until(seconds), seconds)
            try:
                talk.say(text.encode())
                return talk.end()
            except SeatError as error:
                raise SeatError(f"{error}; the command may have begun", evidence=error.evidence) from error

    def close(self) -> None:
        """End the connection, from any thread: what waits on it raises SeatError."""
        self._transport.close()

    @contextmanager
    def forward(self, *, seconds: float) -> Iterator[paramiko.Channel]:
        """A channel to the seat's notebook port, through this SSH connection: the way its participant comes.

        Raises SeatError where nothing listens there, and goes on not to.
        """
        address = ("127.0.0.1", self.seat.notebook_port)
        patience = self.until(LISTEN_SECONDS)
        while True:
            try:
                channel = self._transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=seconds)
                break
            except paramiko.ChannelException as error:
                if error.code == _PROHIBITED:
                    raise SeatError("the machine's sshd lets nobody forward, so no tunnel can be") from error
                if time.monotonic() > patience:
                    raise NotServedError(f"nothing answers on port {self.seat.notebook_port} of the machine") from error
                time.sleep(_PAUSE_SECONDS)
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise _broken(error) from error
        try:
            channel.settimeout(seconds)
            yield channel
        finally:
            channel.close()

    @contextmanager
    def _shell(self, seconds: float) -> Iterator[paramiko.Channel]:
        try:
            channel = self._transport.take_shell(min(seconds, LOGIN_SECONDS))
        except paramiko.ChannelException as error:
            raise SeatError(f"the machine refuses a session ({words(error)})") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _broken(error) from error
        try:
            yield channel
        finally:
            channel.close()


class Talk:
    """A script that runs on a machine: what it prints, and what it is told."""

    def __init__(
        self, name: str, channel: paramiko.Channel, deadline: float, seconds: float, quiet_seconds: float = math.inf
    ) -> None:
        self._name = name
        self._channel = channel
        self._deadline = deadline
        self._seconds = seconds
        self._quiet_seconds = quiet_seconds
        self._unread = bytearray()
        self._seen = bytearray()  # the tail of what was no answer

    def allow(self, seconds: float) -> None:
        """Be patient with it for so many seconds from now, whatever was said before."""
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds

    def say(self, data: bytes) -> None:
        """Send to its standard input. Where it has ended and takes no more, `answer` says why."""
        view = memoryview(data)
        try:
            for start in range(0, len(view), _PIECE_BYTES):  # Paramiko copies all that is left for each packet
                self._wait_no_longer()
                self._channel.sendall(bytes(view[start : start + _PIECE_BYTES]))
        except TimeoutError:
            raise self._silent() from None
        except (paramiko.SSHException, OSError, EOFError):
            return

    def answer(self, offers: Mapping[str, Callable[[], bytes]] | None = None) -> dict[str, Any]:
        """Its next answer, a line of JSON with a `state`. What it asks for before is taken from the offers.

        Raises SeatError: it failed, it ended without an answer, it took too long, the connection broke.
        """
        while (line := self._line()) is not None:
            told = _as_object(line)
            if told is None:
                self._keep(line + b"\n")
            elif "asks" in told:
                data = (offers or {})[told["asks"]]()
                self.say(b"%d\n" % len(data))
                self.say(data)
            elif told["state"] == "failed":
                raise SeatError(told["reason"], evidence=told.get("log", ""))
            else:
                return told
        status, _ = self.end()
        raise SeatError(f"{self._name} ended with status {status} and no answer", evidence=_tail(self._seen))

    def read(self, count: int) -> Iterator[bytes]:
        """So many bytes of what it sends behind an answer, in pieces as they come. Raises SeatError."""
        while count > 0:
            part = bytes(self._unread[:count]) or self._receive()
            if not part:
                raise SeatError(f"the connection broke off ({count} bytes were still to come)", passing=True)
            del self._unread[:count]
            part, rest = part[:count], part[count:]
            self._unread += rest
            count -= len(part)
            yield part

    def end(self) -> tuple[int, bytes]:
        """Tell it that nothing more comes, and wait for its end. Returns its exit status and the tail of the rest."""
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):  # it may have ended already
            self._channel.shutdown_write()
        while part := self._receive():
            self._keep(part)
        if not self._channel.status_event.wait(max(self._deadline - time.monotonic(), 1.0)):
            raise self._silent()
        if self._channel.exit_status == -1:  # Paramiko's value where none came
            if self._channel.get_transport().is_active():
                raise SeatError(f"{self._name} was ended by a signal, or its shell refused", evidence=_tail(self._seen))
            raise SeatError("the connection broke off before the command ended", passing=True)
        return self._channel.exit_status, bytes(self._seen)

    def _line(self) -> bytes | None:
        while (found := self._unread.find(b"\n")) < 0:
            part = self._receive()
            if not part:
                self._keep(bytes(self._unread))
                self._unread.clear()
                return None
            self._unread += part
            if len(self._unread) > MOST_OUTPUT_BYTES:  # no answer of ours is that long
                self._keep(bytes(self._unread))
                self._unread.clear()
        line = bytes(self._unread[:found])
        del self._unread[: found + 1]
        return line

    def _receive(self) -> bytes:
        try:
            self._wait_no_longer()
            return bytes(self._channel.recv(65536))
        except TimeoutError:
            raise self._silent() from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _broken(error) from error

    def _wait_no_longer(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(min(left, self._quiet_seconds))

    def _keep(self, data: bytes) -> None:
        self._seen += data
        del self._seen[:-MOST_OUTPUT_BYTES]

    def _silent(self) -> SeatError:
        evidence = _tail(self._seen + self._unread)
        if time.monotonic() < self._deadline:
            return SeatError(f"nothing has moved for {self._quiet_seconds:.0f} seconds", passing=True)
        return SeatError(f"gave no answer within {self._seconds:.0f} seconds", evidence=evidence)


@contextmanager
def connect(line: Line, key: paramiko.PKey, deadline: float) -> Iterator[Remote]:
    """Log in over the line with the organiser's key, once the machine has shown the hand-over's host key.

    Raises SeatError: `passing` where the machine may still be booting, never for a wrong host key or a refused login.
    """
    client = paramiko.SSHClient()
    try:
        _log_in(client, line, key)
        transport = client.get_transport()
        assert isinstance(transport, QuickTransport)  # as it was told to
        transport.set_keepalive(KEEP_ALIVE_SECONDS)
        yield Remote(line.seat, transport, deadline)
    finally:
        client.close()
        line.sock.close()  # a client that never got so far as a transport leaves it open


def read_key(text: str) -> paramiko.PKey:
    """The organiser's key, parsed once for all seats."""
    return paramiko.Ed25519Key.from_private_key(io.StringIO(text))


def _log_in(client: paramiko.SSHClient, line: Line, key: paramiko.PKey) -> None:
    seat, where = line.seat, f"{line.seat.host} port {line.port}"
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    name = seat.host if line.port == 22 else f"[{seat.host}]:{line.port}"
    try:
        host_key = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {seat.host_key}")
    except paramiko.SSHException:
        host_key = None
    if host_key is None or host_key.key is None:
        raise SeatError("the hand-over's host key can't be read; run `pulumi up` again")
    client.get_host_keys().add(name, host_key.key.get_name(), host_key.key)
    try:
        client.connect(
            seat.host,
            line.port,
            seat.user,
            sock=line.sock,
            pkey=key,
            allow_agent=False,
            look_for_keys=False,
            timeout=LOGIN_SECONDS,
            banner_timeout=LOGIN_SECONDS,
            auth_timeout=LOGIN_SECONDS,
            channel_timeout=LOGIN_SECONDS,
            transport_factory=QuickTransport,
        )
    except paramiko.BadHostKeyException as error:
        raise SeatError(
            f"{where} shows another host key than the stack made ({error.key.get_name()} {error.key.fingerprint}); "
            "nothing was sent. Someone may be in between, or the machine was made anew"
        ) from error
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise SeatError(f"{where} and this computer have no algorithms in common ({words(error)})") from error
    except paramiko.AuthenticationException as error:
        raise SeatError(f"{where} refuses the organiser's key for {seat.user}") from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise SeatError(f"{where} began as SSH and broke off ({words(error)})", passing=True) from error


def _broken(error: BaseException) -> SeatError:
    return SeatError(f"the connection broke off ({words(error)})", passing=True)


def _as_object(line: bytes) -> dict[str, Any] | None:
    """The line as an answer or a question of a script; None where it is something else that the machine printed."""
    try:
        told = json.loads(line.decode(errors="replace"))
    except ValueError:
        return None
    return told if isinstance(told, dict) and {"state", "asks"} & told.keys() else None


def _tail(output: bytes | bytearray) -> str:
    lines = bytes(output[-_EVIDENCE_BYTES:]).decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-_EVIDENCE_LINES:])


@lru_cache
def _script(name: str) -> str:
    return (resources.files("provisioning") / "scripts" / f"{name}.sh").read_text(encoding="utf-8")
