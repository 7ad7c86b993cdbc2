"""The user data: cloud-init and sshd take it, it is small, holds nothing that it must not, and its end works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator

from rehearsal import sshd
from stacks import access, aws, azure, boot
from stacks.credentials import new_key
from stacks.ends import as_utc
from stacks.errors import SettingsError
from stacks.values import Secret

NOW = datetime.now(timezone.utc).replace(microsecond=0)
LONGEST_ID = "x" * 31
READ_ENDS = {"aws": aws._READ_ENDS, "azure": azure._READ_ENDS}
OFF = "jupyterhub.service"


def user_data(
    *, ends: datetime | None = NOW + timedelta(days=1), users: int = 1, cloud: str = "azure", grace_minutes: int = 60
) -> str:
    """With everything at its longest."""
    host_private_key, host_key = new_key(f"seminar-{LONGEST_ID}")
    return boot.render(
        boot.BootArgs(
            users={f"participant{n or ''}": new_key(f"seminar-{LONGEST_ID}")[1] for n in range(users)},
            organiser_key=new_key("seminar-organiser")[1],
            host_key=host_key,
            host_private_key=Secret(host_private_key),
            ssh_ports=access.SSH_PORTS,
            ends=ends,
            read_ends=READ_ENDS[cloud],
            packages=("python3-venv",),
            services_off=(OFF,),
            grace_minutes=grace_minutes,
        )
    )


def document(**more: Any) -> dict[str, Any]:
    return dict(yaml.safe_load(user_data(**more)))


def file(path: str, **more: Any) -> str:
    return next(str(each["content"]) for each in document(**more)["write_files"] if each["path"] == path)


@pytest.fixture(scope="session")
def validate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Returns what cloud-init's own schema says against a file, "" for nothing.

    Debian's package is unpacked, not installed: installed, it would take hold of this computer when it next boots.
    """
    if shutil.which("cloud-init"):
        schema = Path("/usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json")
    else:
        folder = tmp_path_factory.mktemp("cloud-init")
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            pytest.skip("cloud-init's schema comes with Debian's package cloud-init, and there is no apt-get here")
        got = subprocess.run(("apt-get", "download", "cloud-init"), cwd=folder, capture_output=True, text=True)
        packages = list(folder.glob("*.deb"))
        if got.returncode or not packages:
            pytest.skip(f"cloud-init's schema comes with Debian's package cloud-init: {got.stderr.strip()[-200:]}")
        subprocess.run(("dpkg-deb", "-x", packages[0], folder / "root"), check=True)
        (schema,) = (folder / "root").rglob("schema-cloud-config-v1.json")

    def with_schema(path: Path) -> str:
        found = Draft4Validator(json.loads(schema.read_text())).iter_errors(yaml.safe_load(path.read_text()))
        return "\n".join(error.message for error in found)

    return with_schema


@pytest.mark.parametrize("cloud", READ_ENDS)
def test_cloud_init_takes_it(validate: Callable[[Path], str], tmp_path: Path, cloud: str) -> None:
    path = tmp_path / "user-data"
    path.write_text(user_data(cloud=cloud))
    assert validate(path) == ""
    path.write_text(user_data().replace("ssh_pwauth: false", "ssh_pwauth: [7]"))
    assert validate(path) != ""


def test_it_begins_as_cloud_init_wants_and_is_half_the_limit_at_its_longest() -> None:
    for cloud in READ_ENDS:
        text = user_data(cloud=cloud)
        assert text.startswith("#cloud-config\n")
        assert len(text.encode()) < boot.MOST_BYTES / 2


def test_more_users_than_fit_are_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"^The user data of a machine with 99 users has \d+ bytes; expected at most"
    ):
        user_data(users=99)


def test_the_metadata_address_is_closed_before_anyone_s_process_runs_and_on_every_boot() -> None:
    found = document()
    assert found["bootcmd"][0] == ["sh", "-c", file("/etc/seminar/close-metadata")]
    unit = file("/etc/systemd/system/seminar-metadata.service").splitlines()
    assert "ExecStart=/bin/sh /etc/seminar/close-metadata" in unit
    assert next(line for line in unit if line.startswith("Before=")).split()[1] == "sysinit.target"
    assert "seminar-metadata.service" in found["runcmd"][-1]
    assert file("/etc/cloud/cloud.cfg.d/99-seminar.cfg") == "manual_cache_clean: true\n"


def test_it_is_shown_nowhere() -> None:
    assert repr(user_data()) == "Secret('***')"


def test_users_and_keys() -> None:
    found = document()
    (default, participant) = found["users"]
    assert default == "default"
    assert set(participant) == {"name", "uid", "shell", "lock_passwd", "ssh_authorized_keys"}  # no sudo, no group
    assert participant["uid"] == 2000
    assert participant["lock_passwd"] is True
    organiser = found["ssh_authorized_keys"]
    assert len(organiser) == 1
    assert participant["ssh_authorized_keys"][1:] == organiser
    assert found["disable_root"] is True
    assert found["ssh_pwauth"] is False
    assert ["loginctl", "enable-linger", "participant"] in found["runcmd"]


def test_the_host_key_survives_yaml(tmp_path: Path) -> None:
    keys = document()["ssh_keys"]
    private = tmp_path / "key"
    private.write_text(keys["ed25519_private"])
    private.chmod(0o600)
    public = subprocess.run(("ssh-keygen", "-y", "-f", private), capture_output=True, text=True, check=True).stdout
    assert public.split()[:2] == keys["ed25519_public"].split()[:2]


@pytest.fixture
def said_by_sshd(tmp_path: Path) -> dict[str, list[str]]:
    """What a real sshd makes of the drop-in, by keyword."""
    found = sshd.find()
    if found is None:
        pytest.skip(sshd.MISSING)
    key = tmp_path / "host_key"
    key.write_text(new_key("host")[0])
    key.chmod(0o600)
    config = tmp_path / "sshd_config"
    config.write_text(file("/etc/ssh/sshd_config.d/10-seminar.conf").replace("/etc/ssh/ssh_host_ed25519_key", str(key)))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    done = subprocess.run((found, "-T", "-f", config), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        told.setdefault(keyword, []).append(value)
    return told


def test_sshd_takes_it(said_by_sshd: dict[str, list[str]]) -> None:
    assert sorted(said_by_sshd["port"]) == ["22", "443"]
    for keyword in ("passwordauthentication", "kbdinteractiveauthentication", "permitrootlogin", "x11forwarding"):
        assert said_by_sshd[keyword] == ["no"]
    assert said_by_sshd["allowtcpforwarding"] == ["local"]
    for keyword, weak in (("kexalgorithms", ("nistp", "diffie-hellman")), ("macs", ("sha1", "umac-64"))):
        (names,) = said_by_sshd[keyword]
        assert not [word for word in weak if word in names]
    assert "curve25519-sha256" in said_by_sshd["kexalgorithms"][0]


def test_systemd_listens_on_the_same_ports() -> None:
    lines = file("/etc/systemd/system/ssh.socket.d/seminar.conf").splitlines()
    assert lines == ["[Socket]", "ListenStream=", "ListenStream=22", "ListenStream=443", "BindIPv6Only=both"]


@pytest.mark.parametrize("cloud", READ_ENDS)
def test_the_scripts_pass_shellcheck(tmp_path: Path, cloud: str) -> None:
    scripts = {name: file(f"/etc/seminar/{name}", cloud=cloud) for name in ("watch-ends", "close-metadata")}
    found = document()
    scripts |= {f"boot-{n}": words[2] for n, words in enumerate(found["bootcmd"] + found["runcmd"]) if words[0] == "sh"}
    assert len(scripts) == 5
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        shellcheck = Path(sys.prefix) / "bin" / "shellcheck"
        done = subprocess.run((shellcheck, "-s", "sh", tmp_path / name), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_service_of_the_image_s_that_is_off_is_asked_to_go_and_its_absence_is_no_fault(tmp_path: Path) -> None:
    (_, (_, _, script)) = document()["bootcmd"]
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nexit 1\n')
    (tmp_path / "systemctl").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert subprocess.run(("sh", "-c", script), env=env).returncode == 0
    assert (tmp_path / "asked").read_text() == f"disable --now --no-block {OFF}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the script is for the machines, which have GNU date")
@pytest.mark.parametrize("grace", [0, 60])
@pytest.mark.parametrize("cloud", READ_ENDS)
@pytest.mark.parametrize(
    ("baked", "asked", "off"),  # in minutes from now
    [
        (60, None, False),
        (-1, None, True),  # the cloud does not answer: what was known at the start
        (None, None, False),
        (-1, 60, False),  # a later end counts at once
        (60, -1, True),  # and an earlier one
        (-1, "", False),  # no end any more
        (None, -1, True),
        (-1, "17.3. 18 Uhr", False),  # written by hand: nothing is known, so nobody is stopped
    ],
)
def test_the_end_is_the_one_that_the_cloud_says(
    tmp_path: Path, cloud: str, grace: int, baked: int | None, asked: int | str | None, off: bool
) -> None:
    """`asked` is the tag: None where the metadata address is silent, "" where there is no such tag."""
    if isinstance(asked, int):
        asked = as_utc(NOW + timedelta(minutes=asked - grace))
    ends = None if baked is None else NOW + timedelta(minutes=baked - grace)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/systemctl\n')
    # AWS answers with the one tag, or with 404; Azure with all in one line, in which there may be none such.
    code = {None: "000", "": "404" if cloud == "aws" else "200"}.get(asked, "200")
    answer = asked if cloud == "aws" else "Name:spring-01;" + (f"ends:{asked};" if asked else "") + "seminar:spring"
    (tools / "curl").write_text(
        f"#!/bin/sh\n[ {code} = 000 ] && exit 28\n"
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n'
        f'[ -z "${{out-}}" ] || {{ printf %s "{answer}" >"$out"; printf %s {code}; }}\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    script = tmp_path / "watch-ends"
    script.write_text(
        file("/etc/seminar/watch-ends", ends=ends, cloud=cloud, grace_minutes=grace).replace(
            "/var/lib/", f"{tmp_path}/"
        )
    )
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    for _ in range(2):
        done = subprocess.run(("sh", script), env=env, capture_output=True, text=True)
        readable = not asked or asked.endswith("Z")
        assert (done.returncode == 0, done.stderr == "") == (readable, readable)
    told = (tmp_path / "systemctl").read_text() if (tmp_path / "systemctl").exists() else ""
    assert told == ("poweroff\n" * 2 if off else "")
