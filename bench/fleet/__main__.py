"""`python -m bench.fleet`: start-notebook's own work on fifty and two hundred real sshd, beside what else does it."""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.fleet import contenders as tools
from bench.fleet.machines import Machines, words
from stacks.errors import SeminarError

_COMMAND_SECONDS = 600.0
_SAMPLE_SECONDS = 0.02
SLOW = (tools.MITOGEN, tools.ANSIBLE, tools.PYINFRA, tools.STEPS, tools.RAW_DEFAULT)
ONCE = (tools.MITOGEN, tools.ANSIBLE)  # minutes each: timed in one round alone
AT_200 = (tools.RAW, tools.OURS, tools.SCRIPT, tools.ASYNCSSH, tools.PYINFRA)
FIRST, AGAIN, FAR = "first", "again", "far"


@dataclass(frozen=True)
class Run:
    """What one run took: wall time, processor time of the client, and the most memory of its processes together."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Goal:
    """One figure at most so many times another: (tool, seats, step) each, both in the same run."""

    says: str
    of: tuple[str, int, str]
    to: tuple[str, int, str]
    most: float


GOALS = (
    Goal("50 seats, against raw ssh with curve25519", (tools.OURS, 50, FIRST), (tools.RAW, 50, FIRST), 1.0),
    Goal("50 seats, against pyinfra", (tools.OURS, 50, FIRST), (tools.PYINFRA, 50, FIRST), 0.4),
    Goal("50 seats, against ansible", (tools.OURS, 50, FIRST), (tools.ANSIBLE, 50, FIRST), 0.05),
    Goal("50 seats at 100 ms, against raw ssh", (tools.OURS, 50, FAR), (tools.RAW, 50, FAR), 1.0),
    Goal("nothing to change, against the first run", (tools.OURS, 50, AGAIN), (tools.OURS, 50, FIRST), 1.0),
    Goal("200 seats, against 50", (tools.OURS, 200, FIRST), (tools.OURS, 50, FIRST), 4.2),
)
MOST_MB_AT_200 = 100.0

Figures = dict[tuple[str, int, str], list[Run]]


def timed(command: list[str], folder: Path, *, sampled: bool) -> Run:
    """Run it to its end. Raises SeminarError where it fails. Sampling its memory slows it: those runs aren't timed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = [0.0]
    if sampled:
        threading.Thread(target=_sample, args=(process.pid, peak), daemon=True).start()
    told, _ = process.communicate(timeout=_COMMAND_SECONDS)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SeminarError(f"`{' '.join(command)[:200]}` ended with {process.returncode}:\n{told[-2000:]}")
    return Run(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak[0])


def _sample(pid: int, peak: list[float]) -> None:
    """The most that a process and all below it held in memory at once, in MB, shared pages counted once (PSS)."""
    try:
        top = psutil.Process(pid)
        while top.is_running():
            held = 0
            for process in [top, *top.children(recursive=True)]:
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], held / 1e6)
            time.sleep(_SAMPLE_SECONDS)
    except psutil.Error:
        return


def measure(seats: int, names: Iterable[str], rounds: int, figures: Figures) -> None:
    """Time the tools in turn on so many machines, near and far; adds to the figures."""
    with tempfile.TemporaryDirectory(prefix="seminar-fleet-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the machines' user looks up its keys here
        room = Machines(folder, seats)
        try:
            commands = tools.contenders(room, folder)
            for round_ in range(rounds + 1):
                for tool in names:
                    if tool in ONCE and round_ != 1:
                        continue
                    for step in (FIRST, AGAIN, FAR):
                        _say(f"{seats} seats, round {round_} of {rounds}: {tool}, {step}")
                        room.delayed(step == FAR)
                        if step != AGAIN:
                            room.reset()
                        run = timed(commands[tool], folder, sampled=round_ == 0)
                        if round_ or step == FIRST:
                            figures[tool, seats, step if round_ else "memory"].append(run)
        finally:
            room.close()
            _say("")


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _median(figures: Figures, key: tuple[str, int, str]) -> float | None:
    return statistics.median(run.seconds for run in figures[key]) if figures.get(key) else None


def table(figures: Figures, names: Iterable[str]) -> str:
    """The figures in Markdown: medians of wall seconds; processor seconds and peak memory of the client."""
    near = ("tool", "50 first", "50 again", "50 at 100 ms", "CPU s", "peak MB")
    lines: list[tuple[str, ...]] = [(*near, "200 first", "200 at 100 ms", "200 peak MB")]
    for tool in names:
        cpu = [run.cpu_seconds for run in figures.get((tool, 50, FIRST), [])]
        cells = [_median(figures, (tool, 50, step)) for step in (FIRST, AGAIN, FAR)]
        cells += [statistics.median(cpu) if cpu else None, _peak(figures, tool, 50)]
        cells += [_median(figures, (tool, 200, FIRST)), _median(figures, (tool, 200, FAR)), _peak(figures, tool, 200)]
        lines.append((tool, *("" if cell is None else f"{cell:.2f}" if cell < 20 else f"{cell:.0f}" for cell in cells)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = tuple("-" * (width - 1) + (":" if n else "-") for n, width in enumerate(widths))
    rows = [lines[0], rule, *lines[1:]]
    return "\n".join(
        f"| {' | '.join(c.rjust(w) if n else c.ljust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True)))} |"
        for row in rows
    )


def _peak(figures: Figures, tool: str, seats: int) -> float | None:
    return max((run.peak_mb for run in figures.get((tool, seats, "memory"), [])), default=None)


def verdicts(figures: Figures) -> list[tuple[str, bool]]:
    """A sentence for each goal whose figures are there, and whether it is met."""
    told = []
    for goal in GOALS:
        of, to = _median(figures, goal.of), _median(figures, goal.to)
        if of is not None and to is not None:
            told.append((f"{goal.says}: {of / to:.2f} (goal: at most {goal.most})", of / to <= goal.most))
    peak = _peak(figures, tools.OURS, 200)
    if peak is not None:
        says = f"200 seats, peak memory: {peak:.0f} MB (goal: at most {MOST_MB_AT_200:.0f})"
        told.append((says, peak <= MOST_MB_AT_200))
    return told


def inside(rounds: int, quick: bool, seats: list[int]) -> bool:
    """Measure and print, in the namespaces. Returns whether every goal is met."""
    figures: Figures = defaultdict(list)
    names = [tool for tool in tools.NAMES if not (quick and tool in SLOW)]
    if 50 in seats:
        measure(50, names, rounds, figures)
    if 200 in seats:
        measure(200, [tool for tool in names if tool in AT_200], rounds, figures)
    print(table(figures, names))
    told = verdicts(figures)
    for sentence, met in told:
        print(f"{sentence}: {'met' if met else 'NOT met'}.")
    return all(met for _, met in told)


def main() -> int:
    """The command line. Returns the exit code: 0, or 1 for a missed goal if --strict."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description="Time the fleet, side by side.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (default: 5)")
    parser.add_argument("--quick", action="store_true", help="without the slow ones: ansible, pyinfra and others")
    parser.add_argument("--seats", type=int, choices=(50, 200), action="append", help="so many alone (default: both)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    try:
        if not asked.inside:
            command = words(sys.executable, "-m", "bench.fleet", "--inside", *sys.argv[1:])
            tools.install_peers()
            return subprocess.run(command, check=False).returncode
        met = inside(asked.rounds, asked.quick, asked.seats or [50, 200])
    except SeminarError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 1
    return 1 if asked.strict and not met else 0


if __name__ == "__main__":
    sys.exit(main())
