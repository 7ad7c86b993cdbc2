"""An hour of class in ten minutes: every seat real, with its tunnel and its kernel, and much that goes wrong.

`python -m tests.soak --seats 50 --minutes 10`. Ends with exit code 1 where work was lost, something was left, or memory
grew. The figures go to standard output, as the tables of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.conftest import FAB, PATH_WITHOUT_CLI, STACK, Project, copy_project
from tests.soak.measures import Gauge, growth
from tests.soak.people import WORK, Person

_MOST_GROWTH = 1.15  # of memory, between the first and the last quarter
_DISORDER_SECONDS = 3.0  # between two things that go wrong
_LEAVE_SECONDS = 400.0
_ROUND_SECONDS = 5.0  # between two rounds of the organiser


class Soak:
    """One run: the class, its organiser, and what goes wrong."""

    def __init__(self, project: Project, folder: Path, seats: int, seed: int) -> None:
        self.project = project
        self.folder = folder
        self.chance = random.Random(seed)
        self.ids = [f"p{n:02}" for n in range(1, seats + 1)]
        self.people: dict[str, Person] = {}
        self.left: list[Person] = []
        self.events: Counter[str] = Counter()
        self.verbs: dict[str, list[float]] = {}
        self.faults: list[str] = []

    def verb(self, *words: str, may_fail: bool = False) -> dict[str, Any]:
        """Run a task; returns its seats. What fails is kept, unless seats may be down just then."""
        began = time.monotonic()
        done = self.project.run(FAB, *words, "--json")
        self.verbs.setdefault(words[0], []).append(time.monotonic() - began)
        try:
            seats = {seat["id"]: seat for seat in json.loads(done.stdout)["seats"]}
        except ValueError:
            self.faults.append(f"fab {' '.join(words)}: {done.stdout[-300:]} {done.stderr[-300:]}")
            return {}
        bad = {
            id_: seat.get("reason") for id_, seat in seats.items() if seat["outcome"] not in ("changed", "unchanged")
        }
        if bad and not may_fail:
            self.faults.append(f"fab {' '.join(words)}: {bad}")
        return seats

    def up(self) -> None:
        """Bring up the roster as it is now."""
        self.project.roster(*(f"{id_},Participant {id_}" for id_ in self.ids))
        done = self.project.up()
        if done.returncode:
            raise SystemExit(f"the class can't be brought up: {done.stdout}{done.stderr}")

    def arrive(self, *ids: str) -> None:
        """These participants unpack their packs and go to work."""
        seats = self.project.seats()
        for id_ in ids:
            self.people[id_] = Person(self.project, id_, seats[id_]["password"], self.folder / "laptops" / id_)
            self.people[id_].start()

    def await_work(self, seconds: float) -> None:
        """Wait until everybody has a kernel at work."""
        until = time.monotonic() + seconds
        for person in self.people.values():
            if not person.at_work.wait(max(until - time.monotonic(), 0)):
                raise SystemExit(f"{person.seat} never came to work: {person.story.faults}")

    def join_and_leave(self) -> None:
        """One more participant, and the first one goes home, their work collected before."""
        newcomer, leaver = f"p{len(self.ids) + 1:02}", self.ids[0]
        self.ids.append(newcomer)
        self.up()
        self.verb("start-notebook", "--only", newcomer)
        self.verb("packs", "--only", newcomer)
        self.arrive(newcomer)
        person = self.people.pop(leaver)  # nothing more goes wrong there
        self.verb("start-notebook", "--only", leaver)
        self._leave(person)
        self.verb("collect", "--only", leaver)
        self.check_archive(leaver, self.work(leaver))
        self.ids.remove(leaver)
        self.up()
        self.events["a participant joined"] += 1
        self.events["a participant left"] += 1

    @contextlib.contextmanager
    def disorder(self) -> Iterator[None]:
        """Meanwhile something goes wrong every few seconds."""
        over = threading.Event()

        def go() -> None:
            while not over.wait(_DISORDER_SECONDS):
                self._mishap()

        thread = threading.Thread(target=go, name="disorder", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _mishap(self) -> None:
        """Something goes wrong at a seat that chance picks."""
        person = self.people[self.chance.choice(list(self.people))]
        what = self.chance.choice(("tunnel", "tunnel", "Jupyter", "connection"))
        done = False
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            if what == "tunnel":
                done = person.drop()
            elif what == "Jupyter":
                pid = int((self.project.machine(person.seat) / "home/.local/share/seminar/notebook.pid").read_text())
                done = _kill(pid)
            else:
                listener = int((self.project.machine(person.seat) / "sshd.pid").read_text())
                children = psutil.Process(listener).children()
                done = bool(children) and _kill(self.chance.choice(children).pid)
        if done:
            self.events[f"a {what} killed"] += 1

    def round(self, number: int) -> None:
        """What the organiser does again and again."""
        (self.project.root / "handed out").mkdir(exist_ok=True)
        (self.project.root / "handed out" / "notes.md").write_text(f"round {number}\n")
        for words in (("status",), ("start-notebook",), ("push", "handed out"), ("collect",), ("packs",)):
            self.verb(*words, may_fail=True)

    def work(self, seat: str) -> bytes:
        """What the seat's participant has written."""
        return (self.project.machine(seat) / "home" / "learnml" / WORK).read_bytes()

    def everybody_leaves(self) -> None:
        for person in self.people.values():
            person.leave()
        for person in self.people.values():
            self._leave(person)

    def _leave(self, person: Person) -> None:
        person.leave()
        person.join(_LEAVE_SECONDS)
        if person.is_alive():
            self.faults.append(f"{person.seat}: did not get away")
        self.faults += person.story.faults
        self.left.append(person)
        self.check_work(person.seat, person)

    def check_work(self, seat: str, person: Person) -> None:
        """Every run of a kernel counted on from 0 without a gap, and there were as many as were started."""
        counted: dict[str, int] = {}
        for line in self.work(seat).decode().splitlines():
            run, _, n = line.partition(" ")
            if int(n) != counted.get(run, -1) + 1:
                self.faults.append(f"{seat}: {run} went from {counted.get(run)} to {n}")
            counted[run] = int(n)
        if len(counted) < person.story.kernels:
            self.faults.append(f"{seat}: {person.story.kernels} kernels began and {len(counted)} wrote")

    def check_archive(self, seat: str, work: bytes) -> None:
        """The newest archive holds the work as it was."""
        archives = sorted((self.project.root / "collected" / STACK / seat).glob("*.zip"))
        if not archives:
            self.faults.append(f"{seat}: there is no archive")
            return
        with zipfile.ZipFile(archives[-1]) as archive:
            if archive.read(f"work/{WORK}") != work:
                self.faults.append(f"{seat}: the archive has other work")


def _kill(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    return True


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seats", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else, behind an `&`, no window here could be closed
    with tempfile.TemporaryDirectory(prefix="seminar-soak-") as name:
        folder = Path(name)
        project = Project(copy_project(folder / "a seminar"), env={"PATH": PATH_WITHOUT_CLI})
        soak = Soak(project, folder, options.seats, options.seed)
        try:
            report = _class(soak, options.minutes)
        finally:
            for process in project.started:
                process.kill()
                process.wait()
            project.python("-m", "rehearsal", "down")
        if left := project.processes():
            soak.faults.append(f"left at the end: {[' '.join(each.cmdline())[:80] for each in left]}")
    _print(soak, options, report)
    return int(bool(soak.faults))


def _class(soak: Soak, minutes: float) -> Gauge:
    project = soak.project
    _say(f"bringing up {len(soak.ids)} seats")
    soak.up()
    soak.verb("start-notebook")
    soak.verb("packs")
    board = project.popen(FAB, "board", "--no-browser")
    assert board.stdout is not None
    board.stdout.readline()
    soak.arrive(*soak.ids)
    soak.await_work(600)
    _say("everybody is at work")
    began = time.monotonic()
    moved = False
    with Gauge(project, psutil.Process(board.pid)) as gauge:
        with soak.disorder():
            for number in itertools.count(1):
                soak.round(number)
                _say(f"round {number}: {soak.verbs['start-notebook'][-1]:.1f} s to heal, {len(soak.faults)} faults")
                if not moved and time.monotonic() >= began + minutes * 30:
                    soak.join_and_leave()
                    moved = True
                    _say("one joined, one left")
                if time.monotonic() >= began + minutes * 60:
                    break
                time.sleep(_ROUND_SECONDS)
        soak.verb("start-notebook")
    _say("everybody leaves")
    soak.everybody_leaves()
    kept = {id_: soak.work(id_) for id_ in soak.ids}
    board.send_signal(signal.SIGINT)
    if board.wait(60):
        soak.faults.append(f"the board ended with {board.returncode}")
    ended = project.fab("end", "--yes")
    if ended.returncode:
        soak.faults.append(f"fab end: {ended.stdout[-500:]}{ended.stderr[-500:]}")
    for id_, work in kept.items():
        soak.check_archive(id_, work)
    if left := project.processes():
        soak.faults.append(f"left by fab end: {[' '.join(each.cmdline())[:80] for each in left]}")
    return gauge


def _print(soak: Soak, options: argparse.Namespace, gauge: Gauge) -> None:
    stories = [person.story for person in soak.left]
    away = sorted(seconds for story in stories for seconds in story.away_seconds)
    lost, killed = sum(story.lost for story in stories), soak.events["a Jupyter killed"]
    if lost > killed:
        soak.faults.append(f"{lost} kernels were lost, and only {killed} Jupyters killed")
    rows: list[tuple[str, str]] = [
        ("seats, minutes, seed", f"{options.seats}, {options.minutes:g}, {options.seed}"),
        *((what, str(count)) for what, count in sorted(soak.events.items())),
        ("kernels begun", str(sum(story.kernels for story in stories))),
        ("notebook away and back, kernel still there", str(sum(story.survived for story in stories))),
        ("notebook away and back, kernel lost with its Jupyter", str(lost)),
    ]
    if away:
        rows.append(("seconds away, median and longest", f"{median(away):.0f}, {away[-1]:.0f}"))
    for name, seconds in sorted(soak.verbs.items()):
        told = f"{len(seconds)} times, {median(seconds):.1f} and at most {max(seconds):.1f} s"
        rows.append((f"fab {name}", told))
    samples = gauge.samples
    measured: dict[str, Callable[[Any], float]] = {
        "board, MiB": lambda sample: sample.board_mib,
        "board, descriptors": lambda sample: sample.board_descriptors,
        "board, threads": lambda sample: sample.board_threads,
        "sshd listeners, descriptors": lambda sample: sample.sshd_descriptors,
        "a Jupyter, MiB": lambda sample: sum(sample.jupyter_mib.values()) / max(len(sample.jupyter_mib), 1),
        "kernels": lambda sample: sample.processes["kernel"],
        "Jupyters": lambda sample: sample.processes["Jupyter"],
        "connections": lambda sample: sample.processes["connection"],
    }
    print("| | |\n|---|---|")
    for name, told in rows:
        print(f"| {name} | {told} |")
    print("\n| mean of | first quarter | last quarter | ratio |\n|---|---|---|---|")
    for name, of in measured.items():
        first, last, ratio = growth([of(sample) for sample in samples])
        print(f"| {name} | {first:.1f} | {last:.1f} | {ratio:.2f} |")
        if "MiB" in name and ratio > _MOST_GROWTH:
            soak.faults.append(f"{name} grew by {ratio:.2f}")
    print(f"\nFaults: {len(soak.faults)}")
    for fault in soak.faults:
        print(f"- {fault}")


if __name__ == "__main__":
    sys.exit(main())
