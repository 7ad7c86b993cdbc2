"""connect.cmd and check.cmd under Wine's cmd, with stand-ins for ssh, plink, icacls and netstat that note what they are
told. Windows itself runs nowhere here: its ssh, its ACLs and its Explorer are what this can't prove.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.pack_files import files_of
from stacks.credentials import new_key
from stacks.outputs import SeatSecrets
from stacks.values import Secret
from tests.provisioning.machines import seat as a_seat

pytestmark = [
    pytest.mark.xdist_group("wine"),
    pytest.mark.skipif(shutil.which("wine") is None, reason="wine is not on PATH (Debian: wine)"),
]
KEY = new_key("ada")[0]
# Notes its arguments; then answers by the port that it is told, which the file <port>.port describes in one word.
SSH = r"""@echo off
setlocal
echo %~n0 %*>>"%NOTES%"
set "PORT="
set "KIND=probe"
:next
if "%~1"=="" goto told
if /i "%~1"=="-p" set "PORT=%~2"
if "%~1"=="-N" set "KIND=tunnel"
shift
goto next
:told
if "%KIND%"=="tunnel" goto tunnel
set "ANSWER=refuse"
for /f "usebackq" %%a in ("%STAND_INS%\%PORT%.port") do set "ANSWER=%%a"
if "%ANSWER%"=="version" echo {"version": "2"}
if "%ANSWER%"=="refuse" echo ssh: connect to host 127.0.0.1 port %PORT%: Connection refused>&2
if "%ANSWER%"=="wrong-key" echo Host key verification failed.>&2
if "%ANSWER%"=="wrong-pin" echo FATAL ERROR: Host key not in manually configured list>&2
if "%ANSWER%"=="denied" echo Permission denied, please try another key.>&2
if "%ANSWER%"=="silent" echo channel 0: open failed: connect failed: Connection refused>&2
exit /b 0
:tunnel
for /f "usebackq" %%a in ("%STAND_INS%\next.port") do set "PORT=%%a"
echo   TCP    127.0.0.1:%PORT%    0.0.0.0:0    ABHOEREN>>"%STAND_INS%\listening"
ping -n 5 127.0.0.1 >nul
copy /y "%STAND_INS%\before" "%STAND_INS%\listening" >nul
exit /b 255
"""
NETSTAT = '@echo off\ntype "%STAND_INS%\\listening"\n'
NOTE = '@echo off\necho %~n0 %*>>"%NOTES%"\n'


class Windows:
    """A Windows of the tests' own, and a pack unpacked on it in a folder with a space and a bracket in its name."""

    def __init__(self, prefix: Path, folder: Path, *programs: str) -> None:
        self.pack = folder / "My Pack (1)"
        self.stand_ins = folder / "stand ins"
        self._notes = folder / "notes"
        self.pack.mkdir()
        self.stand_ins.mkdir()
        secrets = SeatSecrets(password=Secret("x"), password_hash=Secret("x"), private_key=Secret(KEY))
        for name, file in files_of("spring", a_seat(22, 443), secrets).items():
            (self.pack / name).write_bytes(file.content)
        for name in programs:
            self.write(f"{name}.cmd", SSH)
        self.write("netstat.cmd", NETSTAT)
        self.write("icacls.cmd", NOTE)
        self.listening()
        self.port(22, "version")
        self.write("next.port", "8888\n")
        run = 'set "PATH={0};%PATH%"\nset "STAND_INS={0}"\nset "NOTES={1}"\n@echo off\ncall "%SCRIPT%"\n'
        self.write("run.cmd", run.format(self._path(self.stand_ins), self._path(self._notes)))
        self._environment = {**os.environ, "WINEPREFIX": str(prefix), "WINEDEBUG": "-all"}
        self._users = prefix / "drive_c/users"

    @staticmethod
    def _path(path: Path) -> str:
        return "Z:" + str(path).replace("/", "\\")

    def write(self, name: str, text: str) -> None:
        (self.stand_ins / name).write_text(text, newline="\r\n")

    def port(self, number: int, word: str) -> None:
        """What stands behind an SSH port: version, refuse, wrong-key, wrong-pin, denied or silent."""
        self.write(f"{number}.port", word + "\n")

    def listening(self, *ports: str) -> None:
        rows = "".join(f"  TCP    {port}    0.0.0.0:0    ABHOEREN\n" for port in ports)
        for name in ("before", "listening"):
            self.write(name, "  Proto  Lokale Adresse  Remoteadresse  Status\n" + rows)

    def start(self, script: str) -> subprocess.Popen[str]:
        words = ["wine", "cmd", "/c", self._path(self.stand_ins / "run.cmd")]
        return subprocess.Popen(
            words,
            env={**self._environment, "SCRIPT": self._path(self.pack / script)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def run(self, script: str) -> str:
        """What a script says that ends by itself."""
        process = self.start(script)
        try:
            said, _ = process.communicate(timeout=90)
        finally:
            process.kill()
            process.wait()
        return said

    @property
    def work(self) -> Path:
        """Where connect.cmd works from: a folder that is the user's alone."""
        return next(self._users.glob("*/AppData/Local/seminar/spring-ada"))

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty Windows. Its server is ended by Wine's own means."""
    folder = tmp_path_factory.mktemp("wine") / "prefix"
    yield folder
    subprocess.run(["wineserver", "-k"], env={**os.environ, "WINEPREFIX": str(folder)}, timeout=60)


def last(said: str) -> str:
    return next(line for line in reversed(said.splitlines()) if line.startswith("spring ada"))


def test_check_with_ssh(prefix: Path, tmp_path: Path) -> None:
    windows = Windows(prefix, tmp_path, "ssh", "plink")
    said = windows.run("check.cmd")
    assert last(said) == "spring ada ready: ssh, port 22 open, host key right, the notebook answers", said
    ask = "-F ssh_config -p 22 -o ConnectTimeout=8 -W 127.0.0.1:8888 ada@127.0.0.1"
    mended, asked = (line.strip() for line in windows.notes)
    assert re.fullmatch(r'icacls id_ed25519 /inheritance:r /grant:r "[^"\\]+\\[^"\\]+:\(F\)"', mended)
    assert asked == f"ssh {ask}"
    for name in ("id_ed25519", "id_ed25519.ppk", "known_hosts", "ssh_config"):
        assert (windows.work / name).read_bytes() == (windows.pack / name).read_bytes()


def test_check_with_plink_alone(prefix: Path, tmp_path: Path) -> None:
    windows = Windows(prefix, tmp_path, "plink")
    assert last(windows.run("check.cmd")).startswith("spring ada ready: plink, port 22 open")
    pin = a_seat().host_key.split()[1]
    assert windows.notes[-1].strip() == (
        f"plink -ssh -batch -noagent -P 22 -i id_ed25519.ppk -hostkey {pin} -nc 127.0.0.1:8888 ada@127.0.0.1"
    )


def test_check_without_either(prefix: Path, tmp_path: Path) -> None:
    assert last(Windows(prefix, tmp_path).run("check.cmd")) == "spring ada NOT ready: no ssh is on this computer"


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("refuse", "version", "ready: ssh, port 443 open"),
        ("refuse", "refuse", "can't be reached through port 22 or 443."),
        ("wrong-key", "version", "at 127.0.0.1 port 22 did not show the host key of this pack."),
        ("wrong-pin", "version", "at 127.0.0.1 port 22 did not show the host key of this pack."),
        ("denied", "version", "the machine does not accept the key of this pack."),
        ("silent", "version", "reached through port 22, and the notebook on it does not answer."),
    ],
)
def test_what_stands_in_the_way(prefix: Path, tmp_path: Path, first: str, second: str, told: str) -> None:
    windows = Windows(prefix, tmp_path, "ssh")
    windows.port(22, first)
    windows.port(443, second)
    line = last(windows.run("check.cmd"))
    assert told in line
    assert ("NOT ready" in line) is ("ready: ssh" not in told)


def test_connect_stops_at_a_wrong_host_key(prefix: Path, tmp_path: Path) -> None:
    windows = Windows(prefix, tmp_path, "ssh")
    windows.port(22, "wrong-key")
    said = windows.run("connect.cmd")
    assert "Stopped: the machine at 127.0.0.1 port 22 did not show the host key" in said
    assert not any(" -N " in line for line in windows.notes)


@pytest.mark.parametrize("program", ["ssh", "plink"])
def test_connect_passes_a_taken_port_over_and_reconnects_on_the_same(
    prefix: Path, tmp_path: Path, program: str
) -> None:
    windows = Windows(prefix, tmp_path, program)
    windows.listening("127.0.0.1:8888", "[::1]:8889", "192.0.2.1:8890")
    windows.write("next.port", "8890\n")
    process = windows.start("connect.cmd")
    try:
        deadline = time.monotonic() + 90
        while sum(" -N " in line for line in windows.notes) < 2 and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        process.kill()
        subprocess.run(["wineserver", "-k"], env={**os.environ, "WINEPREFIX": str(prefix)}, timeout=60)
        said, _ = process.communicate(timeout=20)
    tunnels = [line.strip() for line in windows.notes if " -N " in line]
    assert len(tunnels) >= 2, said
    assert all("-L 127.0.0.1:8890:127.0.0.1:8888 ada@127.0.0.1" in line for line in tunnels)
    assert "Port 8888 of this computer is taken" in said
    assert "Port 8889 of this computer is taken" in said
    assert "Connected. Your notebook: http://localhost:8890" in said
    assert "Not connected: the connection dropped." in said
    assert "Trying again in 5 s" in said


def test_started_from_within_the_zip(prefix: Path, tmp_path: Path) -> None:
    windows = Windows(prefix, tmp_path, "ssh")
    (windows.pack / "known_hosts").unlink()
    assert "known_hosts is missing beside this file. Unpack the whole zip first" in windows.run("connect.cmd")
    (windows.pack / "connect.cmd").unlink()
    assert "connect.cmd is missing beside this file." in windows.run("check.cmd")
    assert windows.notes == []
