"""A participant's whole way: the pack, its own program, a browser, the password, a notebook, a cell that answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.provisioning import browser as browsers
from tests.provisioning.participant import Laptop, packed, unpacked

pytestmark = [pytest.mark.xdist_group("connect"), browsers.needs_chromium]
NOTEBOOK = {
    "cells": [{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": ""}],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.mark.skipif(shutil.which("plink") is None, reason="plink is not on PATH (Debian: putty-tools)")
def test_a_cell_answers_through_plink(running: Project, tmp_path: Path) -> None:
    pack = unpacked(packed(running, "bose"), tmp_path)
    command = re.search(r'<code id="plink">([^<]+)</code>', (pack / "README.html").read_text())
    assert command
    plink = subprocess.Popen(command[1].split(), cwd=pack, stdin=subprocess.DEVNULL)
    try:
        seat = running.seats()["bose"]
        (running.machine("bose") / "home/learnml/first.ipynb").write_text(json.dumps(NOTEBOOK))
        with browsers.chromium(tmp_path / "profile") as browser:
            url = f"http://localhost:{seat['local_port']}"
            browsers.log_in(browser, url, seat["password"], "notebooks/first.ipynb")
            browsers.run_cell(browser, "print('the answer is', 6 * 7)")
            browsers.awaits(browser, "the answer", lambda: "the answer is 42" in browsers.printed(browser))
    finally:
        plink.kill()
        plink.wait()


def test_a_cell_answers_and_a_drop_in_its_middle_costs_nothing(running: Project, tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "laptop")
    pack = unpacked(packed(running, "ada"), tmp_path)
    (running.machine("ada") / "home/learnml/first.ipynb").write_text(json.dumps(NOTEBOOK))
    with laptop.connect(pack) as window, browsers.chromium(tmp_path / "profile") as browser:
        url = window.awaits("Connected.").split()[3]
        assert laptop.opens() == [url]
        browsers.log_in(browser, url, running.seats()["ada"]["password"], "notebooks/first.ipynb")
        browsers.run_cell(browser, "print('the answer is', 6 * 7); kept = 1234")
        browsers.awaits(browser, "the answer", lambda: "the answer is 42" in browsers.printed(browser))

        browsers.run_cell(browser, "import time; print('be' + 'gun'); time.sleep(8); kept += 1; print('en' + 'ded')")
        browsers.awaits(browser, "the beginning", lambda: "begun" in browsers.printed(browser))
        window.ssh().kill()
        window.awaits("the connection dropped")
        assert window.awaits("Connected.").split()[3] == url
        browsers.run_cell(browser, "print('kept is', kept)")
        browsers.awaits(browser, "the same kernel", lambda: "kept is 1235" in browsers.printed(browser))
        assert laptop.opens() == [url]
        assert window.interrupt() == 0
