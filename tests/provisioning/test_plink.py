"""PuTTY's own programs with what lies in a pack: plink with the key and the pinned host key, and the saved session."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rehearsal import proof
from tests.conftest import Project
from tests.provisioning.machines import HOST_KEY
from tests.provisioning.participant import packed, unpacked

pytestmark = [
    pytest.mark.xdist_group("connect"),
    pytest.mark.skipif(shutil.which("plink") is None, reason="plink is not on PATH (Debian: putty-tools)"),
]


@pytest.fixture
def pack(running: Project, tmp_path: Path) -> Path:
    return unpacked(packed(running, "curie"), tmp_path / "a pack")


def session(pack: Path) -> dict[str, str]:
    """The saved session's values as Unix PuTTY keeps them: numbers in decimal, the rest as in Windows' registry."""
    values = {}
    for line in (pack / "putty.reg").read_text(encoding="utf-16").splitlines():
        if found := re.fullmatch(r'"(\w+)"=(?:dword:([0-9a-f]{8})|"(.*)")', line):
            key, number, string = found.groups()
            values[key] = str(int(number, 16)) if number else re.sub(r"\\(.)", r"\1", string)
    return values


@contextmanager
def plink(*words: str, pack: Path, home: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        ["plink", "-v", "-batch", "-N", *words],
        cwd=pack,
        env={**os.environ, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def computes(running: Project, seconds: float = 30) -> str:
    """What a kernel of the seat answers through its local port."""
    seat = running.seats()["curie"]
    deadline = time.monotonic() + seconds
    while True:
        try:
            return proof.compute(f"http://localhost:{seat['local_port']}", seat["password"], "print(6 * 7)")
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_the_command_on_the_page(running: Project, pack: Path, tmp_path: Path) -> None:
    page = (pack / "README.html").read_text()
    command = re.search(r'<code id="plink">plink ([^<]+)</code>', page)
    assert command
    with plink(*command[1].split(), pack=pack, home=tmp_path):
        assert computes(running) == "42"
    assert not (tmp_path / ".putty" / "sshhostkeys").exists()


def test_the_saved_session(running: Project, pack: Path, tmp_path: Path) -> None:
    sessions = tmp_path / ".putty" / "sessions"
    sessions.mkdir(parents=True)
    values = session(pack)
    (sessions / "rehearsal-curie").write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    with plink("-load", "rehearsal-curie", pack=pack, home=tmp_path) as process:
        assert computes(running) == "42"
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert f"Local port {values['PortForwardings'].split('=')[0][1:]} forwarding to 127.0.0.1:" in said
    assert "Started a shell" not in said


def test_another_host_key_is_refused(pack: Path, tmp_path: Path) -> None:
    sessions = tmp_path / ".putty" / "sessions"
    sessions.mkdir(parents=True)
    values = {**session(pack), "SSHManualHostKeys": HOST_KEY.split()[1]}
    (sessions / "rehearsal-curie").write_text("".join(f"{key}={value}\n" for key, value in values.items()))
    with plink("-load", "rehearsal-curie", pack=pack, home=tmp_path) as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Host key not in manually configured list" in said


def test_every_value_is_one_that_putty_knows(pack: Path) -> None:
    # Unix PuTTY's own settings code is in plink: the names must be in it, or they mean nothing.
    program = Path(shutil.which("plink") or "").read_bytes()
    for key in session(pack):
        assert f"{key}\0".encode() in program, key
