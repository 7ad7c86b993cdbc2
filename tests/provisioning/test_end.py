"""`fab end` on real sshd: nothing is destroyed before everyone's work is whole here, wherever it is cut short."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from provisioning import archive, end_mark
from provisioning.end_mark import Mark, SeatEnd
from tests.conftest import FAB, STACK, Project
from tests.provisioning.machines import seat

pytestmark = pytest.mark.timeout(600)  # each is a seminar's whole life, through the CLI an engine at every step
IDS = ("ada", "bose", "curie")


def up(project: Project) -> None:
    done = project.up()
    assert done.returncode == 0, done.stderr
    for id_ in IDS:
        work(project, id_, f"the work of {id_}")


def work(project: Project, id_: str, text: str) -> None:
    folder = project.machine(id_) / "home/learnml"
    folder.mkdir(exist_ok=True)
    (folder / "work.ipynb").write_text(text)


def kept(project: Project, id_: str) -> list[str]:
    """What the archives of a participant hold, the newest last."""
    import zipfile

    found = []
    for path in archive.archives(project.root / "collected" / STACK / id_):
        with zipfile.ZipFile(path) as each:
            found.append(each.read("work/work.ipynb").decode())
    return found


def end(project: Project, *words: str, code: int = 0) -> str:
    done = project.fab("end", *words)
    told = done.stdout + done.stderr
    assert done.returncode == code, told
    assert "Traceback" not in told
    return told


def cut_short(project: Project, patch: str) -> None:
    """A `fab end` that ends at once and without a word, as by kill -9, where the patch says `stop()`."""
    code = "import os; from provisioning import end_mark, ending, engines, tasks, verbs; import invoke\n"
    code += f"def stop(*_, **__): os._exit(9)\n{patch}\ntasks.end(invoke.Context(), yes=True)"
    done = project.python("-c", code)
    assert done.returncode == 9, done.stdout + done.stderr


def check_that_all_is_gone(project: Project, told: str) -> None:
    assert f"The seminar {STACK} has ended: the archives of " in told
    assert project.processes() == []
    assert not (project.root / ".seminar" / STACK).exists()


def test_a_seminar_ends(either: Project) -> None:
    up(either)
    told = end(either, code=2)
    assert told.startswith("`fab end` destroys the machines and asks first, but has no terminal to ask on; say --yes")
    assert end(either, "--yes", "--without", "zoe", code=2).startswith("There is no participant 'zoe'")
    assert len(either.seats()) == 3

    told = end(either, "--yes")
    check_that_all_is_gone(either, told)
    assert "No process of its machines runs any more, and their folder is gone." in told
    assert {id_: kept(either, id_) for id_ in IDS} == {id_: [f"the work of {id_}"] for id_ in IDS}

    for words in (("--yes",), ()):
        told = end(either, *words)
        assert f"The seminar {STACK} has ended already, at " in told
        assert "the archives of 3 participants are in collected/rehearsal/." in told
    assert end(either, "--stack", "other", code=2)


def test_a_seat_that_can_not_be_reached(project: Project) -> None:
    up(project)
    keys = project.machine("ada") / "authorized_keys"
    keys.write_text("".join(line for line in keys.read_text().splitlines(True) if "organiser" not in line))
    told = end(project, "--yes", code=1)
    assert "✗ failed" in told
    assert "Nothing was destroyed, for this work is not here: ada. Mend that and run this again; " in told
    assert "or give it up: fab end --stack rehearsal --without ada" in told
    assert "Nothing was destroyed" in end(project, "--yes", "--without", "bose", code=1)
    assert project.machine("ada").exists()
    told = end(project, "--yes", "--without", "ada,bose")
    check_that_all_is_gone(project, told)
    assert "destroys the 3 machines of rehearsal with all their files. The work of ada is lost with them." in told
    assert "the archives of 2 participants are in collected/rehearsal/; given up: ada." in told
    assert kept(project, "ada") == []
    assert kept(project, "bose") == ["the work of bose"]

    # Another seminar of the same name begins from nothing.
    up(project)
    work(project, "bose", "later")
    home = project.machine("ada") / "home"
    (home / "learnml").rename(home / "moved")
    (home / ".local/share/seminar").mkdir(parents=True)
    (home / ".local/share/seminar/put").touch()
    told = end(project, "--yes", code=1)
    assert "ada: the working directory learnml is gone: it was moved, or removed" in told
    assert "Nothing was destroyed, for this work is not here: ada." in told
    (home / "moved").rename(home / "learnml")
    check_that_all_is_gone(project, end(project, "--yes"))
    assert kept(project, "bose") == ["the work of bose", "later"]


def on_a_terminal(project: Project, typed: str) -> subprocess.CompletedProcess[str]:
    """`fab end` with a terminal to ask on, where this is typed."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            (FAB, "end"),
            cwd=project.root,
            env={**os.environ, **project.env},
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(master, f"{typed}\n".encode())  # the terminal keeps it until it is read
        out, err = process.communicate(timeout=150)
    finally:
        os.close(master)
        os.close(slave)
    return subprocess.CompletedProcess((), process.returncode, out, err)


def test_the_notebooks_end_only_after_the_name_was_typed(project: Project) -> None:
    project.roster("ada,Ada Lovelace")
    assert project.up().returncode == 0
    assert project.fab("start-notebook").returncode == 0
    jupyter = int((project.machine("ada") / "home/.local/share/seminar/notebook.pid").read_text())
    work(project, "ada", "first")
    done = on_a_terminal(project, "no")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Came 'no'; expected rehearsal. Nothing was destroyed." in done.stderr
    assert psutil.pid_exists(jupyter)
    assert kept(project, "ada") == ["first"]
    done = on_a_terminal(project, STACK)
    assert done.returncode == 0, done.stdout + done.stderr
    check_that_all_is_gone(project, done.stdout)


def test_cut_short_before_anything_was_destroyed(project: Project) -> None:
    up(project)
    cut_short(project, "verbs.stop_and_collect = stop")
    work(project, "ada", "worked on")
    cut_short(project, "end_mark.Mark.keep = stop")
    assert kept(project, "ada") == ["the work of ada", "worked on"]

    # An archive that is damaged meanwhile.
    code = "import pathlib; from provisioning import tasks, verbs; import invoke; real = verbs.stop_and_collect\n"
    code += "def spoilt(*words):\n    done = real(*words)\n    path, = pathlib.Path('collected').glob('*/bose/*.zip')\n"
    code += "    path.write_bytes(path.read_bytes() + b'x')\n    return done\n"
    code += "verbs.stop_and_collect = spoilt\ntasks.end(invoke.Context(), yes=True)"
    done = project.python("-c", code)
    assert "is damaged: its checksum is not the one beside it" in done.stdout, done.stdout + done.stderr
    assert "Nothing was destroyed, for this work is not here: bose." in done.stdout
    assert "The notebooks were stopped; `fab start-notebook --stack rehearsal` starts them again." in done.stdout

    # The mark stands, nothing is destroyed yet, and the participants go on working: what is new is collected.
    cut_short(project, "engines.run = stop")
    assert len(project.seats()) == 3
    work(project, "ada", "worked on still")
    interrupt(project)
    assert kept(project, "ada")[-1] == "worked on still"
    check_that_all_is_gone(project, end(project, "--yes"))


def interrupt(project: Project) -> None:
    """Ctrl-C while the machines are destroyed, which takes its time here."""
    program = project.root / "rehearsal/__main__.py"
    kept_text = program.read_text()
    waiting = '    with _Stage("Ending the rehearsal") as step:\n'
    assert waiting in kept_text
    program.write_text(kept_text.replace(waiting, f"{waiting}        import time; time.sleep(120)\n"))
    process = project.popen(FAB, "end", "--yes")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Ending the rehearsal"):
            break
    os.killpg(process.pid, signal.SIGINT)
    told = process.stdout.read()
    assert process.wait(timeout=60) == 1
    assert "Interrupted; running this again goes on from here." in told
    assert "Traceback" not in told
    program.write_text(kept_text)


def test_cut_short_while_it_is_destroyed(project: Project) -> None:
    up(project)
    cut_short(
        project,
        "def some(*_):\n"
        "    from rehearsal import sshd\n"
        "    from stacks.folders import machine_folder\n"
        "    for id_ in ('ada', 'curie'):\n"
        "        sshd.remove({'folder': machine_folder('rehearsal', id_), 'laptops': {}})\n"
        "    stop()\n"
        "engines.run = some",
    )
    assert not project.machine("ada").exists()
    newest = archive.archives(project.root / "collected" / STACK / "curie")[-1]
    content = newest.read_bytes()
    newest.write_bytes(content[:-1])
    told = end(project, "--yes", "--wait", "5", code=1)
    assert "ada: its machine is going already; its work was proved at " in told
    assert "Nothing was destroyed, for this work is not here: curie." in told
    newest.write_bytes(content)

    # Destroyed, and cut short before that was said.
    ended = (
        "real = end_mark.Mark.keep\nend_mark.Mark.keep = lambda mark: (stop if mark.state == 'ended' else real)(mark)"
    )
    cut_short(project, ended)  # its dead machines are given up after 10 seconds
    assert project.processes() == []
    told = end(project)
    assert f"The end of {STACK} was cut short at " in told
    assert "the archives of 3 participants are in collected/rehearsal/." in told
    check_that_all_is_gone(project, told)
    assert "has ended already" in end(project)


def test_a_seat_that_works_again_is_not_taken_for_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_mark, "COLLECTED_FOLDER", tmp_path)
    monkeypatch.setattr(end_mark, "collected_folder", lambda stack: tmp_path / stack)
    ada = seat()
    made = Mark("spring", "destroying", "cli", {"ada": SeatEnd(ada.host_key, "0" * 64)}, ("bose",)).keep()
    assert end_mark.read("spring") == made
    assert end_mark.known() == ["spring"]
    assert made.has(ada)
    assert not made.has(seat(id_="bose"))
    assert not Mark(**{**vars(made), "seats": {"ada": SeatEnd("another key", "0" * 64)}}).has(ada)
    end_mark.withdraw("spring", ["bose"])
    assert end_mark.read("spring") == made
    end_mark.withdraw("spring", ["ada", "bose"])
    left = end_mark.read("spring")
    assert left is not None
    assert not left.has(ada)
    end_mark.withdraw("autumn", ["ada"])
    assert end_mark.read("autumn") is None
