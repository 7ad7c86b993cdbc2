"""A participant of the tests' own: unpacks the pack, starts what is in it, and reads what it says."""

from __future__ import annotations

import os
import queue
import signal
import stat
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import psutil

from tests.conftest import Project


def packed(project: Project, seat: str) -> Path:
    """Make the seat's pack with `fab packs`; returns the zip."""
    done = project.fab("packs", "--only", seat)
    assert done.returncode == 0, done.stdout + done.stderr
    return project.root / "packs" / "rehearsal" / f"{seat}.zip"


def unpacked(pack: Path, folder: Path) -> Path:
    """Unpack with the modes that the zip tells, as unzip and macOS do; returns the folder that appears."""
    with zipfile.ZipFile(pack) as archive:
        for entry in archive.infolist():
            path = Path(archive.extract(entry, folder))
            path.chmod(stat.S_IMODE(entry.external_attr >> 16))
        return folder / archive.namelist()[0].rstrip("/")


class Laptop:
    """Where the participant sits: a browser that only notes addresses, and a temporary folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self._opened = folder / "opened"
        programs = folder / "bin"
        for each in (self.temporary, programs):
            each.mkdir(parents=True)
        browser = programs / "xdg-open"
        browser.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$1\" >>'{self._opened}'\n")
        browser.chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "TMPDIR": str(self.temporary)}
        self.environment.pop("DISPLAY", None)

    @property
    def opened(self) -> list[str]:
        """The addresses that a browser was opened with."""
        return self._opened.read_text().splitlines() if self._opened.exists() else []

    def opens(self) -> list[str]:
        """The same, once there is one: the browser starts beside the program that opens it."""
        deadline = time.monotonic() + 10
        while not self.opened and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.opened

    def check(self, pack: Path, shell: str = "sh") -> subprocess.CompletedProcess[str]:
        """Run the self-test to its end."""
        return subprocess.run(
            [shell, str(pack / "check.sh")],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            cwd="/",
        )

    def connect(self, pack: Path, shell: str = "sh") -> Window:
        """Start connect.sh, in a window of its own."""
        return Window([shell, str(pack / "connect.sh")], self.environment)


class Window:
    """A program that runs until Ctrl-C, and what it says. A context: at its end nothing is left of it."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd="/",
        )
        self.said = ""
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children():
            child.kill()
        self.process.kill()
        self.process.wait()

    def awaits(self, text: str, seconds: float = 60) -> str:
        """Wait until a line says that; returns the line. What was said before the last such wait does not count."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                if self.process.poll() is not None and self._lines.empty():
                    break
                continue
            self.said += line
            if text in line:
                return line
        raise AssertionError(f"{text!r} was never said, but:\n{self.said}")

    def children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def ssh(self) -> psutil.Process:
        """The program that holds the tunnel."""
        return next(child for child in self.children() if child.name() in ("ssh", "plink") and "-N" in child.cmdline())

    def interrupt(self) -> int:
        """Press Ctrl-C; returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=20)
