"""What each `fab` task does, over all seats or some. Returns results; printing is report.py's."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

from provisioning import (
    collect,
    end_mark,
    fleet,
    last_run,
    looking,
    notebook,
    passwords,
    programs,
    push,
    remote,
    report,
)
from provisioning.fleet import SeatResult
from provisioning.inventory import Inventory
from provisioning.materials import Materials
from stacks import clients
from stacks.errors import SeatError

_RUN_SECONDS = 600.0


def _over(
    inventory: Inventory, task: str, title: str, work: fleet.Work, *, seat_seconds: float = fleet.SEAT_SECONDS
) -> list[SeatResult]:
    # A short process makes little that only a search for cycles would free; the search, and the one at its end over all
    # that was loaded, cost more than anything else that is not the machines' own.
    gc.freeze()
    gc.disable()
    key = remote.read_key(inventory.secrets.organiser_key)
    with report.progress(title, inventory.seats) as done:
        patience = {"connect_seconds": inventory.connect_seconds, "seat_seconds": seat_seconds}
        results = fleet.over(inventory.seats, key, work, **patience, done=done)
    gc.freeze()
    last_run.keep(inventory.stack, task, results)
    return results


def start_notebook(inventory: Inventory, *, token: bool = False) -> list[SeatResult]:
    """Start every seat's Jupyter and prove that its participant gets in. Raises RequestError."""
    materials = Materials.of(inventory.handover)

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        secrets = inventory.secrets.seats[seat.seat.id]
        started = notebook.start(
            seat, inventory.handover, secrets, materials=materials, guard="token" if token else "password"
        )
        url = clients.url(seat.seat) + (f"/?token={started.token}" if started.token else "")
        return started.outcome, {"url": url, "note": started.note}

    results = _over(inventory, "start-notebook", "Starting notebooks", work)
    end_mark.withdraw(inventory.stack, [result.seat.id for result in results])
    return results


def stop_notebook(inventory: Inventory) -> list[SeatResult]:
    """End every seat's Jupyter."""
    return _over(inventory, "stop-notebook", "Stopping notebooks", lambda seat: (notebook.stop(seat), {}))


def status(inventory: Inventory) -> list[SeatResult]:
    """Look at every seat; a running Jupyter is proved by a login."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        with contextlib.closing(looking.looks(seat, inventory.secrets.seats[seat.seat.id])) as looks:
            seen = next(looks)
        if seen.fault:
            raise SeatError(seen.fault, evidence=seen.evidence)
        return "unchanged", {**seen.facts, "note": seen.note, "url": clients.url(seat.seat)}

    return _over(inventory, "status", "Looking", work)


def logs(inventory: Inventory, *, lines: int) -> list[SeatResult]:
    """The last lines of the log of every seat's Jupyter, as `output`."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        return "unchanged", {"output": notebook.logs(seat, lines=lines)}

    return _over(inventory, "logs", "Reading logs", work)


def restart_notebook(inventory: Inventory) -> list[SeatResult]:
    """End every seat's Jupyter, kernels with it, and start it as it was: with its password, or its token."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        secrets = inventory.secrets.seats[seat.seat.id]
        started = notebook.start(seat, inventory.handover, secrets, guard="as it is", anew=True)
        url = clients.url(seat.seat) + (f"/?token={started.token}" if started.token else "")
        return started.outcome, {"state": "restarted", "url": url, "note": started.note}

    return _over(inventory, "restart-notebook", "Restarting notebooks", work)


def run(inventory: Inventory, command: str) -> list[SeatResult]:
    """Run a shell command in every seat's home; the seat failed if it exits with anything but 0."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        code, output = seat.run(command, seconds=_RUN_SECONDS)
        return ("unchanged" if code == 0 else "failed"), {"exit": code, "output": output.decode(errors="replace")}

    return _over(inventory, "run", "Running", work)


def set_password(inventory: Inventory) -> list[SeatResult]:
    """Bring the state's passwords to the machines. A Jupyter that runs starts anew, so that every older login ends."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        secrets = inventory.secrets.seats[seat.seat.id]
        started = notebook.start(seat, inventory.handover, secrets, only_running=True)
        state = "set" if started.running else "set at start"
        return started.outcome, {"state": state, "password": passwords.where(inventory.stack, seat.seat)}

    return _over(inventory, "start-notebook", "Setting passwords", work)


def collect_work(inventory: Inventory, rule: collect.Rule) -> list[SeatResult]:
    """Bring every seat's work here, where it is not here already."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        done = collect.collect(seat, inventory.stack, inventory.handover.workdir, rule)
        return done.outcome, collected_details(done)

    return _over(inventory, "collect", "Collecting", work, seat_seconds=programs.SEAT_SECONDS)


def stop_and_collect(inventory: Inventory, rule: collect.Rule) -> list[SeatResult]:
    """End every seat's Jupyter, so that nobody works on, and bring its work here."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        notebook.stop(seat)
        done = collect.collect(seat, inventory.stack, inventory.handover.workdir, rule)
        return done.outcome, collected_details(done)

    return _over(inventory, "collect", "Stopping and collecting", work, seat_seconds=programs.SEAT_SECONDS)


COLLECTED: dict[str, Callable[[SeatResult], str]] = {
    "Files": lambda result: str(result.details.get("files", "")),
    "Left out": lambda result: str(result.details.get("left_out", "")),
    "Fetched": lambda result: f"{result.details.get('fetched_bytes', 0) / 1_048_576:.1f} MiB",
}


def collected_details(done: collect.Collected) -> dict[str, Any]:
    """What is told of a collection."""
    work = done.kept.work
    counts = {"files": len(work.files), "left_out": len(work.left_out), "fetched_bytes": done.fetched_bytes}
    return {**counts, "archive": str(done.kept.path), "sha256": done.kept.sha256, "note": done.note}


def push_files(inventory: Inventory, selection: push.Selection) -> list[SeatResult]:
    """Put the selected files into every seat's working directory, and leave a participant's own edits alone."""
    manifest = selection.manifest()

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        put = push.put(seat, inventory.handover.workdir, selection, manifest, packed)
        beside = [{"own": own, "new": new} for own, new in put.beside]
        counts = {"sent": put.sent, "unchanged": put.unchanged, "beside_count": put.beside_count}
        return put.outcome, {**counts, "beside": beside, "note": put.note}

    with push.Packed(inventory.stack) as packed:
        return _over(inventory, "push", "Pushing files", work, seat_seconds=programs.SEAT_SECONDS)
