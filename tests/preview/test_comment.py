"""The comment of a pull request, posted to a stand-in of GitHub's API: one, kept up to date, and nothing believed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from preview.comment import MARK, main

HEAD = "a" * 40
TOKEN = "the token of the run"


@dataclass
class GitHub:
    """A repository with pull request 7, as far as comments go. Comments are by id: who wrote them and what."""

    comments: dict[int, tuple[str, str]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, sent: Any) -> Any:
        parts = urlsplit(path)
        words = parts.path.removeprefix("/repos/class/seminar/").split("/")
        if method == "GET" and words == ["pulls", "7"]:
            return {"head": {"sha": HEAD}}
        if method == "GET" and words == ["issues", "7", "comments"]:
            query = parse_qs(parts.query)
            size, page = int(query["per_page"][0]), int(query["page"][0])
            told = [{"id": id_, "user": {"login": who}, "body": body} for id_, (who, body) in self.comments.items()]
            return told[size * (page - 1) : size * page]
        if method != "GET":
            self.writes.append(f"{method} {'/'.join(words)}")
        if method == "POST" and words == ["issues", "7", "comments"]:
            self.comments[len(self.comments) + 1] = ("github-actions[bot]", sent["body"])
            return {}
        if method == "PATCH" and words[:2] == ["issues", "comments"]:
            self.comments[int(words[2])] = ("github-actions[bot]", sent["body"])
            return {}
        return None


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    found = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            sent = json.loads(self.rfile.read(length)) if length else None
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            told = found.answer(self.command, self.path, sent) if known else None
            body = json.dumps(told).encode()
            self.send_response(404 if told is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PATCH(self) -> None:
            self.answer()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, value in (
        ("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}"),
        ("GITHUB_REPOSITORY", "class/seminar"),
        ("GITHUB_TOKEN", TOKEN),
        ("HEAD_SHA", HEAD),
    ):
        monkeypatch.setenv(name, value)
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def left(folder: Path, preview: str, number: str = "7\n") -> list[str]:
    """What the preview's run left, as the arguments of the program."""
    (folder / "preview.md").write_text(preview, encoding="utf-8")
    (folder / "number").write_text(number)
    return [str(folder)]


def test_one_comment_is_kept_up_to_date(github: GitHub, tmp_path: Path) -> None:
    github.comments = dict.fromkeys(range(1, 151), ("someone", "a word"))
    github.comments[151] = ("someone", f"{MARK}\nquoted by someone else")
    assert main(left(tmp_path, "first")) == 0
    assert main(left(tmp_path, "second, for @everybody")) == 0
    assert github.writes == ["POST issues/7/comments", "PATCH issues/comments/152"]
    _, body = github.comments[152]
    assert body.startswith(MARK)
    assert "second, for @\u200beverybody" in body
    assert "first" not in body


def test_a_long_one_is_cut(github: GitHub, tmp_path: Path) -> None:
    assert main(left(tmp_path, "<details>\n" + "x" * 300_000)) == 0
    _, body = github.comments[1]
    assert len(body) < 65_536
    assert body.endswith("… and more, in the run's summary.")


@pytest.mark.parametrize(
    ("number", "head", "code", "said"),
    [
        ("7/../8", HEAD, 2, "expected the number of a pull request"),
        ("٧", HEAD, 2, "expected the number of a pull request"),
        ("", HEAD, 2, "expected the number of a pull request"),
        ("7", "b" * 40, 2, "is another commit than this run's; nothing was posted"),
        ("8", HEAD, 1, "GitHub did not answer GET pulls/8: HTTP Error 404"),
    ],
)
def test_nothing_is_believed(
    github: GitHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: str,
    head: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("HEAD_SHA", head)
    assert main(left(tmp_path, "a preview", number)) == code
    assert said in capsys.readouterr().err
    assert github.writes == []


def test_files_that_are_none(github: GitHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = left(tmp_path, "a preview")
    (tmp_path / "preview.md").unlink()
    (tmp_path / "preview.md").symlink_to("/etc/passwd")
    assert main(words) == 2
    assert "There is no file preview.md" in capsys.readouterr().err
    assert main([]) == 2
    assert github.writes == []


def test_a_github_that_refuses_is_a_sentence(
    github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "another")
    assert main(left(tmp_path, "a preview")) == 1
    monkeypatch.delenv("HEAD_SHA")
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    assert main(left(tmp_path, "a preview")) == 2
    assert "HEAD_SHA is not set" in capsys.readouterr().err
