"""The metadata address of a cloud, stood in for: QEMU runs this for each connection to 169.254.169.254, port 80.

    python metadata.py FOLDER

It answers what a machine of a seminar asks: AWS for a token, the tag `ends` and the user data, Azure for the tags. The
folder's file `ends` is the tag; without it there is none. The file `user-data` is what no participant may read.
"""

from __future__ import annotations

import sys
from pathlib import Path

TOKEN = "a token"


def main(folder: Path) -> None:
    """Read one request from standard input and answer it."""
    method, path, headers = _request()
    ends = (folder / "ends").read_text() if (folder / "ends").exists() else None
    status, body = "404 Not Found", ""
    if (method, path) == ("PUT", "/latest/api/token"):
        status, body = "200 OK", TOKEN
    elif path.startswith("/metadata/") and headers.get("metadata") == "true":
        status, body = "200 OK", "Name:class-01;" + (f"ends:{ends};" if ends else "") + "seminar:class"
    elif headers.get("x-aws-ec2-metadata-token") != TOKEN:
        status = "401 Unauthorized"
    elif path == "/latest/meta-data/tags/instance/ends" and ends is not None:
        status, body = "200 OK", ends
    elif path == "/latest/user-data":
        status, body = "200 OK", (folder / "user-data").read_text()
    sys.stdout.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}")
    sys.stdout.flush()


def _request() -> tuple[str, str, dict[str, str]]:
    method, path, _ = sys.stdin.readline().split()
    headers = {}
    while line := sys.stdin.readline().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return method, path, headers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
