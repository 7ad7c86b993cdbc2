"""What lies in a pack: names, modes, bytes and secrets; and what is said of whom it must be sent to."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import time
import zipfile
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning import packs
from provisioning.inventory import Inventory
from provisioning.pack_files import LONGEST_NAME, files_of, windows_name
from stacks import folders
from stacks.credentials import new_key
from stacks.errors import SeatError
from stacks.outputs import HandOver, SeatSecrets, Secrets
from stacks.values import Secret
from tests.conftest import Project
from tests.provisioning.machines import seat as a_seat
from tests.provisioning.participant import packed

NAMES = ("Ada Lovelace", "עדה לאבלייס", "小野 妹子", "Μαρία <b>&\"'", "x" * 200)
KEYS = [new_key(f"seminar-{number}")[0] for number in range(3)]


def secrets(number: int) -> SeatSecrets:
    return SeatSecrets(
        password=Secret(f"tibo-rena-{number:03}"),
        password_hash=Secret(f"argon2:hash-{number:03}"),
        private_key=Secret(KEYS[number % len(KEYS)]),
    )


def inventory(count: int = 3, **changes: object) -> Inventory:
    seats = tuple(
        replace(a_seat(22, 443, id_=f"p{n:02}", host="192.0.2.7"), name=NAMES[n % len(NAMES)], **changes)  # type: ignore[arg-type]
        for n in range(count)
    )
    handover = HandOver(seminar="spring.2027", workdir="learnml", interface="notebook", seats=seats)
    kept = Secrets(
        organiser_key=Secret("the organiser's key"), seats={seat.id: secrets(n) for n, seat in enumerate(seats)}
    )
    return Inventory("spring.2027", handover, kept, seats)


@pytest.fixture(autouse=True)
def project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(folders, "PACKS_FOLDER", tmp_path / "packs")
    return tmp_path


def modes(pack: Path) -> dict[str, int]:
    with zipfile.ZipFile(pack) as archive:
        return {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}


def test_a_pack_and_its_modes(project_root: Path) -> None:
    results = packs.write(inventory())
    assert [result.outcome for result in results] == ["changed"] * 3
    folder = project_root / "packs" / "spring.2027"
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["p00.zip", "p01.zip", "p02.zip"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {name: oct(mode) for name, mode in modes(folder / "p00.zip").items()} == {
        "spring.2027-p00/": "0o40700",
        "spring.2027-p00/README.html": "0o100600",
        "spring.2027-p00/check.cmd": "0o100600",
        "spring.2027-p00/check.sh": "0o100700",
        "spring.2027-p00/connect.cmd": "0o100600",
        "spring.2027-p00/connect.command": "0o100700",
        "spring.2027-p00/connect.sh": "0o100700",
        "spring.2027-p00/id_ed25519": "0o100600",
        "spring.2027-p00/id_ed25519.ppk": "0o100600",
        "spring.2027-p00/known_hosts": "0o100600",
        "spring.2027-p00/putty.reg": "0o100600",
        "spring.2027-p00/ssh_config": "0o100600",
    }


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not on PATH")
def test_unzip_takes_the_modes(project_root: Path) -> None:
    packs.write(inventory(1))
    done = subprocess.run(
        ["unzip", "-q", project_root / "packs/spring.2027/p00.zip", "-d", project_root], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = project_root / "spring.2027-p00"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert stat.S_IMODE((found / "connect.command").stat().st_mode) == 0o700
    assert stat.S_IMODE((found / "id_ed25519").stat().st_mode) == 0o600


def test_a_pack_holds_its_own_seats_secrets_and_no_others(project_root: Path) -> None:
    whole = inventory()
    packs.write(whole)
    for seat in whole.seats:
        pack = (project_root / f"packs/spring.2027/{seat.id}.zip").read_bytes()
        for id_, kept in whole.secrets.seats.items():
            own = id_ == seat.id
            assert (kept.password.encode() in pack) is own
            assert (kept.private_key.encode() in pack) is own
            assert kept.password_hash.encode() not in pack
        assert b"organiser's key" not in pack


def test_line_ends() -> None:
    for name, file in files_of("spring", a_seat(), secrets(0)).items():
        text = file.content.decode("utf-16" if name.endswith(".reg") else "utf-8")
        windows = name.endswith((".cmd", ".reg"))
        assert ("\r" in text) is windows, name
        assert text.count("\r\n") == text.count("\n" if windows else "\r"), name
        assert text.endswith("\n")
        assert not re.search(r"@[A-Z_]+@", text), name


def test_a_second_run_changes_no_byte(project_root: Path) -> None:
    packs.write(inventory())
    folder = project_root / "packs/spring.2027"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    results = packs.write(inventory())
    assert [result.outcome for result in results] == ["unchanged"] * 3
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    assert packs.to_send(results)[1:] == ["None needs to be sent again."]


def test_whose_pack_must_be_sent_again(project_root: Path) -> None:
    first = packs.write(inventory(2))
    assert packs.to_send(first) == [f"The packs are in {project_root}/packs/spring.2027/.", "To send: p00, p01."]
    changed = inventory(3)
    changed.secrets.seats["p01"] = secrets(77)  # type: ignore[index]  # it is a dict
    assert packs.to_send(packs.write(changed))[1:] == [
        "To send: p02.",
        "To send again, for they have changed: p01 (README.html, id_ed25519, id_ed25519.ppk).",
    ]


def test_who_takes_part_no_longer(project_root: Path) -> None:
    packs.write(inventory(3))
    assert packs.remove_strangers(inventory(2)) == ["Removed p02.zip: its participant takes part no longer."]
    assert packs.remove_strangers(inventory(2)) == []
    assert not (project_root / "packs/spring.2027/p02.zip").exists()


def test_a_seat_without_an_address_costs_no_other(project_root: Path) -> None:
    whole = inventory()
    seats = (replace(whole.seats[0], host=""), *whole.seats[1:])
    results = packs.write(replace(whole, seats=seats))
    assert [result.outcome for result in results] == ["failed", "changed", "changed"]
    assert "has no address" in results[0].reason


@pytest.mark.parametrize("bad", ["a b", "x;y", 'x"y', "$(id)", "%PATH%", "-oProxyCommand=x", "ä"])
def test_what_no_shell_should_read_is_refused(bad: str) -> None:
    for seat in (replace(a_seat(), user=bad), replace(a_seat(), host=bad)):
        with pytest.raises(SeatError, match="expected letters, digits"):
            files_of("spring", seat, secrets(0))


def test_names_stand_in_the_page_as_they_are_written() -> None:
    page = files_of("spring", replace(a_seat(), name=NAMES[3]), secrets(0))["README.html"].content.decode()
    assert "<bdi>Μαρία &lt;b&gt;&amp;&quot;&#x27;</bdi>" in page


def test_the_page_needs_no_network() -> None:
    page = files_of("spring", a_seat(), secrets(0))["README.html"].content.decode()
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\"<]+", page)) == {"http://localhost:8888"}
    assert not re.search(r"<(link|img|iframe)\b|src=|url\(|@import", page)


def test_fifty_packs_in_three_seconds(project_root: Path) -> None:
    whole = inventory(50)
    began = time.process_time()
    results = packs.write(whole)
    assert time.process_time() - began < 3.0
    assert len(results) == 50


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ada", "ada"),
        ("con", "_con"),
        ("CON.txt", "_CON.txt"),
        ("com1", "_com1"),
        ("LPT¹", "_LPT¹"),
        ("console", "console"),
        ("ada...", "ada"),
        ("ada. .", "ada"),
        ("a/b:c*d?", "a_b_c_d_"),
        ("小野 妹子", "小野 妹子"),
        ("", "_"),
        ("..", "_"),
        ("x" * 200, "x" * LONGEST_NAME),
    ],
)
def test_names_that_windows_takes(text: str, name: str) -> None:
    assert windows_name(text) == name


@given(st.text(max_size=300))
def test_every_name_is_one_that_windows_takes(text: str) -> None:
    name = windows_name(text)
    assert 0 < len(name) <= LONGEST_NAME + 1
    assert not PureWindowsPath(name).is_reserved()
    assert PureWindowsPath(name).name == name
    assert name == name.rstrip(". ")
    assert windows_name(name) == name
    name.encode()


def test_the_saved_session() -> None:
    lines = files_of("spring", a_seat(22, 443), secrets(0))["putty.reg"].content.decode("utf-16").splitlines()
    assert lines[:3] == [
        "Windows Registry Editor Version 5.00",
        "",
        r"[HKEY_CURRENT_USER\Software\SimonTatham\PuTTY\Sessions\spring-ada]",
    ]
    assert {
        '"HostName"="127.0.0.1"',
        '"PortNumber"=dword:00000016',
        '"PortForwardings"="L8888=127.0.0.1:8888"',
        f'"SSHManualHostKeys"="{a_seat().host_key.split()[1]}"',
        '"SshNoShell"=dword:00000001',
        '"PingIntervalSecs"=dword:0000001e',
    } <= set(lines)


def test_fab_packs(running: Project) -> None:
    removed = running.root / "packs/rehearsal/zoe.zip"
    first = running.fab("packs")
    assert first.returncode == 0, first.stderr
    assert "To send: ada, bose, curie." in first.stdout
    removed.write_bytes(b"")
    second = running.fab("packs", "--json")
    assert {seat["send"] for seat in json.loads(second.stdout)["seats"]} == {""}
    assert "Removed zoe.zip" in second.stderr
    pack = packed(running, "bose")
    assert stat.S_IMODE(pack.stat().st_mode) == 0o600
    assert running.fab("set-password", "--only", "bose", "--generate").returncode == 0
    again = running.fab("packs", "--only", "bose")
    assert "To send again, for they have changed: bose (README.html)." in again.stdout
    assert "/packs/" in (running.root / ".gitignore").read_text().splitlines()
