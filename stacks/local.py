"""The rehearsal's machines: a real sshd each, on this computer. Starting and ending them is left to rehearsal/."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from rehearsal import sshd
from stacks.errors import SettingsError
from stacks.folders import engine_of, machine_folder, seat_folder
from stacks.machines import Machines, MachinesArgs
from stacks.seats import by_machine

# Set by rehearsal/engine.py for the program that it runs: both engines at once would fight for the folder.
ENGINE_VARIABLE = "SEMINAR_ENGINE"
PREVIEW = "preview"  # no engine: nothing is made, so nothing need be there

_FIELDS = ("host", "ssh_ports", "user", "notebook_port", "local_port", "host_key", "files")


class _LocalMachineProvider(ResourceProvider):
    """Hands on to rehearsal.sshd. A machine that can't run is reported in the output `problem`, as a sentence: the CLI
    shows an exception of a dynamic provider only as a stack trace, and one bad machine must not stop the others."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        wanted = {key: value for key, value in news.items() if not key.startswith("__")}
        same = all(olds.get(key) == value for key, value in wanted.items() if value is not None)
        return DiffResult(changes=not same or bool(olds["problem"]) or not sshd.is_healthy(wanted["folder"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["machine"], {**props, **sshd.ensure(props)})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({**news, **sshd.ensure(news)})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        sshd.remove(props)


class LocalMachine(Resource, name="LocalMachine"):
    """One sshd with a home of its own, and the files that its participants would have on their laptops."""

    addresses: pulumi.Output[dict[str, dict[str, Any]]]
    problem: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["host_private_key", "laptops"])
        outputs = {"addresses": None, "problem": None}
        opts = pulumi.ResourceOptions.merge(secret, opts)
        super().__init__(_LocalMachineProvider(), name, {**props, **outputs}, opts)


class LocalMachines(Machines):
    """A LocalMachine for every machine of the seminar."""

    def __init__(self, name: str, args: MachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raises SettingsError where this computer has no sshd, or the other engine holds this rehearsal."""
        _check(args.settings.seminar)
        super().__init__("Local", name, opts)
        resources: dict[str, LocalMachine] = {}
        for machine, sitting in by_machine(args.seats).items():
            credentials = args.credentials[machine]
            folders = {seat.id: str(seat_folder(args.settings.seminar, seat.id)) for seat in sitting}
            props = {
                "machine": machine,
                "folder": str(machine_folder(args.settings.seminar, machine)),
                "host_key": credentials.host_key,
                "host_private_key": credentials.host_private_key,
                "organiser_key": args.organiser.public_key,
                "notebook_port": args.settings.notebook_port,
                "local_port": args.settings.local_port,
                "laptops": credentials.seats.apply(partial(_laptops, folders)),
            }
            resources[machine] = LocalMachine(f"machine-{machine}", props, pulumi.ResourceOptions(parent=self))
        problems = pulumi.Output.all(*[resource.problem for resource in resources.values()]).apply(_raise_problems)
        for seat in args.seats:
            host_key = args.credentials[seat.machine].host_key
            known = pulumi.Output.all(resources[seat.machine].addresses, host_key, problems)
            self.addresses[seat.id] = {field: known.apply(partial(_address, seat.id, field)) for field in _FIELDS}
        self.register_outputs({"problems": problems})


def _laptops(folders: dict[str, str], seats: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """What the participants of one machine have, by seat id."""
    kept = ("password", "private_key", "public_key")
    return {id_: {"folder": folder, **{key: seats[id_][key] for key in kept}} for id_, folder in folders.items()}


def _address(seat_id: str, field: str, known: list[Any]) -> Any:
    return known[1] if field == "host_key" else known[0][seat_id][field]


def _check(seminar: str) -> None:
    running = os.environ.get(ENGINE_VARIABLE, "cli")
    if running == PREVIEW:
        return
    if sshd.find() is None:
        raise SettingsError(sshd.MISSING)
    holder = engine_of(seminar)
    if holder not in (None, running):
        names = {"cli": "the Pulumi CLI", "in-process": "the engine without the CLI"}
        raise SettingsError(
            f"The rehearsal {seminar!r} was brought up by {names[holder]} and {names[running]} can't take it over; "
            "run `make rehearse` to go on with it, or `make rehearse-down` first."
        )


def _raise_problems(problems: list[str]) -> list[str]:
    found = [problem for problem in problems if problem]
    if found:
        raise pulumi.RunError("\n".join(found))
    return found
