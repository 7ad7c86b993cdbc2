"""The main job as a newcomer runs it: `make rehearse`, twice, then `make rehearse-down`."""

from __future__ import annotations

from tests.conftest import Project


def test_rehearse_from_nothing_to_a_kernel_and_back(project: Project) -> None:
    first = project.python("-m", "rehearsal", "up")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Proved for ada" in first.stdout
    assert "6 * 7 = 42" in first.stdout
    for seat in project.inventory():
        assert seat["tunnel"] in first.stdout
        assert f"http://localhost:{seat['local_port']}" in first.stdout
        assert f"seats/{seat['id']}/password" in first.stdout
    assert "make rehearse-down" in first.stdout

    before = project.snapshot()
    second = project.python("-m", "rehearsal", "up")
    assert second.returncode == 0, second.stderr
    assert "same." in second.stdout
    assert "created" not in second.stdout
    assert "updated" not in second.stdout
    assert "✓ changed" not in second.stdout
    assert project.snapshot() == before

    down = project.python("-m", "rehearsal", "down")
    assert down.returncode == 0, down.stderr
    assert project.processes() == []
    assert list((project.root / ".seminar").iterdir()) == []
    assert project.python("-m", "rehearsal", "down").stdout.endswith("There was no rehearsal.\n")


def test_participants_override_the_roster(project: Project) -> None:
    bring_up = ("-m", "rehearsal", "up", "--participants", "2")
    done = project.python(*bring_up)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [seat["id"] for seat in project.inventory()] == ["01", "02"]
    assert "Participant 02" in done.stdout


def test_a_bad_override_is_a_sentence(project: Project) -> None:
    done = project.python("-m", "rehearsal", "up", "--participants", "many")
    assert done.returncode == 2
    assert done.stderr.startswith("Pulumi.rehearsal.yaml: seminar:participants is 'many'; expected a whole number")
