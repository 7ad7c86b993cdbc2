"""Who sits where. The only room that knows that today a machine has one seat.

A place follows from the participant's id alone, so that one joining or leaving moves nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stacks.roster import Participant

# The Unix user of a participant on a machine of the cloud; the same for all, so that commands differ by host alone.
USER = "participant"


@dataclass(frozen=True)
class Seat:
    """Where one participant works. `id` is the participant's, `machine` the machine's, `user` the Unix user there."""

    id: str
    name: str
    machine: str
    user: str = USER


def seat_everyone(participants: Iterable[Participant]) -> tuple[Seat, ...]:
    """Give every participant a machine of their own, called by their id."""
    return tuple(Seat(id=person.id, name=person.name, machine=person.id) for person in participants)


def by_machine(seats: Iterable[Seat]) -> dict[str, tuple[Seat, ...]]:
    """The seats of each machine, in the order given."""
    machines: dict[str, tuple[Seat, ...]] = {}
    for seat in seats:
        machines[seat.machine] = (*machines.get(seat.machine, ()), seat)
    return machines
