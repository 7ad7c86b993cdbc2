"""The board over HTTP: who is let in, what is told, and that nothing secret is; and `fab board` to Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psutil
import pytest

from provisioning import board_server
from provisioning.board_tiles import facts, text
from provisioning.live import Sight
from stacks.errors import RequestError
from stacks.folders import PROJECT_ROOT
from stacks.outputs import HandOverSeat
from tests.conftest import FAB, STACK, Project, copy_project
from tests.provisioning.boards import PASSWORD, PASSWORD_HASH, Served, events, inventory, printed_address, served
from tests.provisioning.machines import closed_port
from tests.provisioning.machines import seat as a_seat

PAGE = PROJECT_ROOT / "provisioning" / "board"
FILES = ("", "board.css", "board.js", "icon.svg")
ANSWER_SECONDS = 60


@pytest.fixture
def seats() -> list[HandOverSeat]:
    return [a_seat(closed_port(), id_=id_) for id_ in ("ada", "bose", "curie")]


@pytest.fixture
def board(seats: list[HandOverSeat]) -> Iterator[Served]:
    with served(seats) as board:
        yield board


@contextlib.contextmanager
def listening(board: Served) -> Iterator[Iterator[tuple[str, Any]]]:
    """What a page hears: the name and the content of one event after the other."""
    with board.connection() as connection:
        headers = {"Cookie": f"seminar-board={board.door.token}"}
        connection.request("GET", f"{board.below}events", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
        yield ((name, json.loads(data)) for name, data in events(answer))
        answer.close()


def some(heard: Iterator[tuple[str, Any]]) -> list[dict[str, Any]]:
    """The seats of the next event that is no beat."""
    return next(data["seats"] for name, data in heard if name != "beat")


def of(heard: Iterator[tuple[str, Any]], seat: str, wanted: str) -> dict[str, Any]:
    """What an event tells of the seat that has word of this; events before are passed over."""
    return next(told for _, data in heard for told in data.get("seats", ()) if told["id"] == seat and wanted in told)


# Who is let in


@pytest.mark.parametrize("path", [*FILES, "events", "seats/ada/log", "nothing"])
def test_a_stranger_reads_nothing(board: Served, path: str) -> None:
    for known in ({"X": "y"}, {"Cookie": "seminar-board=guessed"}, {"Cookie": "seminar-board="}):
        answer, said = board.ask(board.below + path, known, known=False)
        assert answer.status == 403
        assert said == "The board opens with the address that `fab board` has printed, its token included.\n"
    assert board.ask(f"{board.below}{path}?token=guessed", known=False)[0].status == 403
    assert board.ask(f"{board.below}{path}?token=%ff", known=False)[0].status in (400, 403)
    assert board.ask("/" + path, known=False)[0].status == 403


def test_the_token_is_taken_once_and_leaves_the_address(board: Served) -> None:
    way_in = urlsplit(board.door.way_in)
    answer, said = board.ask(f"{way_in.path}?{way_in.query}", known=False)
    assert answer.status == 303
    assert answer.getheader("Location") == board.door.address
    cookie = answer.getheader("Set-Cookie") or ""
    assert cookie == f"seminar-board={board.door.token}; HttpOnly; Path={board.below}; SameSite=Strict"
    assert board.door.token not in said
    answer, said = board.ask(board.below, {"Cookie": cookie.partition(";")[0]}, known=False)
    assert answer.status == 200
    assert board.door.token not in said


def test_who_comes_from_another_page_is_let_in_by_way_of_ours(board: Served) -> None:
    way_in = urlsplit(board.door.way_in)
    by_link = board.ask(f"{way_in.path}?{way_in.query}", {"Sec-Fetch-Site": "cross-site"}, known=False)
    form = urlencode({"token": board.door.token})
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null"}
    by_file = board.ask(f"{board.below}open", kind, method="POST", known=False, body=form)
    for answer, said in (by_link, by_file):
        assert answer.status == 200
        assert (answer.getheader("Set-Cookie") or "").startswith(f"seminar-board={board.door.token};")
        assert f'content="0; url={board.door.address}"' in said
        assert board.door.token not in said
    answer, _ = board.ask(f"{board.below}open", kind, method="POST", known=False, body="token=x")
    assert answer.status == 403


def test_the_token_is_long_and_each_board_has_its_own() -> None:
    doors = [board_server.Door(8700) for _ in range(2)]
    assert all(len(door.token) >= 43 for door in doors)  # 256 bits in base 64
    assert doors[0].token != doors[1].token
    assert doors[0].path != doors[1].path
    assert doors[0].token not in repr(doors[0])


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "rebound.example:{port}", "127.0.0.1", "127.0.0.1:{port}.example", ""]
)
def test_a_name_that_was_pointed_here_is_refused(board: Served, host: str) -> None:
    answer, said = board.ask(board.below, {"Host": host.format(port=board.door.port)})
    assert answer.status in (400, 421)
    assert "ada" not in said


def test_only_our_page_may_restart(board: Served) -> None:
    path = f"{board.below}seats/ada/restart"
    other_port = f"http://127.0.0.1:{board.door.port + 1}"
    for headers in ({"X": "y"}, {"Origin": "null"}, {"Origin": other_port}, {"Origin": "https://example.org"}):
        answer, _ = board.ask(path, headers, method="POST")
        assert answer.status == 403
    assert board.ask(path, {"Origin": f"http://{board.door.host}"}, method="POST", known=False)[0].status == 403
    assert board.ask(path)[0].status == 405
    assert board.do(lambda: board.board.tiles["ada"]["job"]) is None


def test_it_listens_on_loopback_alone(board: Served) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process().net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == board.door.port
    ]
    assert listening == ["127.0.0.1"]


def test_every_answer_keeps_the_browser_strict(board: Served) -> None:
    for path in (*FILES, "nothing", "seats/nobody/log"):
        for known in (True, False):
            answer, _ = board.ask(board.below + path, known=known)
            policy = answer.getheader("Content-Security-Policy") or ""
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.getheader("X-Content-Type-Options") == "nosniff"
            assert answer.getheader("Referrer-Policy") == "no-referrer"
            assert answer.getheader("Cache-Control") == "no-store"
            assert answer.getheader("Access-Control-Allow-Origin") is None
            assert answer.getheader("Server") is None


def test_the_page_has_nothing_inline_and_sets_no_markup() -> None:
    page, script = (PAGE / "index.html").read_text(), (PAGE / "board.js").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://", script)


def test_what_is_not_there_is_said_so(board: Served) -> None:
    assert board.ask("/")[0].status == 404
    assert board.ask(f"{board.below}../../etc/passwd")[0].status == 404
    answer, said = board.ask(f"{board.below}seats/nobody/log")
    assert (answer.status, said) == (404, "There is no seat nobody on this board.\n")
    answer, said = board.ask(
        f"{board.below}seats/nobody/restart", {"Origin": f"http://{board.door.host}"}, method="POST"
    )
    assert answer.status == 404
    assert board.ask(board.below, {"Origin": f"http://{board.door.host}"}, method="DELETE")[0].status == 405


# What is told


def test_first_all_and_then_only_what_has_changed(board: Served, seats: list[HandOverSeat]) -> None:
    facts = {"state": "running", "tunnels": 1, "free_mib": 2048}
    board.saw(Sight(seats[0], "green", "at work", facts=facts))
    with listening(board) as heard:
        name, first = next(heard)
        assert name == "all"
        assert first["seminar"] == "spring"
        assert [(seat["id"], seat["light"]) for seat in first["seats"]] == [
            ("ada", "green"),
            ("bose", "none"),
            ("curie", "none"),
        ]
        assert first["seats"][0] == {
            "id": "ada",
            "name": "Participant ada",
            "light": "green",
            "reason": "at work",
            "evidence": "",
            "facts": facts,
            "last_seen": None,
            "job": None,
        }
        board.saw(Sight(seats[0], "green", "at work", facts=facts), Sight(seats[1], "amber", "nobody is connected"))
        assert some(heard) == [{"id": "bose", "light": "amber", "reason": "nobody is connected"}]
        board.saw(Sight(seats[0], "green", "at work", facts={**facts, "tunnels": 2}))
        assert some(heard) == [{"id": "ada", "facts": {**facts, "tunnels": 2}}]


def test_a_beat_where_nothing_changes(board: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_server, "BEAT_SECONDS", 0.05)
    with listening(board) as heard:
        assert [next(heard)[0] for _ in range(4)] == ["all", "beat", "beat", "beat"]


def test_a_seat_that_was_not_seen_for_long_says_so(seats: list[HandOverSeat]) -> None:
    with served(seats) as board, listening(board) as heard:
        next(heard)
        long_ago = time.time() - 1000
        board.saw(Sight(seats[0], "green", "at work", at=long_ago))
        assert some(heard)[0]["last_seen"] == round(long_ago)
        board.saw(Sight(seats[0], "green", "at work"))
        assert some(heard) == [{"id": "ada", "last_seen": None}]


def test_a_page_that_takes_nothing_holds_up_no_other(board: Served, seats: list[HandOverSeat]) -> None:
    with board.connection() as stuck, listening(board) as heard:
        stuck.request("GET", f"{board.below}events", headers={"Cookie": f"seminar-board={board.door.token}"})
        for turn in range(20):
            board.saw(*(Sight(seat, "red", "died", f"{turn} {'x' * 3900}") for seat in seats))
        while not any(seat.get("evidence", "").startswith("19 ") for seat in some(heard)):
            pass
        assert stuck.getresponse().status == 200


def test_pages_that_have_gone_are_forgotten(board: Served) -> None:
    for _ in range(3):
        with listening(board) as heard:
            next(heard)
    deadline = time.monotonic() + ANSWER_SECONDS
    while board.do(lambda: len(board.board._listeners)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_does_not_answer_is_told_in_words(seats: list[HandOverSeat]) -> None:
    """Real dialling: nothing listens at these seats' ports."""
    with served(seats, watched=True) as board, listening(board) as heard:
        told = of(heard, "ada", "light")
        while told["light"] == "none":
            told = of(heard, "ada", "light")
        assert told["light"] == "red"
        assert f"port {seats[0].ssh_ports[0]}" in told["reason"]
        answer, said = board.ask(f"{board.below}seats/ada/log")
        assert answer.status == 200
        assert json.loads(said)["log"] == ""
        assert "port" in json.loads(said)["fault"]
        origin = {"Origin": f"http://{board.door.host}"}
        assert board.ask(f"{board.below}seats/ada/restart", origin, method="POST")[0].status == 202
        assert of(heard, "ada", "job")["job"]["state"] == "running"
        job = of(heard, "ada", "job")["job"]
        assert job["state"] == "failed"
        assert job["words"].startswith("the notebook was not restarted: ")


def test_a_seat_is_restarted_once_at_a_time(board: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    async def without_end(seat: HandOverSeat, _: object) -> None:
        begun.append(seat.id)
        await asyncio.Event().wait()

    monkeypatch.setattr(board.board, "_on", without_end)
    path, origin = f"{board.below}seats/ada/restart", {"Origin": f"http://{board.door.host}"}
    assert board.ask(path, origin, method="POST")[0].status == 202
    answer, said = board.ask(path, origin, method="POST")
    assert (answer.status, said) == (409, "The notebook is being restarted already.\n")
    assert begun == ["ada"]


# Nothing secret


def test_no_secret_is_told(board: Served, seats: list[HandOverSeat]) -> None:
    token = "f00dfeedf00dfeedf00dfeed"
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----"
    printed = f'http://localhost:8888/tree?token={token} {{"token": "{token}"}} {PASSWORD} {PASSWORD_HASH} {key} end'
    seen = {"token": token, "password": PASSWORD, "pid": "7", "gpu": "\x1b[31m3 %", "since": None, "busy": "two"}
    board.saw(Sight(seats[0], "red", printed, printed, facts=seen))
    with listening(board) as heard:
        told = json.dumps(next(heard)[1])
    for secret in (token, PASSWORD, PASSWORD_HASH, "argon2id", "b3Blb", "organiser"):
        assert secret not in told
    assert "token=…" in json.loads(told)["seats"][0]["reason"]
    assert json.loads(told)["seats"][0]["reason"].endswith(" end")
    assert json.loads(told)["seats"][0]["facts"] == {"gpu": "\ufffd[31m3 %"}


def test_facts_pass_by_name_and_kind() -> None:
    assert facts({"tunnels": 0, "kernels": "2", "busy": -1, "free_mib": None, "state": "odd", "password": "yes"}) == {
        "tunnels": 0,
        "kernels": 2,
        "password": "yes",
    }
    assert facts({"idle_minutes": float("nan"), "memory_mib": 10**30, "gpu": "x" * 500}) == {"gpu": "x" * 100}


def test_what_a_machine_printed_steers_nothing() -> None:
    secrets = inventory([a_seat(22)]).secrets.seats["ada"]
    printed = "\x1b[1;31mred\x1b[0m\r\n\x07bell \u202eturned <img src=x onerror=alert(1)>"
    assert text(printed, secrets) == "red\n\ufffdbell \ufffdturned <img src=x onerror=alert(1)>"
    assert text("x" * 200_000, secrets) == "x" * 100_000


# The ports


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RequestError, match=f"Port {port} of this computer is taken"):
            board_server.listen(port)


def test_the_first_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(board_server, "FIRST_PORT", port)
        monkeypatch.setattr(board_server, "LAST_PORT", port)
        with pytest.raises(RequestError, match=r"No port from .* is free"):
            board_server.listen(None)


# The task


@pytest.fixture
def away(tmp_path: Path, seats: list[HandOverSeat]) -> Iterator[Project]:
    """A copy of the project with a seminar whose machines do not answer."""
    project = Project(copy_project(tmp_path / "a seminar"))
    made = inventory(seats)
    outputs = {"handover": made.handover.to_dict(), "secrets": made.secrets.to_dict()}
    project.state.parent.mkdir(parents=True)
    project.state.write_text(json.dumps({"outputs": outputs}))
    yield project
    for process in project.started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def test_the_task_from_its_address_to_ctrl_c(away: Project, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >'{opened}.new' && mv '{opened}.new' '{opened}'\n")
    browser.chmod(0o755)
    away.env = {"BROWSER": f"{browser} %s"}
    process = away.popen(FAB, "board")
    address = urlsplit(printed_address(process))
    deadline = time.monotonic() + ANSWER_SECONDS
    while not opened.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    file = away.root / "packs" / STACK / "open-the-board.html"
    assert opened.read_text().split() == [file.as_uri()]
    assert file.stat().st_mode & 0o777 == 0o600
    assert address.query.removeprefix("token=") in file.read_text()

    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=ANSWER_SECONDS)
    cookie = {"Cookie": f"seminar-board={address.query.removeprefix('token=')}"}
    connection.request("GET", f"{address.path}events", headers=cookie)
    answer = connection.getresponse()
    assert next(events(answer))[0] == "all"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=ANSWER_SECONDS)
    took = time.monotonic() - began
    answer.close()
    connection.close()
    assert process.returncode == 0
    assert said.rstrip().endswith("The board is closed.")
    assert "Traceback" not in said
    assert "rror" not in said
    assert took < ANSWER_SECONDS / 2
    assert not file.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", address.port or 0)) != 0


def test_no_room_for_the_file_that_opens_the_browser(away: Project) -> None:
    (away.root / "packs").write_text("in the way")
    process = away.popen(FAB, "board")
    assert printed_address(process)
    assert process.stdout
    said = [process.stdout.readline() for _ in range(2)]
    assert said[1].startswith("The browser was not opened (")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=ANSWER_SECONDS)
    assert (process.returncode, "Traceback" in rest) == (0, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "high"), "--port 'high' is no number that fits; expected 1 to 65535."),
        (("--every", "1"), "--every '1' is no number that fits; expected 2 to 3600."),
        (("--only", "nobody"), "There is no participant 'nobody' in this seminar"),
    ],
)
def test_what_can_not_be_asked_for(away: Project, words: tuple[str, ...], said: str) -> None:
    done = away.fab("board", "--no-browser", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_other_tasks_load_no_server() -> None:
    code = "import sys, provisioning.verbs, provisioning.watch, provisioning.tasks; print('tornado' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
