"""What each `fab` task does, over all seats or some. Returns results; printing is report.py's."""

from __future__ import annotations

from typing import Any

from provisioning import fleet, materials, notebook, passwords, remote, report
from provisioning.fleet import SeatResult
from provisioning.inventory import Inventory
from stacks import clients

_RUN_SECONDS = 600.0


def _over(inventory: Inventory, title: str, work: fleet.Work) -> list[SeatResult]:
    key = remote.read_key(inventory.secrets.organiser_key)
    with report.progress(title, len(inventory.seats)) as done:
        return fleet.over(inventory.seats, key, work, done=done)


def start_notebook(inventory: Inventory, *, token: bool = False) -> list[SeatResult]:
    """Start every seat's Jupyter and prove that its participant gets in. Raises RequestError."""
    materials.check(inventory.handover)

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        laid = materials.lay(seat, inventory.handover)
        started = notebook.start(seat, inventory.handover, inventory.secrets.seats[seat.seat.id], token=token)
        url = clients.url(seat.seat) + (f"/?token={started.token}" if started.token else "")
        return ("changed" if laid else started.outcome), {"url": url}

    return _over(inventory, "Starting notebooks", work)


def stop_notebook(inventory: Inventory) -> list[SeatResult]:
    """End every seat's Jupyter."""
    return _over(inventory, "Stopping notebooks", lambda seat: (notebook.stop(seat), {}))


def status(inventory: Inventory) -> list[SeatResult]:
    """Look at every seat; a running Jupyter is proved by a login."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        seen = notebook.status(seat, inventory.secrets.seats[seat.seat.id])
        return "unchanged", {**seen, "url": clients.url(seat.seat)}

    return _over(inventory, "Looking", work)


def run(inventory: Inventory, command: str) -> list[SeatResult]:
    """Run a shell command in every seat's home; the seat failed if it exits with anything but 0."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        code, output = seat.run(command, seconds=_RUN_SECONDS)
        return ("unchanged" if code == 0 else "failed"), {"exit": code, "output": output.decode(errors="replace")}

    return _over(inventory, "Running", work)


def set_password(inventory: Inventory) -> list[SeatResult]:
    """Bring the state's passwords to the machines. A Jupyter that runs starts anew, so that every older login ends."""

    def work(seat: remote.Remote) -> tuple[fleet.Outcome, dict[str, Any]]:
        secrets = inventory.secrets.seats[seat.seat.id]
        if seat.script("status", {"password_hash": str(secrets.password_hash)}, seconds=60.0)["state"] == "running":
            outcome: fleet.Outcome = notebook.start(seat, inventory.handover, secrets).outcome
            state = "set"
        else:
            outcome, state = "unchanged", "set at start"
        return outcome, {"state": state, "password": passwords.where(inventory.stack, seat.seat)}

    return _over(inventory, "Setting passwords", work)
