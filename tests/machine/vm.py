"""A virtual machine in QEMU that reaches nothing but the stand-in of a cloud's metadata address.

From this computer it is reached at ports of 127.0.0.1, one for each SSH port, and by frames on the wire of the scan.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from stacks.access import SSH_PORTS
from stacks.errors import EngineError
from tests.machine.image import Image

MEMORY_MIB, CORES = 2048, 2
MAC, WIRE_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
BOOT_SECONDS = 900.0  # without KVM it takes one to two minutes, alone on two cores
_KVM_SECONDS = 30.0  # a kernel that boots says so in the first
_LOG_LINES = 25
# What is emulated on a busy computer comes late: a kernel would give up over its timer, and systemd over a device.
_KERNEL = "console=ttyS0 no_timer_check systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900"


def accelerator(image: Image, folder: Path) -> str:
    """ "kvm" where a guest really runs under it, else "tcg": a computer may offer KVM and its guests hang."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    console = folder / "kvm.log"
    words = [*_words("kvm", image, console), "-append", f"panic=-1 {_KERNEL}", "-no-reboot"]
    trial = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + _KVM_SECONDS
    try:
        while trial.poll() is None and time.monotonic() < deadline:
            # The first program of the initrd was reached.
            if console.exists() and b"Run /init" in console.read_bytes():
                return "kvm"
            time.sleep(0.1)
    finally:
        trial.kill()
        trial.wait()
    return "tcg"


class Machine:
    """One boot of an image with this user data; used as a context, at whose end nothing of it is left.

    `ports` are those of 127.0.0.1 that lead to its SSH ports, by SSH port; `wire` is the pair of UDP ports (the scan's
    own, the machine's) for frames to its second card.
    """

    def __init__(self, image: Image, accel: str, folder: Path, user_data: str) -> None:
        self._image = image
        self._accel = accel
        self._folder = folder
        self.console = folder / "console.log"
        self.metadata = folder / "metadata"
        seed = folder / "seed"
        for each in (self.metadata, seed):
            each.mkdir()
        (seed / "user-data").write_text(user_data)
        (seed / "meta-data").write_text("instance-id: i-0123456789abcdef0\nlocal-hostname: class-01\n")
        (self.metadata / "user-data").write_text(user_data)
        self.ports: dict[int, int] = {}
        self.wire = (0, 0)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        self.begin()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def begin(self) -> None:
        """Switch it on. Raises EngineError where QEMU does not start."""
        for _ in range(3):  # a port that was free may be taken before QEMU has it
            self.ports = {port: _free_port(socket.SOCK_STREAM) for port in SSH_PORTS}
            self.wire = (_free_port(socket.SOCK_DGRAM), _free_port(socket.SOCK_DGRAM))
            with (self._folder / "qemu.log").open("wb") as log:
                # It ends with this process, however that ends.
                words = [
                    *["setpriv", "--pdeathsig", "KILL", "nice", "-n", "19"],
                    *_words(self._accel, self._image, self.console),
                    *self._devices(),
                ]
                env = {**os.environ, "TMPDIR": str(self._folder)}  # what is written to the disk goes there
                self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=2)
                continue
            return
        raise EngineError(f"QEMU does not start: {(self._folder / 'qemu.log').read_text()}")

    def await_ssh(self, port: int) -> None:
        """Wait until sshd greets at this SSH port. Raises EngineError with the end of the console."""
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[port]), 5) as caller:
                caller.settimeout(5)
                if caller.recv(4) == b"SSH-":
                    return
            if self.is_off(0):
                break
            time.sleep(0.5)
        raise EngineError(f"The machine does not answer at SSH port {port}; its console:\n{self.said()}")

    def is_off(self, seconds: float) -> bool:
        """Whether it powers itself off within so many seconds."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=seconds) is not None
        except subprocess.TimeoutExpired:
            return False

    def said(self) -> str:
        """The last lines of its console."""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-_LOG_LINES:])

    def _devices(self) -> list[str]:
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{own}-:{port}" for port, own in self.ports.items())
        answer = f"{sys.executable} {Path(__file__).with_name('metadata.py')} {self.metadata}"
        own, its = self.wire
        # The network is that of the metadata address itself: the only address that a restricted one leads to.
        return [
            *("-append", f"root=/dev/vda rw net.ifnames=0 {_KERNEL}"),
            *("-drive", f"file={self._image.folder}/disk,format=raw,if=virtio,snapshot=on,cache=unsafe"),
            *("-drive", f"driver=vvfat,dir={self._folder}/seed,label=cidata,if=virtio,read-only=on"),
            *(
                "-netdev",
                f"user,id=cloud,restrict=on,net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:{answer}{forwards}",
            ),
            *("-device", f"virtio-net-pci,netdev=cloud,mac={MAC},romfile="),
            *("-netdev", f"socket,id=wire,udp=127.0.0.1:{own},localaddr=127.0.0.1:{its}"),
            *("-device", f"virtio-net-pci,netdev=wire,mac={WIRE_MAC},romfile="),
        ]


def _words(accel: str, image: Image, console: Path) -> list[str]:
    """What every start of QEMU has in common."""
    # Without KVM a simple processor: for each part of a rich one the kernel would load and try something at each boot.
    cpu = ("-accel", "kvm", "-cpu", "host") if accel == "kvm" else ("-accel", "tcg,thread=multi", "-cpu", "Nehalem")
    return [
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", *cpu),
        *("-smp", str(CORES), "-m", str(MEMORY_MIB), "-device", "virtio-rng-pci"),
        *("-serial", f"file:{console}", "-kernel", f"{image.folder}/kernel", "-initrd", f"{image.folder}/initrd"),
    ]


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
