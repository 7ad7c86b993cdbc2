"""What every backend takes and gives back, and which backend serves which cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pulumi

from stacks.credentials import MachineCredentials, OrganiserKey
from stacks.outputs import HandOver, HandOverSeat
from stacks.seats import Seat
from stacks.settings import SeminarSettings


@dataclass(frozen=True, kw_only=True)
class MachinesArgs:
    """What a backend needs: who sits where, and the credentials of each machine, by machine id."""

    settings: SeminarSettings
    seats: tuple[Seat, ...]
    organiser: OrganiserKey
    credentials: Mapping[str, MachineCredentials]


class Machines(pulumi.ComponentResource):
    """A backend's machines. A subclass fills `addresses`: by seat id, what HandOverSeat adds to Seat, by field."""

    addresses: dict[str, dict[str, pulumi.Input[Any]]]

    def __init__(self, kind: str, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"seminar:machines:{kind}", name, None, opts)
        self.addresses = {}


def build(args: MachinesArgs) -> Machines:
    """Declare the machines on the cloud that the settings name. Its SDK is imported here and only if chosen.

    Raises SettingsError where that cloud can't serve these settings.
    """
    if args.settings.cloud == "aws":
        from stacks.aws import AwsMachines

        return AwsMachines("machines", args)
    from stacks.local import LocalMachines

    return LocalMachines("machines", args)


def export(args: MachinesArgs, machines: Machines) -> None:
    """Export the stack's outputs: `handover`, `secrets`, `tunnels`, `putty`."""
    from stacks.clients import putty_command, tunnel_command

    settings = args.settings
    handover = HandOver(
        seminar=settings.seminar, workdir=settings.workdir, interface=settings.interface, materials=settings.materials
    ).to_dict()
    seats = {seat.id: {**asdict(seat), **machines.addresses[seat.id]} for seat in args.seats}
    # Each value by itself: a machine that could not be made leaves only its own seat without an address.
    pulumi.export("handover", {**handover, "seats": list(seats.values())})
    secrets = {"organiser_key": args.organiser.private_key, "seats": _seat_secrets(args)}
    pulumi.export("secrets", pulumi.Output.secret(secrets))
    known = {id_: _known(seat) for id_, seat in seats.items()}
    pulumi.export("tunnels", {id_: seat.apply(tunnel_command) for id_, seat in known.items()})
    pulumi.export("putty", {id_: seat.apply(putty_command) for id_, seat in known.items()})


def _known(seat: dict[str, Any]) -> pulumi.Output[HandOverSeat]:
    # Only what waits is waited for: Pulumi takes its time with every value.
    waiting = {key: value for key, value in seat.items() if isinstance(value, pulumi.Output)}
    return pulumi.Output.all(**waiting).apply(lambda found: HandOverSeat.from_dict({**seat, **found}))


def _seat_secrets(args: MachinesArgs) -> dict[str, pulumi.Output[dict[str, str]]]:
    fields = ("password", "password_hash", "private_key")

    def pick(seat: Seat) -> pulumi.Output[dict[str, str]]:
        return args.credentials[seat.machine].seats.apply(lambda seats: {key: seats[seat.id][key] for key in fields})

    return {seat.id: pick(seat) for seat in args.seats}
