"""Who sits where: one joining, leaving or standing elsewhere in the roster moves nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stacks.roster import Participant, numbered
from stacks.seats import Seat, by_machine, seat_everyone

CLASS = tuple(Participant(id_, f"{id_.title()} of the class") for id_ in ("ada", "bose", "curie", "dirac"))


def places(participants: tuple[Participant, ...]) -> dict[str, Seat]:
    return {seat.id: seat for seat in seat_everyone(participants)}


@given(st.sets(st.sampled_from(CLASS)))
def test_leaving_moves_nobody(leaving: set[Participant]) -> None:
    stay = tuple(person for person in CLASS if person not in leaving)
    assert places(stay) == {person.id: places(CLASS)[person.id] for person in stay}


@given(st.permutations(CLASS))
def test_another_order_moves_nobody(order: list[Participant]) -> None:
    assert places(tuple(order)) == places(CLASS)


def test_a_higher_count_moves_nobody() -> None:
    few, many = places(numbered(9)), places(numbered(120))
    assert {id_: many[id_] for id_ in few} == few


def test_the_roster_is_the_order() -> None:
    assert [seat.name for seat in seat_everyone(CLASS)] == [person.name for person in CLASS]


def test_a_machine_has_its_seats_in_order() -> None:
    one, two, other = Seat("b", "B", "m1"), Seat("a", "A", "m1"), Seat("c", "C", "m2")
    assert by_machine([one, other, two]) == {"m1": (one, two), "m2": (other,)}
    assert {machine: len(seats) for machine, seats in by_machine(seat_everyone(CLASS)).items()} == dict.fromkeys(
        ("ada", "bose", "curie", "dirac"), 1
    )
