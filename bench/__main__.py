"""`python -m bench`, which is what `make bench` runs: measure, print the table. README.md says what the lines mean."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from bench import aws, cloud_sdks, engines, fab_list
from bench.fleet import __main__ as fleet
from bench.table import Row, render
from bench.timing import Contender, interleave
from stacks.errors import RequestError, SeminarError

WHAT = ("fab", "engine", "cli", "aws", "fleet", "sdks")


def compare(pair: tuple[Contender, Contender], rounds: int, goal: float) -> list[Row]:
    """Time a baseline and its rival. Returns a row for each and step."""
    times = interleave(rounds, pair, _progress)
    rows = []
    for step in pair[0].steps:
        baseline, measured = (times[contender.name, step] for contender in pair)
        rows.append(Row(name=f"{pair[0].name}: {step}", times=baseline))
        rows.append(Row(name=f"{pair[1].name}: {step}", times=measured, baseline=baseline, goal=goal))
    return rows


def measure(what: set[str], rounds: int) -> bool:
    """Measure and print. Returns whether every goal is met. Raises SeminarError."""
    engines.check()
    rows: list[Row] = []
    notes: list[str] = []
    met = "fleet" not in what or _fleet(rounds, notes)
    with tempfile.TemporaryDirectory(prefix="seminar-bench-") as name:
        folder = Path(name)
        if "fab" in what:
            rows += compare(fab_list.contenders(folder), rounds, fab_list.GOAL)
        if "engine" in what:
            rows += compare(engines.without_cli(), rounds, engines.GOAL)
        if "cli" in what:
            pair = engines.with_cli(folder)
            if pair is None:
                notes.append("The Pulumi CLI was skipped: it is not here. `make pulumi` installs it.")
            else:
                rows += compare(pair, rounds, engines.GOAL)
        if "aws" in what:
            with aws.contenders(folder) as three:
                if three is None:
                    notes.append("AWS was skipped: there is no Pulumi CLI here. `make pulumi` installs it.")
                else:
                    times = interleave(rounds, three, _progress)
                    rows += [Row(name=f"{name}: {step}", times=each) for (name, step), each in times.items()]
                    growth = aws.growth_ms(times[three[1].name, aws.PREVIEW], times[three[2].name, aws.PREVIEW])
                    met = met and growth <= aws.GOAL_MS
                    notes.append(
                        f"A seat more on AWS adds {growth:.1f} ms to a preview (goal: at most {aws.GOAL_MS:.0f}): "
                        f"{'met' if growth <= aws.GOAL_MS else 'NOT met'}."
                    )
    if "sdks" in what:
        _progress("cloud SDKs")
        installed = ", ".join(cloud_sdks.installed()) or "none, so that this proves little"
        for command, found in cloud_sdks.loaded().items():
            met = met and not found
            notes.append(f"Cloud SDKs that `{command}` loads: {', '.join(found) or 'none'} (installed: {installed}).")
    _progress("")
    if rows:
        print(render(rows))
    for note in notes:
        print(note)
    return met and all(row.is_met for row in rows)


def _fleet(rounds: int, notes: list[str]) -> bool:
    try:
        return fleet.run(rounds)
    except RequestError as error:
        notes.append(f"The fleet was skipped. {error}")
        return True


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """The command line. Returns the exit code: 0, or 1 for a missed goal if --strict."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the seminar, side by side.")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is timed (default: 7)")
    parser.add_argument("--only", choices=WHAT, action="append", help="measure this alone; may be given again")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error(f"--rounds is {asked.rounds}; expected 1 or more, for example 7")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` cleans up as Ctrl-C does
    try:
        met = measure(set(asked.only or WHAT), asked.rounds)
    except SeminarError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nInterrupted; nothing is left running.", file=sys.stderr)
        return 1
    return 1 if asked.strict and not met else 0


if __name__ == "__main__":
    sys.exit(main())
