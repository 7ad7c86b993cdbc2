"""Times things side by side: one round of each in turn, so that what else the computer does falls on all alike."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stacks.errors import EngineError

_COMMAND_SECONDS = 300.0
_END_SECONDS = 60.0  # the engines end what is under way before they stop
_EVIDENCE_LINES = 5

Progress = Callable[[str], None]


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something to time: `steps` by name, in their order; `begin` before them and `clean` after them aren't timed."""

    name: str
    begin: Callable[[], None] = _nothing
    steps: Mapping[str, Callable[[], object]]
    clean: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Times:
    """The seconds that one step took, a figure per round."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleave(rounds: int, contenders: Iterable[Contender], progress: Progress) -> dict[tuple[str, str], Times]:
    """Time each contender in turn, `rounds` times. Returns the times by contender and step.

    A round before those isn't counted: it compiles the modules and fills the computer's caches. A contender is cleaned
    up after each round, however that ends.
    """
    contenders = list(contenders)
    times = {(contender.name, step): Times() for contender in contenders for step in contender.steps}
    for round_ in range(rounds + 1):
        for contender in contenders:
            progress(f"{contender.name}: " + (f"round {round_} of {rounds}" if round_ else "warming up"))
            try:
                contender.begin()
                for step, do in contender.steps.items():
                    started = time.perf_counter()
                    do()
                    if round_:
                        times[contender.name, step].seconds.append(time.perf_counter() - started)
            finally:
                contender.clean()
    return times


def run(words: list[str], *, cwd: Path, env: Mapping[str, str] | None = None, good: Iterable[int] = (0,)) -> str:
    """Run a command to its end and return what it wrote to standard error.

    Raises EngineError where its exit code isn't a good one, or it takes too long. Ctrl-C is handed on to the command,
    and it is waited for, so that nothing is made after the clean-up.
    """
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            told, errors = process.communicate(timeout=_COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise EngineError(f"`{' '.join(words)}` did not end within {_COMMAND_SECONDS:.0f} seconds.") from None
        finally:
            _end(process)
    if process.returncode not in good:
        last = "\n".join((told + errors).strip().splitlines()[-_EVIDENCE_LINES:])
        raise EngineError(f"`{' '.join(words)}` ended with exit code {process.returncode}:\n{last}")
    return errors


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.communicate(timeout=_END_SECONDS)
        process.kill()
