"""Posts a preview as the one comment of its pull request: `python3 -m preview.comment FOLDER`.

It runs in .github/workflows/comment.yml with the right to write comments, on code of the default branch and with
nothing installed. The folder is what the preview's run left, preview.md and number, and of that run the pull request's
own code was in charge: nothing in it is believed. The number must be that of a pull request whose head is the commit
that the run was for, which GitHub says; the text becomes a comment and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from stacks.errors import RequestError, SeminarError

MARK = "<!-- seminar-preview -->"
_BOT = "github-actions[bot]"
_LONGEST = 60_000  # GitHub takes 65,536 characters
_SECONDS = 30.0
_INTRODUCTION = "Told without an account, by the code of this change itself. The run's summary has it as well."


def main(words: list[str]) -> int:
    """The command line. Returns the exit code: 0, 1 (GitHub refused) or 2 (what came is not what was expected)."""
    try:
        if len(words) != 1:
            raise RequestError("Expected one argument, the folder with preview.md and number.")
        print(post(Path(words[0])))
    except SeminarError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def post(folder: Path) -> str:
    """Post or change the comment; returns what was done. Raises SeminarError."""
    number = _text(folder / "number", 20).strip()
    if not number.isascii() or not number.isdigit():
        raise RequestError(f"The file number has {number[:20]!r}; expected the number of a pull request.")
    github = _GitHub()
    pull = github.ask("GET", f"pulls/{int(number)}")
    if pull["head"]["sha"] != _needed("HEAD_SHA"):
        raise RequestError(f"The head of pull request {number} is another commit than this run's; nothing was posted.")
    body = comment(_text(folder / "preview.md", 4 * _LONGEST))
    for told in github.pages(f"issues/{int(number)}/comments"):
        if told["user"]["login"] == _BOT and told["body"].startswith(MARK):
            github.ask("PATCH", f"issues/comments/{told['id']}", {"body": body})
            return "The comment was brought up to date."
    github.ask("POST", f"issues/{int(number)}/comments", {"body": body})
    return "A comment was posted."


def comment(preview: str) -> str:
    """The comment's text: no longer than GitHub takes, and without calling anybody."""
    told = preview.replace("@", "@\u200b").replace("\u200b\u200b", "\u200b")
    if len(told) > _LONGEST:
        told = told[:_LONGEST] + "\n\n</details>\n\n… and more, in the run's summary."
    return f"{MARK}\n{_INTRODUCTION}\n\n{told}"


def _text(path: Path, longest: int) -> str:
    if path.is_symlink() or not path.is_file():
        raise RequestError(f"There is no file {path.name} in what the preview's run left.")
    with path.open("rb") as file:
        return file.read(4 * longest).decode(errors="replace")


def _needed(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise RequestError(f"{name} is not set; expected what .github/workflows/comment.yml sets.")
    return value


class _GitHub:
    """GitHub's API as far as a comment needs it, https://docs.github.com/rest/issues/comments."""

    def __init__(self) -> None:
        self._base = f"{_needed('GITHUB_API_URL')}/repos/{_needed('GITHUB_REPOSITORY')}"
        self._token = _needed("GITHUB_TOKEN")

    def ask(self, method: str, path: str, sent: dict[str, str] | None = None) -> Any:
        """One request. Raises SeminarError."""
        request = urllib.request.Request(
            f"{self._base}/{path}",
            method=method,
            data=None if sent is None else json.dumps(sent).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Accept": "application/vnd.github+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:
                return json.load(response)
        except (OSError, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()
            raise SeminarError(f"GitHub did not answer {method} {path}: {error}.") from error

    def pages(self, path: str) -> Iterator[Any]:
        """Every element of a list."""
        number, told = 1, [None]
        while told:
            told = self.ask("GET", f"{path}?per_page=100&page={number}")
            yield from told
            number += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
