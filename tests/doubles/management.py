"""Azure's management API as far as a seminar asks it before anything is made: sizes, quotas, versions of images."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"


def size(name: str, vcpus: int, family: str, **more: str) -> dict[str, Any]:
    """A size as https://learn.microsoft.com/rest/api/compute/resource-skus/list has it; `more` are capabilities."""
    capabilities = {"vCPUs": str(vcpus), "CpuArchitectureType": "x64", **more}
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": family,
        "locations": ["westeurope"],
        "capabilities": [{"name": key, "value": value} for key, value in capabilities.items()],
        "restrictions": [],
    }


def usage(name: str, limit: int) -> dict[str, Any]:
    return {"unit": "Count", "currentValue": 0, "limit": limit, "name": {"value": name, "localizedValue": name}}


@dataclass
class Management:
    """What is answered, and what was asked: path, query and who asked.

    An answer that is a number is a refusal, whose body is `refusal`, or sends on to `elsewhere`. `raw` replaces the
    body of every answer; "CUT" is one that ends before its length.
    """

    endpoint: str
    answers: dict[str, Any] = field(
        default_factory=lambda: {
            "skus": [
                {"resourceType": "disks", "name": "Standard_NC4as_T4_v3"},
                size("Standard_D2s_v5", 2, "standardDSv5Family"),
                size("Standard_NC4as_T4_v3", 4, "Standard NCASv3_T4 Family"),
            ],
            "Microsoft.Compute": [
                usage("cores", 400),
                usage("lowPriorityCores", 400),
                usage("standardDSv5Family", 200),
                usage("Standard NCASv3_T4 Family", 200),
            ],
            "Microsoft.Network": [usage("IPv4StandardSkuPublicIpAddresses", 100)],
            "versions": [{"name": "25.06.18"}, {"name": "9.12.1"}, {"name": "25.01.30"}],
        }
    )
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    elsewhere: str = ""
    refusal: Any = None
    raw: str | None = None

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The body of an answer, or a number for a refusal. A list of two halves comes in two pages."""
        *_, last = path.split("/")
        key = path.split("/providers/")[1].split("/", maxsplit=1)[0] if last == "usages" else last
        found = self.answers[key]
        if isinstance(found, int) or last == "versions":
            return found
        if "page" in query or len(found) < 2:
            return {"value": found[1:] if "page" in query else found}
        return {"value": found[:1], "nextLink": f"{self.endpoint}{path}?page=2"}


@contextmanager
def a_management() -> Iterator[Management]:
    """A fresh one on loopback, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            found.asked.append((parts.path, query, self.headers.get("Authorization", "")))
            answer = found.answer(parts.path, query)
            refused = isinstance(answer, int)
            body = (
                json.dumps(found.refusal if refused else answer).encode() if found.raw is None else found.raw.encode()
            )
            self.send_response(answer if refused else 200)
            self.send_header("Content-Length", str(len(body) + (found.raw == "CUT")))
            if found.elsewhere:
                self.send_header("Location", f"{found.elsewhere}{self.path}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Management(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
