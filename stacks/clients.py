"""What an SSH client needs to reach a seat: commands, known_hosts, ssh_config, PuTTY's key. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shlex
import subprocess
from pathlib import PurePath

from stacks.outputs import HandOverSeat

KEEP_ALIVE_SECONDS = 30
KEY_FILE, PUTTY_KEY_FILE, KNOWN_HOSTS_FILE = "id_ed25519", "id_ed25519.ppk", "known_hosts"
CONFIG_FILE, PASSWORD_FILE = "ssh_config", "password"


def tunnel_command(seat: HandOverSeat) -> str:
    """The command that a participant types on macOS, Linux and Windows' own OpenSSH.

    Where the seat's files lie on this computer, their ssh_config (and no other) says the port and both keys;
    else the key is expected as `<id>.key` in the current folder.
    """
    words = ["ssh", "-N", "-L", f"localhost:{seat.local_port}:localhost:{seat.notebook_port}"]
    if seat.files:
        words += ["-F", str(PurePath(seat.files) / CONFIG_FILE)]
    else:
        words += ["-i", f"{seat.id}.key", "-o", f"ServerAliveInterval={KEEP_ALIVE_SECONDS}"]
        words += ["-p", str(seat.ssh_ports[0])] if seat.ssh_ports[0] != 22 else []
    return shlex.join([*words, f"{seat.user}@{seat.host}"])


def putty_command(seat: HandOverSeat) -> str:
    """The same with PuTTY's plink. The host key is pinned, so that plink asks nothing."""
    key = str(PurePath(seat.files) / PUTTY_KEY_FILE) if seat.files else f"{seat.id}.ppk"
    words = ["plink", "-ssh", "-N", "-batch", "-noagent", "-P", str(seat.ssh_ports[0])]
    words += ["-L", f"{seat.local_port}:127.0.0.1:{seat.notebook_port}", "-i", key]
    words += ["-hostkey", fingerprint(seat.host_key), f"{seat.user}@{seat.host}"]
    return subprocess.list2cmdline(words)  # quoted for Windows' command line


def url(seat: HandOverSeat) -> str:
    """Where the participant's browser finds the notebook once the tunnel is open."""
    return f"http://localhost:{seat.local_port}"


def fingerprint(host_key: str) -> str:
    """OpenSSH's and PuTTY's SHA256 fingerprint of a public key: unpadded base64 of the blob's digest."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def known_hosts(seat: HandOverSeat) -> str:
    """The lines of known_hosts for every SSH port of the seat's machine (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    names = [seat.host if port == 22 else f"[{seat.host}]:{port}" for port in seat.ssh_ports]
    return "".join(f"{name} {seat.host_key}\n" for name in names)


def ssh_config(seat: HandOverSeat, folder: PurePath) -> str:
    """An ssh_config that trusts only the seat's host key and offers only its key, both in `folder`."""
    return "\n".join(
        [
            f"Host {seat.host}",
            f"  Port {seat.ssh_ports[0]}",
            f"  User {seat.user}",
            f"  IdentityFile {_quoted(folder / KEY_FILE)}",
            "  IdentitiesOnly yes",
            "  IdentityAgent none",
            f"  UserKnownHostsFile {_quoted(folder / KNOWN_HOSTS_FILE)}",
            "  GlobalKnownHostsFile none",
            "  StrictHostKeyChecking yes",
            "  BatchMode yes",
            "  ExitOnForwardFailure yes",
            f"  ServerAliveInterval {KEEP_ALIVE_SECONDS}",
            "  ServerAliveCountMax 3",
            "",
        ]
    )


def putty_key(private_key: str, comment: str) -> str:
    """An OpenSSH ed25519 or RSA key as PuTTY's .ppk, version 2, which every PuTTY since 0.68 reads.

    The format is in PuTTY's manual, appendix C. Raises ValueError for another kind of key.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_ssh_private_key,
    )

    key = load_ssh_private_key(private_key.encode(), None)

    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    def block(data: bytes) -> list[str]:
        text = base64.b64encode(data).decode()
        return [text[i : i + 64] for i in range(0, len(text), 64)]

    def number(value: int) -> bytes:  # "mpint" of RFC 4251, section 5: a leading zero where the top bit is set
        return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))

    if isinstance(key, Ed25519PrivateKey):
        kind = b"ssh-ed25519"
        public = string(kind) + string(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        private = string(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    elif isinstance(key, rsa.RSAPrivateKey):
        kind = b"ssh-rsa"
        parts = key.private_numbers()
        shared = parts.public_numbers
        public = string(kind) + number(shared.e) + number(shared.n)
        private = b"".join(number(part) for part in (parts.d, parts.p, parts.q, parts.iqmp))
    else:
        raise ValueError("expected an ed25519 or an RSA key")  # noqa: TRY004 (a wrong value: the type is str)
    signed = string(kind) + string(b"none") + string(comment.encode()) + string(public) + string(private)
    mac_key = hashlib.sha1(b"putty-private-key-file-mac-key").digest()  # noqa: S324 (PuTTY's format)
    lines = [f"PuTTY-User-Key-File-2: {kind.decode()}", "Encryption: none", f"Comment: {comment}"]
    lines += [f"Public-Lines: {len(block(public))}", *block(public)]
    lines += [f"Private-Lines: {len(block(private))}", *block(private)]
    lines += [f"Private-MAC: {hmac.new(mac_key, signed, hashlib.sha1).hexdigest()}", ""]
    return "\n".join(lines)


def putty_session(seat: HandOverSeat, name: str) -> bytes:
    """PuTTY's saved session of that name, as a file for Windows' registry editor: the tunnel and nothing else.

    The values' names are those of PuTTY's settings.c. The key is named without a folder, which only the participant
    knows; the host key is the whole public key, which PuTTY took as a pin before it took SHA256.
    """
    host_key = _in_list(seat.host_key.split()[1])
    forward = f"L{seat.local_port}={_in_list(f'127.0.0.1:{seat.notebook_port}')}"
    values: dict[str, str | int] = {
        "Present": 1,
        "HostName": seat.host,
        "PortNumber": seat.ssh_ports[0],
        "Protocol": "ssh",
        "UserName": seat.user,
        "PublicKeyFile": PUTTY_KEY_FILE,
        "PortForwardings": forward,
        "SSHManualHostKeys": host_key,
        "SshNoShell": 1,
        "PingInterval": 0,  # minutes
        "PingIntervalSecs": KEEP_ALIVE_SECONDS,
        "TCPKeepalives": 1,
        "LocalPortAcceptAll": 0,
        "AgentFwd": 0,
        "TryAgent": 0,
        "WinTitle": name,
    }
    lines = ["Windows Registry Editor Version 5.00", ""]
    lines += [f"[HKEY_CURRENT_USER\\Software\\SimonTatham\\PuTTY\\Sessions\\{name}]"]
    for key, value in values.items():
        text = f"dword:{value:08x}" if isinstance(value, int) else f'"{_escaped(value)}"'
        lines.append(f'"{key}"={text}')
    return b"\xff\xfe" + "\r\n".join([*lines, "", ""]).encode("utf-16-le")


def _in_list(text: str) -> str:
    """An item of one of PuTTY's lists, whose signs are = and the comma (settings.c, wmap)."""
    for sign in "\\=,":
        text = text.replace(sign, f"\\{sign}")
    return text


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(path: PurePath) -> str:
    # ssh_config expands %-tokens in file names.
    return '"' + str(path).replace("%", "%%") + '"'
