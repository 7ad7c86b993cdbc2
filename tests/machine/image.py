"""Disks of small machines, made of Debian's packages and kept until their recipe changes. Needs root.

What lies on them is what an image of a cloud brings: kernel, systemd, cloud-init, sshd, sudo, Python. They reach no
registry, so the wheels of the pinned Jupyter lie there too.

    python -m tests.machine.image [NAME]...    make those that are missing, and say how long it took
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from stacks.errors import RequestError
from stacks.folders import PROJECT_ROOT

REQUIREMENTS = PROJECT_ROOT / "requirements-rehearsal.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seminar" / "machines"
_DISK_GIB = 4
_SECONDS = 1800.0  # for each step: the slowest is the download of 250 MB of packages
_TOOLS = {"debootstrap": "debootstrap", "mkfs.ext4": "e2fsprogs", "qemu-system-x86_64": "qemu-system-x86"}

_PACKAGES = (
    "linux-image-cloud-amd64",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "dbus-user-session",
    "cloud-init",
    "openssh-server",
    "sudo",
    "libnss-myhostname",
    "python3-venv",
    "curl",
    "iproute2",
    "procps",
    "e2fsprogs",
)

# One card, as in a cloud, whose address comes by DHCP; the second is the wire of the scan (wire.py).
_NETWORK = """\
[Match]
MACAddress=52:54:00:00:00:01
[Network]
DHCP=ipv4
"""
_WIRE = """\
[Match]
MACAddress=52:54:00:00:00:02
[Network]
Address=10.77.0.2/24
[Link]
RequiredForOnline=no
"""
_FILES = {
    "etc/hostname": "machine\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/machine-id": "",
    "etc/systemd/network/10-cloud.network": _NETWORK,
    "etc/systemd/network/20-wire.network": _WIRE,
    "etc/cloud/cloud.cfg.d/10-image.cfg": "network: {config: disabled}\ndatasource_list: [NoCloud]\nlocale: C.UTF-8\n",
    "etc/pip.conf": "[global]\nno-index = true\nfind-links = /opt/wheels\n",
    "etc/apt/sources.list": "",  # what is to be installed is there already
}
# As Azure's Data Science VM has it: a service that takes passwords.
_JUPYTERHUB = """\
[Unit]
Description=Stands in for the JupyterHub of the Data Science VM
[Service]
ExecStart=/usr/bin/python3 -m http.server 8000
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A machine by the suite of its packages.

    `socket`: whether systemd listens for sshd, as on Ubuntu 24.04. `for_learning`: whether it has a Jupyter of its own,
    where AWS' image for machine learning has it, and a JupyterHub, as Azure's has.
    """

    suite: str
    packet_filter: str
    socket: bool
    for_learning: bool


RECIPES = {
    "service": Recipe(suite="bookworm", packet_filter="nftables", socket=False, for_learning=False),
    "socket": Recipe(suite="trixie", packet_filter="iptables", socket=True, for_learning=True),
}


@dataclass(frozen=True)
class Image:
    """A folder with `disk`, `kernel` and `initrd`. `made_seconds` is what making it took, 0 where it was there."""

    folder: Path
    made_seconds: float = 0.0


def missing() -> str:
    """Why no machine can be made here, or ""."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "the machines are made on Linux, for x86_64"
    if os.getuid() != 0:
        return "the machines' disks are made by root"
    absent = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not installed; `make test-machine` installs what is missing"
    return "" if _mirror() else "this computer's apt has no mirror of Debian's, whose packages the machines are made of"


def image(name: str) -> Image:
    """The image of that recipe, made where there is none yet. Raises RequestError with the end of what was said."""
    recipe = RECIPES[name]
    folder = CACHE / f"{name}-{_digest(recipe)}"
    if folder.exists():
        return Image(folder)
    began = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time
        for left in (*CACHE.glob(f"{name}-*"), *CACHE.glob("making-*")):
            if left != folder:
                shutil.rmtree(left)
        if not folder.exists():
            making = CACHE / f"making-{name}"
            making.mkdir()
            _make(recipe, making)
            shutil.rmtree(making / "root")
            making.rename(folder)
    return Image(folder, time.monotonic() - began)


def _digest(recipe: Recipe) -> str:
    """What the image follows from: the recipe, this file, the requirements."""
    said = repr(recipe).encode() + Path(__file__).read_bytes() + REQUIREMENTS.read_bytes()
    return hashlib.sha256(said).hexdigest()[:12]


def _make(recipe: Recipe, folder: Path) -> None:
    root = folder / "root"
    _run("debootstrap", "--variant=minbase", recipe.suite, str(root), _mirror())
    for conf in Path("/etc/apt/apt.conf.d").iterdir():  # a proxy, say
        shutil.copy(conf, root / "etc/apt/apt.conf.d" / f"99-of-the-maker-{conf.name}")
    _apt(root, "update")
    # debootstrap itself does not see what a package is another name for.
    _apt(root, "install", "--no-install-recommends", *_PACKAGES, recipe.packet_filter)
    wheels = _wheels(root)
    for path, text in _FILES.items():
        (root / path).write_text(text)
    for conf in (root / "etc/apt/apt.conf.d").glob("99-of-the-maker-*"):
        conf.unlink()
    _in(root, "systemctl", "enable", "systemd-networkd")
    if recipe.for_learning:
        _in(root, "python3", "-m", "venv", "/opt/pytorch")
        _in(root, "/opt/pytorch/bin/pip", "install", "--quiet", *(f"/opt/wheels/{each.name}" for each in wheels))
        (root / "etc/systemd/system/jupyterhub.service").write_text(_JUPYTERHUB)
        _in(root, "systemctl", "enable", "jupyterhub")
    if recipe.socket:
        _in(root, "systemctl", "disable", "ssh.service")
        _in(root, "systemctl", "enable", "ssh.socket")
    for kind, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        (found,) = (root / "boot").glob(pattern)
        shutil.copy(found, folder / kind)
    for made in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / made)
    with (folder / "disk").open("wb") as disk:
        disk.truncate(_DISK_GIB << 30)
    _run("mkfs.ext4", "-q", "-d", str(root), str(folder / "disk"))


def _wheels(root: Path) -> list[Path]:
    """Lay the wheels of the pinned Jupyter, for the machine's Python and not for this computer's; returns them."""
    said = _in(root, "python3", "-c", "import platform; print(platform.python_version())").strip()
    target = {
        "python_full_version": said,
        "python_version": said.rpartition(".")[0],
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": "cpython",
    }
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line.strip() and not line.startswith("#")]
    wanted = [Requirement(line) for line in lines]
    pins = [f"{each.name}{each.specifier}" for each in wanted if not each.marker or each.marker.evaluate(target)]
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    _run(*words, "--python-version", target["python_version"], "--dest", str(root / "opt/wheels"), *pins)
    return list((root / "opt/wheels").iterdir())


def _mirror() -> str:
    """Where this computer's own apt gets Debian's packages from, or ""."""
    if shutil.which("apt-get") is None:
        return ""
    said = _run("apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)")
    rows = [line.split() for line in said.splitlines()]
    # Updates and security have suites of their own, of a dashed name, and lie elsewhere.
    return next((row[3] for row in rows if row[:2] == ["Debian", "main"] and "-" not in row[2]), "")


def _apt(root: Path, *words: str) -> None:
    # Nothing is lost where a half-made disk is: it is made anew.
    _in(root, "apt-get", "-q", "-y", "-o", "Dpkg::Options::=--force-unsafe-io", *words)


def _in(root: Path, *words: str) -> str:
    return _run("chroot", str(root), *words)


def _run(*words: str) -> str:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise RequestError(f"{' '.join(words[:3])} failed: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


if __name__ == "__main__":
    if why := missing():
        raise SystemExit(f"No machine can be made here: {why}.")
    for each in sys.argv[1:] or RECIPES:
        found = image(each)
        print(f"{each}: {found.folder} ({found.made_seconds:.0f} s)", flush=True)
