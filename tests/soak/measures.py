"""What a soak measures while it runs: memory, descriptors and processes, every few seconds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import mean

import psutil

from tests.conftest import Project

_EVERY_SECONDS = 10.0
_MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """One moment: the board's memory, descriptors and threads, and the seats' processes by kind."""

    at: float
    board_mib: float
    board_descriptors: int
    board_threads: int
    jupyter_mib: dict[int, float]  # by process number
    sshd_descriptors: int  # of all listeners
    processes: Counter[str]


@dataclass
class Gauge(threading.Thread):
    """Takes samples until it is stopped. A context."""

    project: Project
    board: psutil.Process
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(name="gauge", daemon=True)
        self._over = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def __enter__(self) -> Gauge:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        kinds: Counter[str] = Counter()
        jupyters: dict[int, float] = {}
        descriptors = 0
        for process in self.project.processes():
            try:
                kind = kind_of(process)
                kinds[kind] += 1
                if kind == "Jupyter":
                    jupyters[process.pid] = process.memory_info().rss / _MIB
                elif kind == "sshd":
                    descriptors += process.num_fds()
                    kinds["connection"] += len(process.children())
            except psutil.Error:
                continue
        with self.board.oneshot():
            memory, files, threads = self.board.memory_info().rss, self.board.num_fds(), self.board.num_threads()
        return Sample(time.monotonic(), memory / _MIB, files, threads, jupyters, descriptors, kinds)


def kind_of(process: psutil.Process) -> str:
    """sshd (a listener), Jupyter, kernel, or other."""
    told = " ".join(process.cmdline())
    if "ipykernel_launcher" in told:
        return "kernel"
    if "jupyter-" in told:
        return "Jupyter"
    return "sshd" if "sshd_config" in told else "other"


def growth(values: list[float]) -> tuple[float, float, float]:
    """The mean of the first and of the last quarter, and their ratio."""
    quarter = max(len(values) // 4, 1)
    first, last = mean(values[:quarter]), mean(values[-quarter:])
    return first, last, last / first if first else 1.0
