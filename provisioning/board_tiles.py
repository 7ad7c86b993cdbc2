"""What the board's page is told of a seat: a tile, plain JSON without secrets. Pure.

Facts pass by name alone, so that a new one is shown only once it was thought of here. Text that a machine printed is
its participant's: it loses what would steer a terminal, and what this seminar knows as secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from provisioning.live import Sight
from provisioning.report import harmless
from stacks.outputs import HandOverSeat, SeatSecrets

Tile = dict[str, Any]

MOST_LOG_LETTERS = 100_000
_MOST_WORDS_LETTERS = 500
_MOST_EVIDENCE_LETTERS = 4_000
_HIDDEN = "…"

_NUMBERS = ("tunnels", "kernels", "busy", "idle_minutes", "free_mib", "disk_mib", "memory_free_mib", "memory_mib")
_WORDS = {"state": {"running", "stopped", "died"}, "password": {"yes", "token", "other", "no"}}
_TEXTS = ("since", "gpu")

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_SECRETS = (
    (re.compile(r"""(token["']?\s*[=:]\s*["']?)[\w.~%-]{6,}""", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"(argon2:)?\$argon2\S+"), _HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _HIDDEN),
)


@dataclass(frozen=True)
class Job:
    """What was asked of a seat from the page, and how it went, in words."""

    state: Literal["running", "done", "failed"]
    words: str
    evidence: str = ""


def tile(
    seat: HandOverSeat, secrets: SeatSecrets, sight: Sight | None, job: Job | None = None, *, late: bool = False
) -> Tile:
    """How the page shows a seat. `sight` is None before the first look; `late`: the next look is overdue.

    `last_seen`, in seconds since the epoch, is there for a late seat alone: else every look would change the tile.
    """
    shown: Tile = {"id": seat.id, "name": seat.name, "light": "none", "reason": "not looked at yet", "evidence": ""}
    shown |= {"facts": {}, "last_seen": None, "job": None}
    if sight:
        shown |= {
            "light": sight.light,
            "reason": text(sight.reason, secrets, _MOST_WORDS_LETTERS),
            "evidence": text(sight.evidence, secrets, _MOST_EVIDENCE_LETTERS),
            "facts": facts(sight.facts),
            "last_seen": round(sight.at) if late else None,
        }
    if job:
        shown["job"] = {
            "state": job.state,
            "words": text(job.words, secrets, _MOST_WORDS_LETTERS),
            "evidence": text(job.evidence, secrets, _MOST_EVIDENCE_LETTERS),
        }
    return shown


def facts(seen: Mapping[str, Any]) -> dict[str, int | str]:
    """The facts that the page may know. What is unknown, or is not what it should be, is left out."""
    told: dict[str, int | str] = {}
    for name in _NUMBERS:
        if re.fullmatch(r"\d{1,12}", str(seen.get(name))):
            told[name] = int(seen[name])
    for name, words in _WORDS.items():
        if seen.get(name) in words:
            told[name] = seen[name]
    for name in _TEXTS:
        if seen.get(name):
            told[name] = harmless(str(seen[name]))[:100]
    return told


def text(printed: str, secrets: SeatSecrets, most_letters: int = MOST_LOG_LETTERS) -> str:
    """The end of what was printed, without what steers a terminal, and without secrets."""
    for secret in (secrets.password, secrets.password_hash):
        printed = printed.replace(secret, _HIDDEN) if secret else printed
    for pattern, instead in _SECRETS:
        printed = pattern.sub(instead, printed)
    return harmless(_COLOURS.sub("", printed).replace("\r\n", "\n"))[-most_letters:]


def news(told: Mapping[str, Tile], tiles: Mapping[str, Tile]) -> list[Tile]:
    """What somebody who was told the first does not know of the second: the id of a seat, and what differs."""
    return [
        {"id": id_, **{key: value for key, value in tile.items() if told[id_][key] != value}}
        for id_, tile in tiles.items()
        if tile != told[id_]
    ]
