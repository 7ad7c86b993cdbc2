"""The rehearsal's machines: a real sshd each, on this computer. Starting and ending them is left to rehearsal/."""

from __future__ import annotations

import os
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from rehearsal import sshd
from stacks.folders import engine_of, machine_folder, seat_folder
from stacks.errors import SettingsError
from stacks.machines import Machines, MachinesArgs
from stacks.seats import by_machine

# Set by the engine in rehearsal/engine.py for the program that it runs: both engines at once would fight for the folder.
ENGINE_VARIABLE = "SEMINAR_ENGINE"


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
        problems: list[pulumi.Output[str]] = []
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
                "laptops": credentials.seats.apply(
                    lambda seats, folders=folders: {
                        id_: {
                            "folder": folder,
                            **{key: seats[id_][key] for key in ("password", "private_key", "public_key")},
                        }
                        for id_, folder in folders.items()
                    }
                ),
            }
            resource = LocalMachine(f"machine-{machine}", props, pulumi.ResourceOptions(parent=self))
            problems.append(resource.problem)
            for seat in sitting:
                self.addresses[seat.id] = pulumi.Output.all(resource.addresses, credentials.host_key).apply(
                    lambda known, id_=seat.id: {**known[0][id_], "host_key": known[1]}
                )
        self.register_outputs({"problems": pulumi.Output.all(*problems).apply(_raise_problems)})


def _check(seminar: str) -> None:
    if sshd.find() is None:
        raise SettingsError(sshd.MISSING)
    holder = engine_of(seminar)
    running = os.environ.get(ENGINE_VARIABLE, "cli")
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
