"""`python -m bench.fleet`: start-notebook's own work on fifty and two hundred real sshd, beside what else does it."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.fleet import contenders as tools
from bench.fleet.machines import Machines, words
from provisioning.inventory import CONNECT_SECONDS
from stacks.errors import SeminarError
from stacks.folders import PROJECT_ROOT

_COMMAND_SECONDS = 600.0
_SAMPLE_SECONDS = 0.02
_TICK_SECONDS = 0.1  # the computer is busy just then
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
DEAD = (6, 22, 40)  # which machines of fifty drop every packet
MOST_WITH_DEAD = 1.2

Figures = dict[tuple[str, int, str], list[Run]]  # by tool, seats and step


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


def measure(seats: int, names: Iterable[str], rounds: int, figures: Figures) -> Dead | None:
    """Time the tools in turn on so many machines, near and far; adds to the figures.

    Fifty are timed with dead machines, too.
    """
    with tempfile.TemporaryDirectory(prefix="seminar-fleet-", ignore_cleanup_errors=True) as name:
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
            room.delayed(False)
            return with_dead(room, commands[tools.OURS], folder, rounds) if seats == 50 else None
        finally:
            room.close()
            _say("")


@dataclass(frozen=True)
class Dead:
    """When the living were done, with none dead and with three; and when the run with three had ended. Seconds."""

    without: list[float]
    living: list[float]
    whole: list[float]

    def verdicts(self) -> list[tuple[str, bool]]:
        """A sentence for each goal, and whether it is met."""
        ratio = statistics.median(self.living) / statistics.median(self.without)
        whole = statistics.median(self.whole)
        return [
            (
                f"3 of 50 dead: the others are done after {statistics.median(self.living):.2f} s, with none dead after "
                f"{statistics.median(self.without):.2f}: {ratio:.2f} (goal: at most {MOST_WITH_DEAD})",
                ratio <= MOST_WITH_DEAD,
            ),
            (
                f"3 of 50 dead: the last is given up after {whole:.2f} s (goal: the deadline of {CONNECT_SECONDS:.0f})",
                whole <= CONNECT_SECONDS + _TICK_SECONDS,
            ),
        ]


def with_dead(room: Machines, command: list[str], folder: Path, rounds: int) -> Dead:
    """Our own task on fifty machines, with none and with three dead, in turn."""
    found = Dead([], [], [])
    for round_ in range(rounds):
        for dead in ((), DEAD):
            _say(f"50 seats, round {round_ + 1} of {rounds}: {len(dead)} dead")
            room.dead(dead)
            room.reset()
            done = subprocess.run([*command, "--json"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True)
            seats = json.loads(done.stdout)["seats"]
            well = [seat["seconds"] for seat in seats if seat["outcome"] == "changed"]
            if len(well) != len(seats) - len(dead):
                raise SeminarError(f"{len(well)} of {len(seats)} seats were well, with {len(dead)} dead.")
            (found.living if dead else found.without).append(max(well))
            if dead:
                found.whole.append(max(seat["seconds"] for seat in seats))
    room.dead(())
    return found


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


def inside(rounds: int, quick: bool, seats: int) -> None:
    """Measure with so many seats, in namespaces of this process's own, and print what was found as JSON."""
    figures: Figures = defaultdict(list)
    names = [tool for tool in _names(quick) if seats == 50 or tool in AT_200]
    dead = measure(seats, names, rounds, figures)
    found = [[*key, [asdict(each) for each in runs]] for key, runs in figures.items()]
    json.dump({"figures": found, "dead": asdict(dead) if dead else None}, sys.stdout)


def run(rounds: int, *, quick: bool = False, seats: Iterable[int] = (50, 200)) -> bool:
    """Measure and print; returns whether every goal is met. Raises RequestError where there can be no machines."""
    figures: Figures = {}
    dead: Dead | None = None
    for each in seats:
        options = [f"--inside={each}", f"--rounds={rounds}", *(["--quick"] if quick else [])]
        command = words(sys.executable, "-m", "bench.fleet", *options)
        tools.install_peers()
        done = subprocess.run(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SeminarError(f"The fleet of {each} seats could not be measured.")
        found = json.loads(done.stdout)
        figures |= {(tool, of, step): [Run(**one) for one in runs] for tool, of, step, runs in found["figures"]}
        dead = Dead(**found["dead"]) if found["dead"] else dead
    print(table(figures, _names(quick)))
    told = [*verdicts(figures), *(dead.verdicts() if dead else [])]
    for sentence, met in told:
        print(f"{sentence}: {'met' if met else 'NOT met'}.")
    return all(met for _, met in told)


def _names(quick: bool) -> list[str]:
    return [tool for tool in tools.NAMES if not (quick and tool in SLOW)]


def main() -> int:
    """The command line. Returns the exit code: 0, or 1 for a missed goal if --strict."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description="Time the fleet, side by side.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (default: 5)")
    parser.add_argument("--quick", action="store_true", help="without the slow ones: ansible, pyinfra and others")
    parser.add_argument("--seats", type=int, choices=(50, 200), action="append", help="so many alone (default: both)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument("--inside", type=int, default=0, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    try:
        if asked.inside:
            inside(asked.rounds, asked.quick, asked.inside)
            return 0
        met = run(asked.rounds, quick=asked.quick, seats=asked.seats or (50, 200))
    except SeminarError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 1
    return 1 if asked.strict and not met else 0


if __name__ == "__main__":
    sys.exit(main())
