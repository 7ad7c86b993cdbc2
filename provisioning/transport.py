"""Paramiko's Transport, made quick: no slow algorithms, and login, session and shell asked for in one flight.

Asked for one after the other, as Paramiko does it, each costs a round trip: a tenth of a second each across the world.
The host key is checked before any of it, by the client that calls `auth_publickey`. This stands on methods that
Paramiko calls internal: its version is pinned, and test_transport.py holds the order of what is sent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import (
    cMSG_CHANNEL_OPEN,
    cMSG_CHANNEL_REQUEST,
    cMSG_SERVICE_REQUEST,
    cMSG_USERAUTH_REQUEST,
)
from paramiko.message import Message

from provisioning.dial import GREETING

# Paramiko's order prefers slower ones; every OpenSSH since 6.7 knows these.
_KEX = ("curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr")

# Who takes the next request before the last was answered. Go's server drops it without a word; Dropbear, having refused
# a key, breaks the connection off over it, so that the refusal may be lost.
_EAGER = ("SSH-2.0-OpenSSH",)

SHELL = "sh"

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what fails is raised, and told once


class QuickTransport(paramiko.Transport):
    """What a connection to a seat runs on. `take_shell` gives the shell that was asked for with the login."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        security = self.get_security_options()
        security.kex = _first(_KEX, security.kex)
        security.ciphers = _first(_CIPHERS, security.ciphers)
        self.local_version = GREETING
        setattr(self.packetizer, "write_all", self._greeted)  # noqa: B010 (mypy knows it as a method)
        self._shell: Channel | None = None
        self._shell_opened = threading.Event()

    def auth_publickey(self, username: str, key: paramiko.PKey, event: threading.Event | None = None) -> list[str]:
        """Log in. Where the server is known to bear it, a shell is asked for beside.

        Raises AuthenticationException for a key that was refused, SSHException where the answer did not come.
        """
        if event is not None or not self.active or not self.initial_kex_done:
            return list(super().auth_publickey(username, key, event))
        done = threading.Event()
        handler: _Handler
        if self.remote_version.startswith(_EAGER):
            asked = handler = self.auth_handler = _AskedAtOnce(self)
            for message in (*asked.ask(username, key, done), *self._ask_for_shell()):
                self._send_message(message)
        else:
            handler = self.auth_handler = _Handler(self)
            handler.auth_publickey(username, key, done)
        try:
            return list(handler.wait_for_response(done))
        except (paramiko.SSHException, OSError, EOFError) as error:
            # Paramiko has one exception for a key that was refused and for a connection that ended meanwhile.
            if handler.refused:
                raise paramiko.AuthenticationException("the key was refused") from error
            raise paramiko.SSHException("the login was not answered") from error

    def take_shell(self, seconds: float) -> Channel:
        """A session that runs `sh`, with errors beside what it prints. Raises as Paramiko's open_session.

        The one that was asked for with the login, once; after that, and where none was, a new one.
        """
        channel, self._shell = self._shell, None
        if channel is not None:
            if not self._shell_opened.wait(seconds):
                raise paramiko.SSHException("Timeout opening channel.")
            if not self.active or channel.closed or self._channels.get(channel.chanid) is not channel:
                raise self.get_exception() or paramiko.SSHException("Unable to open channel.")
        else:
            channel = self.open_session(timeout=seconds)
            channel.settimeout(seconds)
            channel.exec_command(SHELL)
        channel.set_combine_stderr(True)
        return channel

    def _parse_debug(self, m: Message) -> None:
        """OpenSSH tells what it found in authorized_keys: nothing that anybody here reads, and costly to word."""

    def _greeted(self, _greeting: bytes) -> None:
        """Paramiko begins with the greeting, which dial.py has sent: leave it out, and send what follows as ever."""
        del self.packetizer.write_all

    def _ask_for_shell(self) -> tuple[Message, Message]:
        """Paramiko's open_channel and exec_command without their waiting. The server numbers its channels from 0."""
        number = self._next_channel()
        window, packet = self._sanitize_window_size(None), self._sanitize_packet_size(None)
        channel = self._shell = Channel(number)
        self._channels.put(number, channel)
        self.channel_events[number] = self._shell_opened
        self.channels_seen[number] = True
        channel._set_transport(self)
        channel._set_window(window, packet)
        opening = Message()
        opening.add_byte(cMSG_CHANNEL_OPEN)
        opening.add_string("session")
        opening.add_int(number)
        opening.add_int(window)
        opening.add_int(packet)
        running = Message()
        running.add_byte(cMSG_CHANNEL_REQUEST)
        running.add_int(0)
        running.add_string("exec")
        running.add_boolean(True)  # a refusal closes the channel
        running.add_string(SHELL)
        return opening, running


def _first(quick: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """What is known, the quick ones first."""
    return [*(name for name in quick if name in known), *(name for name in known if name not in quick)]


class _Handler(AuthHandler):
    """Remembers whether the server said no."""

    refused = False

    def _parse_userauth_failure(self, m: Message) -> None:
        self.refused = True
        super()._parse_userauth_failure(m)


class _AskedAtOnce(_Handler):
    """Sends the proof of the key behind the request for the service, and not after its acceptance."""

    def ask(self, username: str, key: paramiko.PKey, done: threading.Event) -> tuple[Message, Message]:
        self.auth_event, self.auth_method, self.username, self.private_key = done, "publickey", username, key
        service = Message()
        service.add_byte(cMSG_SERVICE_REQUEST)
        service.add_string("ssh-userauth")
        kind, bits = self._get_key_type_and_bits(key)
        algorithm = self._finalize_pubkey_algorithm(kind)
        proof = Message()
        proof.add_byte(cMSG_USERAUTH_REQUEST)
        proof.add_string(username)
        proof.add_string("ssh-connection")
        proof.add_string("publickey")
        proof.add_boolean(True)
        proof.add_string(algorithm)
        proof.add_string(bits)
        blob = self._get_session_blob(key, "ssh-connection", username, algorithm)
        proof.add_string(key.sign_ssh_data(blob, algorithm))
        return service, proof

    def _parse_service_accept(self, m: Message) -> None:
        """The proof is under way already."""
