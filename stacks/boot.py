"""What a machine of the cloud does when it first boots, as cloud-init's user data; AWS and Azure share it. Pure.

It makes the users, installs the host key, opens sshd on its ports, closes the metadata address to everyone but root,
and watches for the seminar's end. Jupyter is left to provisioning/, which needs no root. The document is secret: it
holds the private host key.

Modules of cloud-init: https://docs.cloudinit.io/en/latest/reference/modules.html. `bootcmd` runs on every boot, before
users and host keys are made and before sshd is up; `write_files` and `runcmd` on the first boot, `runcmd` last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stacks.ends import as_utc
from stacks.errors import SettingsError
from stacks.values import Secret

MOST_BYTES = 16384  # EC2's limit before base64; Azure's is larger (65,535)

# Far from those of an image's own users: the participant must not come to own what the image's first user left.
_FIRST_UID = 2000

# sshd takes the first value it reads of a keyword, and reads files like this one, in their order, before its own. The
# removed algorithms are those that ssh-audit (https://github.com/jtesta/ssh-audit) fails; PuTTY 0.68 and later and
# every OpenSSH still in use know the rest. `-` takes from the defaults, so that newer ones come with newer versions.
_SSHD = """\
{ports}
HostKey /etc/ssh/ssh_host_ed25519_key
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowTcpForwarding local
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
LoginGraceTime 30
MaxStartups 100:30:200
ClientAliveInterval 60
ClientAliveCountMax 5
KexAlgorithms -ecdh-sha2-nistp*,diffie-hellman-*
MACs -hmac-sha1*,umac-64*
"""

# Else a reboot at which the cloud does not answer counts as a new machine: cloud-init makes new host keys.
_CLOUD_INIT = "manual_cache_clean: true\n"

# Where systemd listens for sshd (Ubuntu since 22.10), sshd's own ports count for nothing.
_SOCKET = """\
[Socket]
ListenStream=
{ports}
BindIPv6Only=both
"""

# cloud-init's bootcmd closes it on every boot, but only where cloud-init finds its user data again.
_METADATA_SERVICE = """\
[Unit]
Description=Close the metadata address to everyone but root
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target sysinit.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /etc/seminar/close-metadata
[Install]
WantedBy=sysinit.target
"""

# Both clouds have it at this address. Refused are packets of every user but root; what root fetched is root's to keep.
_CLOSE_METADATA = """\
if command -v nft >/dev/null; then
  nft -f - <<'RULES'
table ip seminar
delete table ip seminar
table ip seminar {
  chain output {
    type filter hook output priority 0;
    ip daddr 169.254.169.254 meta skuid != 0 reject
  }
}
RULES
else
  set -- OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT
  iptables -w -C "$@" 2>/dev/null || iptables -w -I "$@"
fi
"""

# Before systemd comes to start it: a stop takes the place of a start that waits, and itself waits for nothing. A
# machine without the unit is right as well.
_OFF = "systemctl disable --now --no-block {unit} || true\n"

# OpenSSH since 9.8 shuts an address out after some failed logins, and a room is often one address. Older ones do not
# start with the keyword. Where a socket starts sshd, its /run/sshd, which -t asks for, comes and goes.
_RESTART_SSH = """\
mkdir -p /run/sshd
if /usr/sbin/sshd -t -o PerSourcePenalties=no 2>/dev/null; then
  echo 'PerSourcePenalties no' >/etc/ssh/sshd_config.d/11-seminar.conf
fi
systemctl daemon-reload
if systemctl --quiet is-active ssh.socket; then
  systemctl stop ssh.service ssh.socket
  systemctl start ssh.socket
else
  systemctl restart ssh.service
fi
"""

# The end is asked of the cloud each time, so that a change of it counts without a new machine; where the cloud does not
# answer, the last answer holds, and at first what was known at the start.
_WATCH_ENDS = """\
#!/bin/sh
# Power off once the seminar has ended. Written by Seminar; a timer runs it every minute.
set -u
known=/var/lib/seminar-ends
[ -e "$known" ] || echo '{ends}' >"$known"
{read_ends}
ends=$(cat "$known")
[ -n "$ends" ] || exit 0
at=$(date -d "$ends" +%s) || exit
[ "$(date +%s)" -lt $((at + {grace_minutes} * 60)) ] || systemctl poweroff
"""

_ENDS_SERVICE = """\
[Unit]
Description=Power off once the seminar has ended
[Service]
Type=oneshot
ExecStart=/bin/sh /etc/seminar/watch-ends
"""

_ENDS_TIMER = """\
[Unit]
Description=Look whether the seminar has ended
[Timer]
OnBootSec=2min
OnUnitActiveSec=1min
AccuracySec=10s
[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True, kw_only=True)
class BootArgs:
    """What one machine is told.

    `users` are the participants' Unix users with their public keys. `read_ends` is shell that writes the present end
    (as `as_utc` does, or nothing for none) into the file `$known`, and leaves it alone where the cloud does not answer;
    `grace_minutes` after it the machine powers off. `services_off` are systemd units of the image's that stay off.
    """

    users: Mapping[str, str]
    organiser_key: str
    host_key: str
    host_private_key: Secret
    ssh_ports: tuple[int, ...]
    ends: datetime | None
    read_ends: str
    packages: tuple[str, ...] = ()
    services_off: tuple[str, ...] = ()
    grace_minutes: int = 0


def render(args: BootArgs) -> Secret:
    """The user data: a #cloud-config document. Raises SettingsError where it would be larger than a cloud takes."""
    files = {
        "/etc/ssh/sshd_config.d/10-seminar.conf": _SSHD.format(ports=_lines("Port {}", args.ssh_ports)),
        "/etc/systemd/system/ssh.socket.d/seminar.conf": _SOCKET.format(
            ports=_lines("ListenStream={}", args.ssh_ports)
        ),
        "/etc/seminar/watch-ends": _WATCH_ENDS.format(
            ends=as_utc(args.ends) if args.ends else "",
            read_ends=args.read_ends.strip(),
            grace_minutes=args.grace_minutes,
        ),
        "/etc/cloud/cloud.cfg.d/99-seminar.cfg": _CLOUD_INIT,
        "/etc/seminar/close-metadata": _CLOSE_METADATA,
        "/etc/systemd/system/seminar-metadata.service": _METADATA_SERVICE,
        "/etc/systemd/system/seminar-ends.service": _ENDS_SERVICE,
        "/etc/systemd/system/seminar-ends.timer": _ENDS_TIMER,
    }
    linger = [["loginctl", "enable-linger", user] for user in args.users]
    document = {
        "bootcmd": [
            ["sh", "-c", _CLOSE_METADATA],
            *[["sh", "-c", _OFF.format(unit=unit)] for unit in args.services_off],
        ],
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_keys": {"ed25519_private": str(args.host_private_key), "ed25519_public": args.host_key},
        "ssh_authorized_keys": [args.organiser_key],
        "users": [
            "default",
            *[_user(n, name, key, args.organiser_key) for n, (name, key) in enumerate(args.users.items())],
        ],
        "write_files": [{"path": path, "content": text, "permissions": "0644"} for path, text in files.items()],
        "runcmd": [
            *linger,
            ["sh", "-c", _RESTART_SSH],
            ["systemctl", "enable", "--now", "seminar-metadata.service", "seminar-ends.timer"],
        ],
    }
    if args.packages:
        document |= {"package_update": True, "packages": list(args.packages)}
    text = "#cloud-config\n" + _yaml(document)
    if len(text.encode()) > MOST_BYTES:
        raise SettingsError(
            f"The user data of a machine with {len(args.users)} users has {len(text.encode())} bytes; expected at most "
            f"{MOST_BYTES}. Seat fewer participants on a machine."
        )
    return Secret(text)


def _user(number: int, name: str, key: str, organiser_key: str) -> dict[str, Any]:
    # No sudo. The organiser's key is here as well: provisioning logs in as the participant.
    return {
        "name": name,
        "uid": _FIRST_UID + number,
        "shell": "/bin/bash",
        "lock_passwd": True,
        "ssh_authorized_keys": [key, organiser_key],
    }


def _lines(form: str, ports: tuple[int, ...]) -> str:
    return "\n".join(form.format(port) for port in ports)


def _yaml(document: dict[str, Any]) -> str:
    """YAML whose scripts stand there as they are: whoever looks for a fault reads it on the machine."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # in C it is five times as fast
        pass

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, width=1000)
