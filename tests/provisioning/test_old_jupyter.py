"""A machine whose image brings a Jupyter from before jupyter_server 2, as Azure's Data Science VM may: a real one."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from rehearsal import proof
from tests.conftest import Project
from tests.provisioning.machines import another_machine
from tests.provisioning.test_notebook import _login

OLD = "6.5.7"  # of the last line of the classic notebook

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(shutil.which("jupyter-notebook", path="/usr/bin:/bin")), reason="this computer's own PATH has a Jupyter"
    ),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of environments like Anaconda's: one with an old notebook, one without a kernel."""
    folder = tmp_path_factory.mktemp("envs")
    subprocess.run((sys.executable, "-m", "venv", folder / "py38_default"), check=True)
    pip = (folder / "py38_default/bin/python", "-m", "pip", "install", "--quiet", f"notebook=={OLD}")
    subprocess.run(pip, check=True)
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", folder / "no_kernel"), check=True)
    said = subprocess.run((folder / "py38_default/bin/jupyter-notebook", "--version"), capture_output=True, text=True)
    assert said.stdout.strip() == OLD
    return folder


@pytest.fixture
def dsvm(project: Project, image: Path) -> Iterator[Project]:
    """One seat whose machine finds that image's Jupyter on its PATH, and whose Python is the image's."""
    project.roster("ada,Ada")
    assert project.up().returncode == 0
    pip = {key: value for key, value in os.environ.items() if key.startswith("PIP_") and " " not in value}
    path = f"{image / 'py38_default/bin'}:/usr/bin:/bin"
    python = str(image / "py38_default/bin/python")
    with another_machine(project, "ada", PATH=path, SEMINAR_PYTHON=python, SEMINAR_ENVIRONMENTS=str(image), **pip):
        yield project


def test_an_old_jupyter_is_passed_over_and_the_login_proved(dsvm: Project, image: Path) -> None:
    done = dsvm.fab("start-notebook")
    assert done.returncode == 0, done.stdout + done.stderr
    home = dsvm.machine("ada") / "home"
    server = psutil.Process(int((home / ".local/share/seminar/notebook.pid").read_text()))
    assert str(home / ".local/share/seminar/jupyter/bin/python") in server.cmdline()[0]
    assert dsvm.fab_json("start-notebook")["ada"]["outcome"] == "unchanged"
    assert dsvm.fab_json("status")["ada"]["password"] == "yes"
    seat = dsvm.seats()["ada"]
    address = f"http://localhost:{seat['notebook_port']}"
    code = "import notebook, sys; print(notebook.__version__.split('.')[0], sys.prefix)"
    assert proof.compute(address, seat["password"], code) == f"7 {home / '.local/share/seminar/jupyter'}"


def test_an_old_jupyter_is_named_where_no_other_can_be_had(dsvm: Project, image: Path) -> None:
    path = f"{image / 'py38_default/bin'}:/usr/bin:/bin"
    with another_machine(dsvm, "ada", PATH=path, SEMINAR_PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS="/no"):
        done = dsvm.fab("start-notebook")
    assert done.returncode == 1
    told = f"has no jupyter with 'notebook' (its own is too old: notebook-{OLD}.dist-info) and none could be installed"
    assert told in done.stdout


def test_the_image_s_environments_are_kernels(dsvm: Project, image: Path) -> None:
    assert dsvm.fab("start-notebook").returncode == 0
    seat = dsvm.seats()["ada"]
    kernels = dsvm.machine("ada") / "home/.local/share/jupyter/kernels"
    assert [path.name for path in kernels.iterdir()] == ["py38_default"]
    _, cookies = _login(seat["notebook_port"], seat["password"])
    with closing(http.client.HTTPConnection("localhost", seat["notebook_port"], timeout=60)) as client:
        client.request("GET", "/api/kernelspecs", headers={"Cookie": cookies})
        found = json.load(client.getresponse())["kernelspecs"]
    assert found["py38_default"]["spec"]["display_name"] == "Python (py38_default)"
    address = f"http://localhost:{seat['notebook_port']}"
    code = "import sys; print(sys.prefix)"
    assert proof.compute(address, seat["password"], code, kernel="py38_default") == str(image / "py38_default")
    before = (kernels / "py38_default/kernel.json").stat().st_mtime_ns
    assert dsvm.fab("start-notebook").returncode == 0
    assert (kernels / "py38_default/kernel.json").stat().st_mtime_ns == before
