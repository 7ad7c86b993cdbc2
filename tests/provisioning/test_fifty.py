"""A full class on real sshd: three dead machines of fifty cost the others nothing, and are given up by the deadline."""

from __future__ import annotations

import json
import threading

import pytest

from tests.conftest import STACK, Project
from tests.provisioning.machines import closed_port, deaf_port, server

WAIT_SECONDS = 5
MOST_RATIO = 1.2
MOST_ROUNDS = 9  # the quickest of at least three counts, and of more on a computer that is busy


def look(project: Project) -> dict[str, float]:
    """How long each seat that is well took, by id; and the longest of all, as ""."""
    seats = project.fab_json("status", "--wait", str(WAIT_SECONDS))
    seconds = {id_: seat["seconds"] for id_, seat in seats.items() if seat["outcome"] == "unchanged"}
    return {**seconds, "": max(seat["seconds"] for seat in seats.values())}


@pytest.mark.timeout(300)
def test_three_dead_of_fifty(project: Project) -> None:
    settings = "config:\n  seminar:cloud: local\n  seminar:participants: 50\n"
    (project.root / f"Pulumi.{STACK}.yaml").write_text(settings)
    done = project.up()
    assert done.returncode == 0, done.stderr
    all_alive = project.state.read_text()
    over = threading.Event()
    with deaf_port() as deaf, server(lambda _: (over.wait(120), None)[1]) as silent:
        dead = {"07": deaf, "23": closed_port(), "41": silent}
        state = json.loads(all_alive)
        for seat in state["outputs"]["handover"]["seats"]:
            seat["ssh_ports"] = [dead.get(seat["id"], seat["ssh_ports"][0])]
        three_dead = json.dumps(state)
        without, with_dead, whole = [], [], []
        for round_ in range(MOST_ROUNDS):  # in turn, so that what else the computer does falls on both
            project.state.write_text(all_alive)
            seen = look(project)
            assert len(seen) == 51
            without.append(max(seconds for id_, seconds in seen.items() if id_))
            project.state.write_text(three_dead)
            seen = look(project)
            assert set(dead) == {f"{n:02}" for n in range(1, 51)} - set(seen)
            with_dead.append(max(seconds for id_, seconds in seen.items() if id_))
            whole.append(seen[""])
            if round_ >= 2 and min(with_dead) <= MOST_RATIO * min(without):
                break
        over.set()
        project.state.write_text(all_alive)
    assert min(with_dead) <= MOST_RATIO * min(without), (without, with_dead)
    assert max(whole) <= WAIT_SECONDS + 2, whole
