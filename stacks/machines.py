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
    """A backend's machines. A subclass fills `addresses`: by seat id, what HandOverSeat adds to Seat, as one Output."""

    addresses: dict[str, pulumi.Output[dict[str, Any]]]

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
    seats = pulumi.Output.all(*[machines.addresses[seat.id] for seat in args.seats]).apply(
        lambda addresses: [
            HandOverSeat.from_dict({**asdict(seat), **address})
            for seat, address in zip(args.seats, addresses, strict=True)
        ]
    )
    pulumi.export(
        "handover",
        seats.apply(
            lambda found: HandOver(
                seminar=settings.seminar,
                workdir=settings.workdir,
                interface=settings.interface,
                materials=settings.materials,
                seats=tuple(found),
            ).to_dict()
        ),
    )
    secrets = {"organiser_key": args.organiser.private_key, "seats": _seat_secrets(args)}
    pulumi.export("secrets", pulumi.Output.secret(secrets))
    pulumi.export("tunnels", seats.apply(lambda found: {seat.id: tunnel_command(seat) for seat in found}))
    pulumi.export("putty", seats.apply(lambda found: {seat.id: putty_command(seat) for seat in found}))


def _seat_secrets(args: MachinesArgs) -> dict[str, pulumi.Output[dict[str, str]]]:
    fields = ("password", "password_hash", "private_key")

    def pick(seat: Seat) -> pulumi.Output[dict[str, str]]:
        return args.credentials[seat.machine].seats.apply(lambda seats: {key: seats[seat.id][key] for key in fields})

    return {seat.id: pick(seat) for seat in args.seats}
