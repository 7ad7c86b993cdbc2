"""What every backend takes and gives back, and which backend serves which cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pulumi

from stacks import access, boot
from stacks.credentials import MachineCredentials, OrganiserKey, credentials_for
from stacks.errors import SettingsError
from stacks.outputs import HandOver, HandOverSeat
from stacks.seats import Seat
from stacks.settings import SeminarSettings
from stacks.values import Secret


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

    def reach(self, args: MachinesArgs, seats: tuple[Seat, ...], host: pulumi.Output[str]) -> None:
        """Fill `addresses` for the seats of one machine of a cloud."""
        for seat in seats:
            self.addresses[seat.id] = {
                "host": host,
                "host_key": args.credentials[seat.machine].host_key,
                "ssh_ports": list(access.SSH_PORTS),
                "notebook_port": args.settings.notebook_port,
                "local_port": args.settings.local_port,
            }


def declare(settings: SeminarSettings, seats: tuple[Seat, ...]) -> None:
    """Declare the whole seminar: keys and passwords, machines, outputs. Raises SettingsError as `build` does."""
    args = MachinesArgs(
        settings=settings,
        seats=seats,
        organiser=OrganiserKey("organiser"),
        credentials=credentials_for(seats, settings),
    )
    export(args, build(args))


def build(args: MachinesArgs) -> Machines:
    """Declare the machines on the cloud that the settings name. Its SDK is imported here and only if chosen.

    Raises SettingsError where that cloud can't serve these settings, or its SDK is not installed.
    """
    try:
        return _backend(args.settings.cloud)("machines", args)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"Pulumi.{args.settings.seminar}.yaml: seminar:cloud is {args.settings.cloud}, and {error.name} is not "
            "installed; run `make setup`, which installs what the clouds need."
        ) from error


def _backend(cloud: str) -> Callable[[str, MachinesArgs], Machines]:
    if cloud == "aws":
        from stacks.aws import AwsMachines

        return AwsMachines
    if cloud == "azure":
        from stacks.azure import AzureMachines

        return AzureMachines
    from stacks.local import LocalMachines

    return LocalMachines


def user_data(
    args: MachinesArgs,
    seats: tuple[Seat, ...],
    *,
    read_ends: str,
    packages: tuple[str, ...],
    services_off: tuple[str, ...] = (),
    grace_minutes: int = 0,
) -> pulumi.Output[str]:
    """What the machine of these seats is told at its first boot, a secret. The keywords are those of boot.BootArgs."""
    own = args.credentials[seats[0].machine]

    def render(known: Mapping[str, Any]) -> str:
        return str(
            boot.render(
                boot.BootArgs(
                    users={seat.user: known["seats"][seat.id]["public_key"] for seat in seats},
                    organiser_key=known["organiser_key"],
                    host_key=known["host_key"],
                    host_private_key=Secret(known["host_private_key"]),
                    ssh_ports=access.SSH_PORTS,
                    ends=args.settings.ends,
                    read_ends=read_ends,
                    packages=packages,
                    services_off=services_off,
                    grace_minutes=grace_minutes,
                )
            )
        )

    known = pulumi.Output.all(
        organiser_key=args.organiser.public_key,
        host_key=own.host_key,
        host_private_key=own.host_private_key,
        seats=own.seats,
    )
    return pulumi.Output.secret(known.apply(render))


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
