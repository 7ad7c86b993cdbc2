"""The job through asyncssh: every connection at once, the script on standard input."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import asyncssh

MOST_AT_ONCE = 64


async def one(host: str, told: dict[str, Any], key: asyncssh.SSHKey, free: asyncio.Semaphore) -> None:
    async with (
        free,
        asyncssh.connect(
            host,
            username=told["user"],
            client_keys=[key],
            known_hosts=told["known_hosts"],
            config=None,
            agent_path=None,
            kex_algs=["curve25519-sha256"],
            encryption_algs=["aes128-gcm@openssh.com"],
        ) as connection,
    ):
        json.loads(str((await connection.run("sh", input=told["script"], check=True)).stdout))


async def all_of(told: dict[str, Any]) -> None:
    key = asyncssh.read_private_key(told["key"])
    free = asyncio.Semaphore(MOST_AT_ONCE)
    await asyncio.gather(*(one(host, told, key, free) for host in told["hosts"]))


asyncio.run(all_of(json.loads(Path(sys.argv[1]).read_text())))
