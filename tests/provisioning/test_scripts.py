"""The shell that runs on machines: answers that are JSON whatever stands in them, and one run at a time on a seat."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

LIB, START = (Path(f"provisioning/scripts/{name}.sh").resolve() for name in ("lib", "start"))
SHELLS = [words for words in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])]
TEXTS = ["plain", "a \\d", '"quoted"', '\\"', "tab\tand\nlines\n\nmore", "größe – 李", "\x1b[31mred", "$HOME `id`", ""]


def run(shell: list[str], home: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shell,
        input=f"{LIB.read_text()}\n{script}\n",
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("text", TEXTS)
def test_an_answer_is_json(shell: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(text)
    done = run(shell, tmp_path, 'slurp "$HOME/text"; reply seen text "$content" more "an end"')
    told = json.loads(done.stdout)
    assert told == {"state": "seen", "text": text.replace("\x1b", "").rstrip("\n"), "more": "an end"}


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_failure_brings_the_end_of_the_log(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {n} \\d\n" for n in range(20)))
    told = json.loads(run(shell, tmp_path, 'fail "it \\"broke\\"" "$HOME/log"').stdout)
    assert told["reason"] == 'it "broke"'
    assert told["log"].splitlines() == [f"line {n} \\d" for n in range(12, 20)]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_one_at_a_time_also_over_a_dead_run_s_lock(shell: list[str], tmp_path: Path) -> None:
    """Each holds the seat for a while and says so; nobody comes in between, and the lock of the dead is no obstacle."""
    own = tmp_path / ".local/share/seminar"
    own.mkdir(parents=True)
    script = 'alone; echo "in $$" >>"$HOME/seen"; sleep 0.05; echo "out $$" >>"$HOME/seen"'
    for _ in range(5):
        dead = subprocess.Popen(["true"])
        dead.wait()
        (own / "lock").write_text(f"{dead.pid}\n")
        runs = [
            subprocess.Popen(
                shell,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
                text=True,
            )
            for _ in range(4)
        ]
        for each in runs:
            assert each.stdin is not None
            each.stdin.write(f"{LIB.read_text()}\n{script}\n")
            each.stdin.close()
        for each in runs:
            assert each.stderr is not None
            assert each.wait(timeout=60) == 0
            assert each.stderr.read() == ""
            each.stderr.close()
        assert not (own / "lock").exists()
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert len(seen) == 40
    for (first, one), (second, other) in zip(seen[::2], seen[1::2], strict=True):
        assert (first, second) == ("in", "out")
        assert one == other


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_unit_takes_any_word_and_waits_for_no_limit(shell: list[str], tmp_path: Path) -> None:
    words = ['/opt/a 100% \\n "own" ${HOME}\'s/jupyter-notebook', "--port=8888"]
    given = " ".join(shlex.quote(word) for word in words)
    text = run(shell, tmp_path, f"{START.read_text()}\nworkdir=learnml; unit_text {given}").stdout
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("ExecStart=:"))  # `:` leaves $ alone
    told = lines[first + 2 : lines.index("[Install]")]
    assert told == [
        f'  "{tmp_path}/learnml" \\',
        '  "/opt/a 100%% \\\\n \\"own\\" ${HOME}\'s/jupyter-notebook" \\',
        '  "--port=8888"',
    ]
    assert {"Restart=always", "StartLimitIntervalSec=0", "KillMode=mixed", "OOMPolicy=continue"} <= set(lines)
    assert lines[-1] == "WantedBy=default.target"
