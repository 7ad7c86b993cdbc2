"""The job as pyinfra's own operations: folders, the config, the stub."""

import io
import shlex
from pathlib import Path

from pyinfra import host
from pyinfra.operations import files, server

job = Path(host.data.job).read_text()
for folder in ("learnml", ".jupyter", ".local/share/seminar", ".local/share/jupyter/runtime"):
    files.directory(path=folder, mode="700")
files.put(src=io.StringIO(host.data.text + "\n"), dest=".jupyter/jupyter_server_config.json", mode="600")
values = "".join(f"{key}={shlex.quote(str(host.data.get(key)))}\n" for key in ("jupyter", "text", "port"))
server.shell(commands=[f"sh -c {shlex.quote(values + job + 'main')}"])
