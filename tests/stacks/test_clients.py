"""What SSH clients are given: the words themselves, and OpenSSH's and PuTTY's own programs reading them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from stacks import clients
from stacks.credentials import new_key
from stacks.outputs import HandOverSeat

PRIVATE, PUBLIC = new_key("seminar-ada")
HOST_KEY = " ".join(PUBLIC.split()[:2])
CLOUD = HandOverSeat(
    id="ada",
    name="Ada Lovelace",
    machine="m1",
    host="192.0.2.7",
    ssh_ports=(22, 443),
    user="ada",
    notebook_port=8888,
    local_port=8888,
    host_key=HOST_KEY,
)
OTHER = replace(CLOUD, ssh_ports=(2201,), notebook_port=8901, local_port=9901)
FOLDER = "/srv/a seminar/seats/100%/ada"
REHEARSAL = replace(OTHER, host="localhost", files=FOLDER)


def run(*words: str | Path) -> str:
    """What a program prints; skips where it is missing."""
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"{words[0]} is not on PATH")
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tunnel_to_a_cloud_is_the_line_that_people_know() -> None:
    command = clients.tunnel_command(CLOUD)
    assert command.startswith("ssh -N -L localhost:8888:localhost:8888 ")
    assert command.endswith(" ada@192.0.2.7")
    assert shlex.split(command)[4:-1] == ["-i", "ada.key", "-o", "ServerAliveInterval=30"]


def test_the_tunnel_names_every_other_port() -> None:
    command = clients.tunnel_command(OTHER)
    assert command.startswith("ssh -N -L localhost:9901:localhost:8901 ")
    assert "-p 2201" in command
    assert "-p" not in shlex.split(clients.tunnel_command(CLOUD))


def test_the_tunnel_uses_the_files_where_they_lie_here() -> None:
    words = shlex.split(clients.tunnel_command(REHEARSAL))
    assert words[:4] == ["ssh", "-N", "-L", "localhost:9901:localhost:8901"]
    assert words[4:] == ["-F", f"{FOLDER}/ssh_config", "ada@localhost"]


def test_putty_asks_nothing() -> None:
    assert clients.putty_command(CLOUD) == (
        "plink -ssh -N -batch -noagent -P 22 -L 8888:127.0.0.1:8888 -i ada.ppk "
        f"-hostkey {clients.fingerprint(HOST_KEY)} ada@192.0.2.7"
    )
    assert f'-i "{FOLDER}/id_ed25519.ppk"' in clients.putty_command(REHEARSAL)
    assert "-P 2201 -L 9901:127.0.0.1:8901 " in clients.putty_command(REHEARSAL)


def test_url() -> None:
    assert clients.url(CLOUD) == "http://localhost:8888"
    assert clients.url(OTHER) == "http://localhost:9901"


def test_known_hosts_has_a_line_for_each_port() -> None:
    assert clients.known_hosts(CLOUD) == f"192.0.2.7 {HOST_KEY}\n[192.0.2.7]:443 {HOST_KEY}\n"
    assert clients.known_hosts(OTHER) == f"[192.0.2.7]:2201 {HOST_KEY}\n"


def test_ssh_keygen_finds_each_line_of_known_hosts(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(clients.known_hosts(CLOUD))
    for name in ("192.0.2.7", "[192.0.2.7]:443"):
        assert f"{name} {HOST_KEY}" in run("ssh-keygen", "-F", name, "-f", file)


def test_ssh_config_trusts_and_offers_nothing_else() -> None:
    lines = clients.ssh_config(REHEARSAL, PurePosixPath(FOLDER)).splitlines()
    assert lines[0] == "Host localhost"
    assert dict(line.split(maxsplit=1) for line in lines[1:]) == {
        "Port": "2201",
        "User": "ada",
        "IdentityFile": '"/srv/a seminar/seats/100%%/ada/id_ed25519"',
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": '"/srv/a seminar/seats/100%%/ada/known_hosts"',
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "ServerAliveInterval": "30",
        "ServerAliveCountMax": "3",
    }


def test_ssh_reads_the_config_as_meant(tmp_path: Path) -> None:
    folder = tmp_path / "a seminar"
    folder.mkdir()
    (folder / "ssh_config").write_text(clients.ssh_config(REHEARSAL, folder))
    words = shlex.split(clients.tunnel_command(replace(REHEARSAL, files=str(folder))))
    told = dict(line.split(" ", maxsplit=1) for line in run(words[0], "-G", *words[1:]).splitlines() if " " in line)
    assert (told["hostname"], told["port"], told["user"]) == ("localhost", "2201", "ada")
    assert told["identityfile"].strip('"') == f"{folder}/id_ed25519"
    assert told["localforward"] == "[localhost]:9901 [localhost]:8901"
    assert told["stricthostkeychecking"] in ("true", "yes")


def test_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    (tmp_path / "host.pub").write_text(HOST_KEY + "\n")
    assert run("ssh-keygen", "-l", "-f", tmp_path / "host.pub").split()[1] == clients.fingerprint(HOST_KEY)


def test_putty_reads_its_key_as_the_same_key(tmp_path: Path) -> None:
    ppk, out = tmp_path / "k.ppk", tmp_path / "out"
    ppk.write_text(clients.putty_key(PRIVATE, "seminar-ada"))
    ppk.chmod(0o600)
    run("puttygen", ppk, "-O", "private-openssh", "-o", out)
    assert run("ssh-keygen", "-y", "-f", out).split()[:2] == PUBLIC.split()[:2]
    assert run("puttygen", ppk, "-L").split() == PUBLIC.split()


def edges() -> list[str]:
    """Keys where a length or a sign could go wrong: all zeros, all ones, a zero at an end, and random ones; and RSA."""
    seeds = [bytes(32), b"\xff" * 32, b"\x00" + b"\x80" * 31, b"\x7f" * 31 + b"\x00"]
    ours = [Ed25519PrivateKey.from_private_bytes(seed) for seed in [*seeds, *(os.urandom(32) for _ in range(196))]]
    others = [generate_private_key(public_exponent=65537, key_size=size) for size in (2048, 2048, 2056, 3072)]
    form = (Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return [key.private_bytes(*form).decode() for key in ours] + [key.private_bytes(*form).decode() for key in others]


def test_puttygen_loads_two_hundred_keys_fully(tmp_path: Path) -> None:
    # -O private-openssh, because -l and -L do not look at the MAC; and the key that comes out is compared.
    ppk, out = tmp_path / "k.ppk", tmp_path / "out"
    plain = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for text in edges():
        ppk.write_text(clients.putty_key(text, "seminar-ada"))
        run("puttygen", ppk, "-O", "private-openssh", "-o", out)
        came = out.read_bytes()
        key = load_pem_private_key(came, None) if b"BEGIN RSA" in came else load_ssh_private_key(came, None)
        assert key.private_bytes(*plain) == load_ssh_private_key(text.encode(), None).private_bytes(*plain)


def test_puttygen_refuses_a_key_that_was_changed(tmp_path: Path) -> None:
    if shutil.which("puttygen") is None:
        pytest.skip("puttygen is not on PATH")
    ppk = tmp_path / "k.ppk"
    ppk.write_text(clients.putty_key(PRIVATE, "seminar-ada").replace("Comment: seminar-ada", "Comment: seminar-bob"))
    words = ["puttygen", str(ppk), "-O", "private-openssh", "-o", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 1
    assert "MAC failed" in done.stderr


def test_putty_key_has_its_form() -> None:
    lines = clients.putty_key(PRIVATE, "seminar-ada").splitlines()
    assert lines[:3] == ["PuTTY-User-Key-File-2: ssh-ed25519", "Encryption: none", "Comment: seminar-ada"]
    assert "".join(lines[4:6]) == PUBLIC.split()[1]
    assert lines[-1].startswith("Private-MAC: ")
    assert clients.putty_key(PRIVATE, "seminar-ada").endswith("\n")


def test_putty_key_refuses_another_kind() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    text = other.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    with pytest.raises(ValueError, match=r"^expected an ed25519 or an RSA key$"):
        clients.putty_key(text, "seminar-ada")
