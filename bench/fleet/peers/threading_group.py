"""The job through Fabric's own ThreadingGroup: `steps` (a run per step, as its documentation shows) or `script`."""

import io
import json
import sys
from pathlib import Path

from fabric import Config, Connection, ThreadingGroup
from paramiko import Ed25519Key, RejectPolicy

how, told = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
key = Ed25519Key.from_private_key_file(told["key"])
connections = []
for host in told["hosts"]:
    connection = Connection(
        host,
        user=told["user"],
        config=Config(overrides={"load_ssh_configs": False}),
        connect_kwargs={"pkey": key, "allow_agent": False, "look_for_keys": False},
    )
    connection.client.set_missing_host_key_policy(RejectPolicy())
    connection.client.load_host_keys(told["known_hosts"])
    connections.append(connection)
group = ThreadingGroup.from_connections(connections)
if how == "script":
    # Each run reads a stream of its own, so the script stands in the command.
    results = group.run(told["command"], hide=True, in_stream=False)
else:
    group.run("mkdir -p learnml .jupyter .local/share/seminar .local/share/jupyter/runtime", hide=True, in_stream=False)
    group.put(io.BytesIO((told["text"] + "\n").encode()), ".jupyter/jupyter_server_config.json")
    group.run("chmod 600 .jupyter/jupyter_server_config.json", hide=True, in_stream=False)
    results = group.run(told["command"], hide=True, in_stream=False)
for result in results.values():
    json.loads(result.stdout)
