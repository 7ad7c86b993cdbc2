"""The participants of a soak: each with a pack of their own, its connect.sh, and a kernel that writes their work."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from rehearsal.visitor import Visitor
from stacks.errors import SeatError
from tests.conftest import Project
from tests.provisioning.participant import Laptop, Window, unpacked

WORK = "work.txt"
_LOOK_SECONDS = 2.0
_CONNECT_SECONDS = 300.0
# Computes a little and writes a line that says whose it is and the how-manieth, again and again.
_CODE = """
import itertools, time
with open({file!r}, "a") as file:
    for n in itertools.count():
        sum(i * i for i in range(5000))
        file.write(f"{run} {{n}}\\n")
        file.flush()
        time.sleep(0.5)
"""


@dataclass
class Story:
    """What a participant lived through. Seconds are those in which the notebook did not answer."""

    kernels: int = 0
    survived: int = 0  # times that the kernel was still there when the notebook answered again
    lost: int = 0  # times that it was not
    away_seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Person(threading.Thread):
    """One participant, from the unpacked pack until they leave."""

    def __init__(self, project: Project, seat: str, password: str, folder: Path) -> None:
        super().__init__(name=f"person {seat}", daemon=True)
        self.seat = seat
        self.story = Story()
        self.at_work = threading.Event()
        self._password = password
        self._laptop = Laptop(folder / "laptop")
        self._pack = unpacked(project.root / "packs" / "rehearsal" / f"{seat}.zip", folder)
        self._leaving = threading.Event()
        self._window: Window | None = None

    def leave(self) -> None:
        """Have them end their kernel and close the window."""
        self._leaving.set()

    def drop(self) -> bool:
        """End their ssh, as a venue's network does; returns whether there was one."""
        if (window := self._window) is None:
            return False
        with contextlib.suppress(StopIteration, psutil.Error):
            window.ssh().kill()
            return True
        return False

    def run(self) -> None:
        try:
            with self._laptop.connect(self._pack) as self._window:
                line = self._window.awaits("Connected.", _CONNECT_SECONDS)
                self._work(next(word for word in line.split() if word.startswith("http://")))
                self._window.interrupt()
        except Exception as error:
            self.story.faults.append(f"{self.seat}: {type(error).__name__}: {error}")

    def _work(self, address: str) -> None:
        visitor: Visitor | None = None
        kernel = ""
        away = 0.0  # since when
        runs = itertools.count()
        while not self._leaving.is_set():
            try:
                visitor = visitor or Visitor(address, self._password)
                if is_there := kernel in visitor.kernels():
                    self.story.survived += bool(away)
                else:
                    self.story.lost += bool(kernel)
                    kernel = self._begin(visitor, next(runs))
                if away:
                    self.story.away_seconds.append(time.monotonic() - away)
                away = 0.0
                if not is_there:
                    self.at_work.set()
            except SeatError:
                visitor = None  # the tunnel or Jupyter is gone, perhaps the login with it
                away = away or time.monotonic()
            self._leaving.wait(_LOOK_SECONDS)
        self._end(address)

    def _begin(self, visitor: Visitor, run: int) -> str:
        kernel = visitor.start_kernel()
        visitor.begin(kernel, _CODE.format(file=WORK, run=f"{self.seat}-{run}"))
        self.story.kernels += 1
        return kernel

    def _end(self, address: str) -> None:
        """End all kernels, once the notebook answers. Raises SeatError where it does not."""
        until = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                visitor = Visitor(address, self._password)
                for kernel in visitor.kernels():
                    visitor.end_kernel(kernel)
                return
            except SeatError:
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_SECONDS)
