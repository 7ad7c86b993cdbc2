"""Every bad input gets a sentence and exit code 2: what came, what was expected, what to do. No stack trace."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import NO_CLI, STACK, Project

BAD_SETTINGS = [
    ("work-dir", "learnml", "seminar:work-dir is not a setting; expected seminar:workdir."),
    ("notebook-port", 80, "seminar:notebook-port is 80; expected a whole number from 1024 to 65535"),
    ("notebook-port", 65536, "seminar:notebook-port is 65536; expected"),
    ("local-port", "eighty", "seminar:local-port is 'eighty'; expected a whole number"),
    ("participants", -3, "seminar:participants is -3; expected a whole number from 1 to 500"),
    ("participants", 3, "seminar:participants is 3 and roster is set too; expected only one of them."),
    ("workdir", "my folder", "seminar:workdir is 'my folder'; expected a folder below the home"),
    ("workdir", "-rf", "seminar:workdir is '-rf'; expected"),
    ("workdir", "../..", "seminar:workdir is '../..'; expected"),
    ("workdir", "$HOME", "seminar:workdir is '$HOME'; expected"),
    ("interface", "classic", "seminar:interface is 'classic'; expected notebook or lab."),
    ("cloud", "mars", "seminar:cloud is 'mars'; expected local or aws or azure."),
    ("password", "not encrypted", "seminar:password stands in clear text; expected"),
    ("materials", "no-such-folder", "seminar:materials is 'no-such-folder', which is no folder; expected"),
]


@pytest.mark.parametrize(("key", "value", "told"), BAD_SETTINGS)
def test_a_bad_setting(project: Project, key: str, value: object, told: str) -> None:
    project.setting(key, value)
    done = project.python("-m", "rehearsal", "up")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"Pulumi.rehearsal.yaml: {told}" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert project.processes() == []


def test_a_rehearsal_of_a_cloud(project: Project) -> None:
    for key, value in (("cloud", "aws"), ("region", "eu-central-1"), ("allowed-cidrs", ["192.88.99.0/24"])):
        project.setting(key, value)
    for module, told in (
        ("rehearsal", "expected local: a rehearsal is on"),
        ("rehearsal.engine", "needs the Pulumi CLI"),
    ):
        done = project.python("-m", module, "up", *([STACK] if module == "rehearsal.engine" else []))
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert not project.state.exists()


def test_all_faults_come_at_once(project: Project) -> None:
    for key, value in (("notebook-port", 80), ("interface", "classic"), ("workdir", "..")):
        project.setting(key, value)
    for words in (("-m", "rehearsal", "up"), ("-m", "rehearsal.engine", "up", STACK)):
        done = project.python(*words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 3
    project.roster("ada,Ada", "ada,Again", "b o b,Bob", "x,")
    (project.root / f"Pulumi.{STACK}.yaml").write_text("config:\n  seminar:roster: roster.csv\n")
    done = project.python("-m", "rehearsal", "up")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [f"roster.csv line {n}" for n in (3, 4, 5)]


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "roster.csv is empty"), ("id,name\n", "has a header but nobody in it"), (None, "roster.csv does not exist")],
)
def test_a_roster_with_nobody(project: Project, content: str | None, told: str) -> None:
    roster = project.root / "roster.csv"
    roster.unlink()
    if content is not None:
        roster.write_text(content)
    done = project.python("-m", "rehearsal", "up")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_stack_file_is_missing_or_no_yaml(project: Project) -> None:
    file = project.root / f"Pulumi.{STACK}.yaml"
    file.write_text("config: [\n")
    broken = project.python("-m", "rehearsal", "up")
    assert broken.returncode == 2
    assert broken.stderr.startswith("Pulumi.rehearsal.yaml is not YAML: ")
    file.unlink()
    missing = project.python("-m", "rehearsal", "up")
    assert missing.returncode == 2
    assert missing.stderr.startswith("There is no Pulumi.rehearsal.yaml; ")


def test_an_encrypted_password_without_the_cli(project: Project) -> None:
    with (project.root / f"Pulumi.{STACK}.yaml").open("a") as file:
        file.write("  seminar:password:\n    secure: v1:AAAA:BBBB\n")
    done = project.python("-m", "rehearsal", "up")
    assert done.returncode == 2
    assert "seminar:password is encrypted and only the Pulumi CLI can read it" in done.stderr


def test_no_sshd(project: Project, tmp_path: Path) -> None:
    """Seen through an empty PATH and a name that is not there: the computer of the test has one."""
    code = "import rehearsal.sshd as s; s.find = lambda: None; import rehearsal.__main__ as r; "
    code += "r.up('', machines_only=True)"
    done = project.python("-c", code)
    assert "No OpenSSH server was found on this computer" in done.stderr
    assert "openssh-server" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("status",), "No seminar is up; `make rehearse` brings up one on this computer"),
        (("status", "--stack", "nobody"), "There is no seminar 'nobody'; `make rehearse` brings up the rehearsal."),
    ],
)
def test_fab_before_anything_is_up(project: Project, words: tuple[str, ...], told: str) -> None:
    done = project.fab(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_fab_asks_that_can_not_be_met(project: Project) -> None:
    assert project.up().returncode == 0
    for words, told in (
        (("status", "--only", "adda"), "There is no participant 'adda' in this seminar; did you mean ada?"),
        (("status", "--only", ","), "--only ',' names nobody; expected ids such as ada."),
        (("tunnel",), "A tunnel leads to one seat; name it with --only, for example one of ada, bose, curie."),
        (("status", "--stack", "other"), "There is no seminar 'other'"),
    ):
        done = project.fab(*words)
        assert done.returncode == 2, done.stdout + done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    project.state.write_text(
        '{"version": 1, "resources": {}, "outputs": {"handover": {"format": 99}, "secrets": {"a": 1}}}'
    )
    done = project.fab("status")
    assert done.returncode == 2
    assert done.stderr.startswith("The hand-over has format 99; this version reads 1.")
    project.state.write_text("{")
    assert project.fab("status").returncode == 2


def test_the_cli_says_the_same_sentences(tmp_path: Path) -> None:
    if shutil.which("pulumi") is None:
        pytest.skip(NO_CLI)
    from tests.conftest import copy_project

    project = Project(copy_project(tmp_path / "copy"), "cli", env={"PULUMI_CONFIG_PASSPHRASE": "p"})
    project.setting("interface", "classic")
    project.setting("workdir", "..")
    done = project.up()
    assert done.returncode != 0
    assert "error: Pulumi.rehearsal.yaml: seminar:workdir is '..'; expected" in done.stdout + done.stderr
    assert "seminar:interface is 'classic'; expected notebook or lab." in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    unknown = project.fab("status", "--stack", "other")
    assert unknown.returncode == 2
    assert "Traceback" not in unknown.stderr
