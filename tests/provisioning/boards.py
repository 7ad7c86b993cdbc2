"""Boards of the tests' own: one in this process, whose seats are made up, and the copy of `fab board` that runs."""

from __future__ import annotations

import asyncio
import http.client
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tornado.httpserver import HTTPServer

from provisioning.board_seats import Board
from provisioning.board_server import Door, listen, serve
from provisioning.inventory import Inventory
from provisioning.live import Light, Sight
from stacks.credentials import new_key
from stacks.outputs import HandOver, HandOverSeat, SeatSecrets, Secrets
from stacks.values import Secret
from tests.provisioning.machines import seat as a_seat

PASSWORD, PASSWORD_HASH = "tibo-rena-kuvi-jado", "argon2:$argon2id$v=19$m=10240,t=10,p=8$c2FsdA$aGFzaA"
_SECONDS = 60.0
_OFF = dict.fromkeys(("kernels", "busy", "idle_minutes", "gpu"))
TROUBLES: dict[str, tuple[Light, str, str, dict[str, Any]]] = {
    "Emmy Noether": (
        "red",
        "Jupyter has died; `fab start-notebook` starts it",
        "[I 2027-03-05 09:41:07.512 ServerApp] Kernel started: 5f1d\nTerminated: out of memory",
        {**_OFF, "state": "died"},
    ),
    "Tony Hoare": ("red", "192.0.2.37 port 22: no route to host", "", dict.fromkeys(("free_mib", "memory_mib"))),
    "Paul Erdős": ("amber", "nobody is connected", "", {"tunnels": 0, "busy": 0}),
    "Muhammad al-Khwarizmi": ("amber", "little disk is left, 812 MiB", "", {"free_mib": 812}),
    "Hedy Lamarr": ("amber", "its password is not the stack's", "", {"password": "other"}),
}


def inventory(seats: Sequence[HandOverSeat], seminar: str = "spring") -> Inventory:
    key = Secret(new_key("organiser")[0])
    secrets = SeatSecrets(password=Secret(PASSWORD), password_hash=Secret(PASSWORD_HASH), private_key=key)
    handover = HandOver(seminar=seminar, workdir="learnml", interface="notebook", seats=tuple(seats))
    all_secrets = Secrets(organiser_key=key, seats={seat.id: secrets for seat in seats})
    return Inventory(seminar, handover, all_secrets, tuple(seats), connect_seconds=1)


@dataclass
class Served:
    """A board that is served by a thread of this process. Nobody looks at its seats: `saw` says how they are."""

    board: Board
    door: Door
    server: HTTPServer
    loop: asyncio.AbstractEventLoop

    def do(self, what: Callable[[], Any]) -> Any:
        """Do it in the board's thread; returns what it returned."""

        async def done() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(_SECONDS)

    def drop(self) -> None:
        """Break off every connection that a page has open."""
        asyncio.run_coroutine_threadsafe(self.server.close_all_connections(), self.loop).result(_SECONDS)

    def saw(self, *sights: Sight) -> None:
        def saw() -> None:
            for sight in sights:
                self.board.saw(sight)

        self.do(saw)

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        known: bool = True,
        body: str = "",
    ) -> tuple[http.client.HTTPResponse, str]:
        """Send a request as a browser would that has the cookie, or has it not; returns the answer and its text."""
        cookie = {"Cookie": f"seminar-board={self.door.token}"} if known else {}
        with self.connection() as connection:
            connection.request(method, path, body=body, headers={**cookie, **(headers or {})})
            answer = connection.getresponse()
            return answer, answer.read().decode()

    @contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.door.port, timeout=_SECONDS)
        try:
            yield connection
        finally:
            connection.close()

    @property
    def below(self) -> str:
        """The path of the board."""
        return f"/{self.door.path}/"


@contextmanager
def served(seats: Sequence[HandOverSeat], seminar: str = "spring", *, watched: bool = False) -> Iterator[Served]:
    """Serve a board of these seats; `watched`: they are looked at, too, over SSH."""
    ready: list[Served] = []
    begun = threading.Event()
    over: list[Callable[[], object]] = []

    async def run() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        over.append(lambda: loop.call_soon_threadsafe(end.set))
        board = Board(inventory(seats, seminar), every_seconds=2)
        listener = listen(0)
        door = Door(listener.getsockname()[1])
        server = serve(board, door, listener)
        if watched:
            await board.__aenter__()
        ready.append(Served(board, door, server, loop))
        begun.set()
        await end.wait()
        server.stop()
        await board.__aexit__()
        await server.close_all_connections()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert begun.wait(_SECONDS)
        yield ready[0]
    finally:
        for each in over:
            each()
        thread.join()


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    """The events of a stream as they come: each one's name and data."""
    name = ""
    while line := answer.readline().decode():
        if found := re.fullmatch(r"event: (\w+)\n", line):
            name = found[1]
        elif line.startswith("data: "):
            yield name, line[6:].rstrip("\n")


# fmt: off
NAMES = (
    "Ada Lovelace", "Satyendra Nath Bose", "Maria Skłodowska Curie", "Emmy Noether", "Alan Turing", "Grace Hopper",
    "Srinivasa Ramanujan", "Katherine Johnson", "Kurt Gödel", "Mary Somerville", "Chien-Shiung Wu", "Ibn al-Haytham",
    "Hypatia", "Muhammad al-Khwarizmi", "Sofja Kowalewskaja", "Évariste Galois", "Niels Henrik Abel",
    "Rosalind Franklin", "Claude Shannon", "Hedy Lamarr", "Barbara Liskov", "Edsger Dijkstra", "Donald Knuth",
    "Radia Perlman", "Shafi Goldwasser", "Andrei Kolmogorow", "Paul Erdős", "Maryam Mirzakhani", "Karen Uhlenbeck",
    "Terence Tao", "Ingrid Daubechies", "Carl Friedrich Gauß", "Leonhard Euler", "Sophie Germain",
    "Émilie du Châtelet", "Pierre-Simon Laplace", "Augustin-Louis Cauchy", "Bernhard Riemann", "David Hilbert",
    "Henri Poincaré", "Georg Cantor", "John von Neumann", "Alonzo Church", "Stephen Kleene", "Haskell Curry",
    "Robin Milner", "Tony Hoare", "Frances Allen", "Lynn Conway", "Margaret Hamilton",
)
# fmt: on


def a_class() -> tuple[list[HandOverSeat], list[Sight]]:
    """Fifty seats, and how they might be in the middle of a lesson."""
    seats = [replace(a_seat(22, id_=name.split()[-1].lower()), name=name) for name in NAMES]
    sights = []
    for place, seat in enumerate(seats):
        busy = int(place % 3 == 0)
        facts = {"state": "running", "since": "2027-03-05T08:02Z", "password": "yes", "tunnels": 1, "busy": busy}
        facts |= {"kernels": 1 + place % 2, "idle_minutes": 0 if busy else place % 7}
        facts |= {"free_mib": 77_700 - 911 * place, "disk_mib": 152_576}
        facts |= {"memory_free_mib": 12_000 - 200 * place, "memory_mib": 15_900}
        light, reason, evidence, others = TROUBLES.get(
            seat.name, ("green", "a kernel is at work" if busy else "at work", "", {})
        )
        sights.append(Sight(seat, light, reason, evidence, facts={**facts, **others}))
    return seats, sights


def printed_address(process: subprocess.Popen[str]) -> str:
    """The address that `fab board` prints, token included."""
    assert process.stdout
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\S+", line):
            return found[0]
    raise AssertionError("no address was printed")
